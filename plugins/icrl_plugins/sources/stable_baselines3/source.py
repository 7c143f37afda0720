"""What the sources on Stable-Baselines3 (Raffin et al., 2021) share: one task in, one learning history out.

A task is trained on `num_envs` copies of its environment. Every copy is one stream of the history, recorded below the
vector environment, and every stream has exactly `total_steps // num_envs` steps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from icrl_plugins.randomness.global_generators import isolated_global_generators
from icrl_plugins.randomness.seeds import integer_seeds
from icrl_plugins.sources.evaluation import episode_returns, require_finite_policy
from icrl_plugins.sources.hyperparameters import SourceConfig
from icrl_plugins.sources.recording import HistoryRecorder
from icrl_plugins.sources.stable_baselines3.vector_environment import (
    RecordedVectorEnvironment,
    action_space,
    observation_space,
)
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

#: Progress is reported every so many environment steps: often enough for a bar, seldom enough to cost nothing.
STEPS_PER_REPORT = 1000

#: One kernel per optimiser step instead of a dozen: the networks are so small that the calls cost more than the sums.
FUSED_ADAM = {"fused": True}


class Sb3Config(SourceConfig):
    """The hyper-parameters that every source on Stable-Baselines3 has."""

    def schedule(self) -> float | LinearSchedule:
        """The learning rate as Stable-Baselines3 takes it."""
        if self.learning_rate_schedule == "constant":
            return self.learning_rate
        return LinearSchedule(start=self.learning_rate, end=0.0, end_fraction=1.0)


class Sb3Source(Source):
    """A source on Stable-Baselines3: subclasses say which model to build and how its policy is shaped."""

    policy_type: type[BasePolicy]
    config: Sb3Config

    @abstractmethod
    def build_model(self, vector_environment: VecEnv, seed: int) -> BaseAlgorithm:
        """The untrained algorithm, on the CPU (networks this small are slower on an accelerator)."""

    @abstractmethod
    def policy_arguments(self) -> dict[str, Any]:
        """Keyword arguments of the policy's constructor."""

    @abstractmethod
    def steps_per_update(self) -> int:
        """Steps of every stream between two updates of the networks."""

    def total_steps(self) -> int:
        """Environment steps a task: `total_steps`, rounded down so that all streams are equally long."""
        return self.config.steps_per_stream * self.config.num_envs

    def collect(
        self,
        environment: Environment,
        tasks: Sequence[Task],
        seeds: Sequence[np.random.SeedSequence],
        report_steps: Callable[[int], None],
        checkpoints: CheckpointStore | None = None,
    ) -> Iterator[SourceRun]:
        """See `Source.collect`. A run's statistics are

        - `stream_seed`: what the environments were seeded with. The e-th episode of stream i was reset with the e-th
          number that `draw_episode_seed` draws from `episode_seeds(stream_seed + i)`.
        - `greedy_return`: the mean over `evaluation_episodes` of the final policy without exploration.

        Raises:
            NumericalError: an action, reward or observation is not finite; the message says where.
        """
        for task, seed_sequence in zip(tasks, seeds, strict=True):
            with isolated_global_generators(seed_sequence) as seed:
                run = self._train(environment, task, seed, integer_seeds(seed_sequence, 2)[1], report_steps)
            yield run

    def greedy_policy(self, policy_tensors: Mapping[str, Array], environment_spec: EnvironmentSpec) -> GreedyPolicy:
        """Rebuilds a trained policy from the tensors of `SourceRun.policy`.

        Raises:
            UsageError: the tensors don't belong to a policy of this source and configuration.
        """
        sizes = observation_space(environment_spec), action_space(environment_spec)
        with isolated_global_generators(np.random.SeedSequence(0)):  # the initial weights are overwritten below
            policy = self.policy_type(*sizes, _no_learning_rate, **self.policy_arguments())
        state = {
            name.removeprefix("policy."): torch.from_numpy(np.array(values)) for name, values in policy_tensors.items()
        }
        try:
            policy.load_state_dict(state)
        except RuntimeError as error:
            raise UsageError(
                f"the tensors are not those of a {type(self).__name__} policy with this configuration: {error}",
                "rebuild the policy with the source's configuration that trained it",
            ) from error
        return _act_greedily(policy)

    def _train(
        self, environment: Environment, task: Task, seed: int, evaluation_seed: int, report_steps: Callable[[int], None]
    ) -> SourceRun:
        config, spec = self.config, environment.spec
        batch = environment.make_batch([task] * config.num_envs)
        try:
            recorder = HistoryRecorder(batch, [task], spec, config.steps_per_stream, config.record_policy_means)
            model = self.build_model(RecordedVectorEnvironment(recorder, spec, config.reward_scale), seed)
            model.set_logger(Logger(folder=None, output_formats=[]))  # the default one makes a temporary folder
            progress = TrainingProgress(recorder, self.steps_per_update(), report_steps)
            try:
                model.learn(self.total_steps(), callback=progress, log_interval=None)  # type: ignore[arg-type]  # its own algorithms take None
            except ValueError:  # torch's, about a distribution with NaN as its mean
                require_finite_policy(task, recorder.steps_taken, policy_tensors(model.policy))
                raise
        finally:
            batch.close()
        tensors = policy_tensors(model.policy)
        require_finite_policy(task, recorder.steps_taken, tensors)
        statistics = {"stream_seed": float(seed)}
        if config.evaluation_episodes > 0:
            policy = _act_greedily(model.policy)
            returns = episode_returns(environment, task, policy, config.evaluation_episodes, evaluation_seed)
            statistics["greedy_return"] = float(returns.mean())
        return SourceRun(recorder.history(), tensors, statistics)


