"""Continuous noise distillation: an expert's actions, mixed with noise that fades along the history.

    a = (1 - ε_n) π(s, task) + ε_n ξ,     ξ ~ U(-1, 1)ᴬ,     ε_n = (1 - (n / ((1 - f) N))^p)^(1/p),     0 from n = (1 - f) N on

for the n-th of a stream's N steps (Polubarov et al., 2025, "Vintix", arXiv 2501.19400; with random instead of mixed actions
Zisman et al., 2024, "AD-ε", arXiv 2312.12275). So a history shows improvement though nobody learned along it, and a task
costs no training: many tasks become affordable, which is what learning in context needs most.

With `exploration = "tasks"` it is not the actions that are random but what the expert is told: for `exploration_hold` steps at
a time it acts for its task with probability 1 - ε_n, else for any of those that it trained on, give or take Gaussian noise that
fades as well. Early in a history how the body moves then says nothing of the task, since every task sees every gait: only the
rewards tell it. (Where behaviour tells the task, an agent may take its own for evidence: Ortega et al., 2021, "Shaking the
foundations", arXiv 2110.10819.)

The expert (`expert.py`) is the same for all tasks and is trained in every call on tasks drawn from the family by a seed of its
own, `expert_seed`: a task's history depends on that, on the task and on the task's seed, and on no split. What the oracle of a
test task does is thus the expert's doing, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from icrl_plugins.randomness.seeds import child_seed, integer_seeds
from icrl_plugins.randomness.task_streams import TaskStreams
from icrl_plugins.sources.annealed.expert import Expert, load_expert, train_expert, training_tasks
from icrl_plugins.sources.evaluation import population_returns, require_finite_policy
from icrl_plugins.sources.hyperparameters import PPOConfig
from icrl_plugins.sources.population.recorded import RecordedPopulation
from icrl_plugins.sources.population.source import STEPS_PER_REPORT, PopulationConfig, one_thread
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import (
    Array,
    CheckpointStore,
    Environment,
    EnvironmentSpec,
    FloatArray,
    GreedyPolicy,
    Source,
    SourceRun,
    Task,
)
from icrl_registry.errors import UsageError

_FEATURES = "task.features"


class AnnealedExpertConfig(PPOConfig, PopulationConfig):
    """PPO's hyper-parameters for the expert; how many steps it takes, and how long a task's history is."""

    total_steps: int = Field(20_000, ge=1, description="environment steps per task, over all parallel environments")
    population: int = Field(256, ge=1, description="tasks of one call at most: each call trains the expert anew")
    expert_tasks: int = Field(64, ge=1, description="tasks that the expert trains on, drawn from the family")
    expert_steps: int = Field(2_000_000, ge=1, description="environment steps of the expert, over all its tasks")
    expert_seed: int = Field(0, ge=0, description="of the expert's tasks, weights and noise")
    clean_fraction: float = Field(0.1, ge=0, lt=1, description="last share of a history without noise (f)")
    curvature: float = Field(1.0, gt=0, description="how late the noise fades: 1 evenly, above 1 later (p)")
    exploration: Literal["actions", "tasks"] = Field(
        "actions",
        description="what fades: uniform actions that are mixed in, or the time for which the expert acts for other tasks",
    )
    exploration_hold: int = Field(50, ge=1, description="steps for which it acts for one task, if tasks are explored")
    exploration_std: float = Field(
        0.0, ge=0, description="std of Gaussian noise on its actions, if tasks are explored; fades as well"
    )

    @model_validator(mode="after")
    def _the_expert_is_trained(self) -> Self:
        least = self.expert_tasks * self.rollout_length
        if self.expert_steps < least:
            raise ValueError(
                f"expert_steps ({self.expert_steps}) must be at least expert_tasks times rollout_length ({least}): "
                "less is no update, and the expert would be untrained"
            )
        return self

    def noise(self, step: int) -> float:
        """ε at a step of a stream, from 0."""
        falling = (1 - self.clean_fraction) * self.steps_per_stream
        if step >= falling:
            return 0.0
        share: float = (1 - (step / falling) ** self.curvature) ** (1 / self.curvature)
        return share

    def expert(self) -> PPOConfig:
        """PPO's settings: an environment for each of the expert's tasks."""
        return self.model_copy(update={"total_steps": self.expert_steps, "num_envs": self.expert_tasks})


class AnnealedExpert(Source):
    """Histories from noise to an expert that sees the task and is trained once for all."""

    Config: ClassVar[type[ComponentConfig]] = AnnealedExpertConfig
    conformance_settings: ClassVar[Mapping[str, Any]] = {
        "total_steps": 300,
        "num_envs": 3,
        "expert_tasks": 4,
        "expert_steps": 400,
        "rollout_length": 20,
        "hidden_sizes": [16, 16],
        "batch_size": 32,
        "evaluation_episodes": 2,
    }

    def __init__(self, config: ComponentConfig) -> None:
        assert isinstance(config, AnnealedExpertConfig)
        self.config: AnnealedExpertConfig = config

    def group_size(self) -> int:
        """How many tasks share one training of the expert at most."""
        return self.config.population

    def total_steps(self) -> int:
        """Environment steps a task, without the expert's: `total_steps`, rounded down to streams of one length."""
        return self.config.steps_per_stream * self.config.num_envs

    def collect(
        self,
        environment: Environment,
        tasks: Sequence[Task],
        seeds: Sequence[np.random.SeedSequence],
        report_steps: Callable[[int], None],
        checkpoints: CheckpointStore | None = None,
    ) -> Iterator[SourceRun]:
        """See `Source.collect`. The expert is trained first; its steps are not reported. A run's statistics are those of
        the populations, `stream_seed` and `greedy_return`.

        Raises:
            NumericalError: an action, reward or observation is not finite.
        """
        config = self.config
        drawn = training_tasks(environment, config.expert_tasks, config.expert_seed)
        expert = train_expert(environment, drawn, config.expert(), np.random.SeedSequence(config.expert_seed))
        policy = expert.tensors()
        require_finite_policy(tasks[0], config.expert_steps // config.expert_tasks, policy)
        features, others = (expert.see(np.array([task.parameters for task in some])) for some in (tasks, drawn))
        stream_seeds, evaluation_seeds = zip(*(integer_seeds(seed, 2) for seed in seeds), strict=True)
        population = RecordedPopulation(
            environment, tasks, stream_seeds, config.num_envs, config.steps_per_stream, config.record_policy_means
        )
        with one_thread():
            try:
                streams = TaskStreams([child_seed(seed, 0) for seed in seeds])
                self._record(population, expert, features, others, streams, report_steps)
            finally:
                population.close()
            statistics = [{"stream_seed": float(seed)} for seed in stream_seeds]
            if episodes := config.evaluation_episodes:
                rows = features.repeat(episodes, axis=0)
                returns = population_returns(
                    environment, tasks, lambda seen: expert.act(seen, rows), episodes, evaluation_seeds
                )
                for row, found in zip(statistics, returns, strict=True):
                    row["greedy_return"] = float(found.mean())
        for index in range(len(tasks)):
            yield SourceRun(population.history(index), {**policy, _FEATURES: features[index]}, statistics[index])

    def greedy_policy(self, policy_tensors: Mapping[str, Array], environment_spec: EnvironmentSpec) -> GreedyPolicy:
        """The expert of one task, as it acted without noise.

        Raises:
            UsageError: the tensors don't belong to such an expert.
        """
        tensors = dict(policy_tensors)
        features = tensors.pop(_FEATURES, None)
        if features is None or np.ndim(features) != 1:
            raise UsageError(
                f"the tensors lack '{_FEATURES}', what an expert sees of its task",
                "rebuild the policy with the source's configuration that trained it",
            )
        seen = np.asarray(features, dtype=np.float32)
        learner = load_expert(environment_spec, self.config.expert(), tensors, len(seen))

        def act(observations: FloatArray) -> FloatArray:
            rows = np.broadcast_to(seen, (len(observations), len(seen)))
            return learner.act_greedily(np.concatenate([observations, rows], axis=1))

        return act

    def _record(
        self,
        population: RecordedPopulation,
        expert: Expert,
        features: FloatArray,
        others: FloatArray,
        streams: TaskStreams,
        report_steps: Callable[[int], None],
    ) -> None:
        """Until all streams are full. `features`: of the tasks, (K, F); `others`: of those that are explored, (N, F)."""
        config, recorder = self.config, population.recorder
        rows = features.repeat(config.num_envs, axis=0)  # (K·S, F)
        population.begin()
        unreported = 0
        for step in range(recorder.num_steps):
            share = config.noise(step)
            if config.exploration == "tasks":
                if step % config.exploration_hold == 0:
                    seen = _seen_for_a_while(rows, others, share, streams)
                means = expert.act(population.observations, seen)  # (K·S, A)
                drawn = streams.normal(config.num_envs, means.shape[1]).flatten(0, 1).numpy()
                actions = means + np.float32(share * config.exploration_std) * drawn
            else:
                means = np.float32(1 - share) * expert.act(population.observations, rows)
                drawn = streams.uniform(-1.0, 1.0, config.num_envs, means.shape[1]).flatten(0, 1).numpy()
                actions = means + np.float32(share) * drawn
            population.step(actions)
            if recorder.policy_means is not None:
                recorder.policy_means[:, step] = means
            unreported += recorder.num_rows
            if step + 1 == recorder.num_steps or (step + 1) % STEPS_PER_REPORT == 0:
                report_steps(unreported)
                unreported = 0


def _seen_for_a_while(own: FloatArray, others: FloatArray, share: float, streams: TaskStreams) -> FloatArray:
    """Of each row's own task (K·S, F), or with probability `share` of any of `others` (N, F)."""
    num_streams = len(own) // streams.num_tasks
    drawn = streams.uniform(0.0, 1.0, num_streams, 2).flatten(0, 1).numpy()  # (K·S, 2)
    chosen = np.minimum((drawn[:, 1] * len(others)).astype(int), len(others) - 1)
    seen: FloatArray = np.where(drawn[:, :1] < share, others[chosen], own)
    return seen