class TrainingProgress(BaseCallback):
    """Stops when the streams are full, reports steps, and records the policy's means where they are wanted.

    Stable-Baselines3 only looks at its step count between two updates; where the number of steps is no multiple of
    the steps per update, this callback ends the last, incomplete round (for which there is no update).
    """

    def __init__(self, recorder: HistoryRecorder, steps_per_update: int, report_steps: Callable[[int], None]) -> None:
        super().__init__()
        self._recorder = recorder
        self._steps_per_update = steps_per_update
        self._report_steps = report_steps
        self._unreported = 0

    def _on_step(self) -> bool:
        recorder = self._recorder
        if recorder.policy_means is not None:
            recorder.policy_means[:, self.n_calls - 1] = self._policy_means()
        finished = self.n_calls >= recorder.num_steps
        self._unreported += recorder.num_streams
        if finished or self._unreported >= STEPS_PER_REPORT:
            self._report_steps(self._unreported)
            self._unreported = 0
        return not finished or self.n_calls % self._steps_per_update == 0

    def _policy_means(self) -> FloatArray:
        """(S, A), of the policy that chose this step's actions: `_last_obs` is still what it chose them from."""
        warm_up_steps = getattr(self.model, "learning_starts", 0)
        if self.num_timesteps - self._recorder.num_streams < warm_up_steps:
            return np.zeros_like(self._recorder.actions[:, 0])  # actions are uniform in [-1, 1] during the warm-up
        observations = self.model._last_obs
        assert observations is not None  # there was a step
        means: FloatArray = self.model.policy.predict(observations, deterministic=True)[0]
        return means


def policy_tensors(policy: BasePolicy) -> dict[str, Array]:
    """A policy's parameters by name, each name prefixed with `policy.`."""
    return {f"policy.{name}": values.detach().cpu().numpy().copy() for name, values in policy.state_dict().items()}


def _act_greedily(policy: BasePolicy) -> GreedyPolicy:
    def act(observations: FloatArray) -> FloatArray:
        actions, _ = policy.predict(observations, deterministic=True)
        return actions

    return act


def _no_learning_rate(progress_remaining: float) -> float:
    return 0.0
