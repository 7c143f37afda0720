"""Sources that train all tasks of a call together: K learners as one batched network, K·S environments as one batch.

A subclass says how its learners act and learn (`PopulationLearner`); stepping, recording, progress, checkpoints and the
greedy evaluation are here. A task's learner draws from its own streams, so its history depends on its own seed. Only
rounding can tell the groups apart: where a batched product of another number of tasks adds up in another order, the last
bits differ, and with them, in the end, the history. The harness cuts its groups from the fixed list of all tasks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import Field

from icrl_plugins.randomness.seeds import integer_seeds
from icrl_plugins.sources.evaluation import population_returns, require_finite_policy
from icrl_plugins.sources.hyperparameters import SourceConfig
from icrl_plugins.sources.population.recorded import RecordedPopulation
from icrl_plugins.sources.recording import HistoryRecorder
from icrl_registry.contracts import (
    Array,
    Checkpoint,
    CheckpointStore,
    Environment,
    EnvironmentSpec,
    FloatArray,
    GreedyPolicy,
    Source,
    SourceRun,
    Task,
)

#: Progress is reported, and saved if that is due, every so many steps of every stream.
STEPS_PER_REPORT = 20


class PopulationLearner(Protocol):
    """K learners that act and learn together. Rows of observations and actions are task by task: (K·S, …)."""

    @abstractmethod
    def act(self, observations: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(K·S, O) → what the learners do, exploring, and the mean actions of their policies, (K·S, A) each."""

    @abstractmethod
    def learn(self, recorder: HistoryRecorder) -> None:
        """Called after every step of all rows, which `recorder` holds."""

    @abstractmethod
    def act_greedily(self, observations: FloatArray) -> FloatArray:
        """(K·E, O) → actions without exploration (K·E, A), for any number E of rows a task."""

    @abstractmethod
    def policy_tensors(self, index: int) -> dict[str, Array]:
        """The policy of the task at `index`, by name."""

    @abstractmethod
    def load_policy(self, tensors: Mapping[str, Array]) -> None:
        """Puts a policy in the place of the first task's.

        Raises:
            UsageError: the tensors don't belong to such a policy.
        """

    @abstractmethod
    def save(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Tensors and JSON-able state: everything that acting and learning depend on."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, Array], state: Mapping[str, Any]) -> None:
        """Goes on from what `save` gave."""


class PopulationConfig(SourceConfig):
    """How many tasks train together."""

    population: int = Field(16, ge=1, description="tasks that one process trains together at most")


class PopulationSource(Source):
    """A source whose tasks train as one population; a subclass makes the learners."""

    config: PopulationConfig

    def __init__(self, config: PopulationConfig) -> None:
        self.config = config

    @abstractmethod
    def make_learner(self, spec: EnvironmentSpec, seeds: Sequence[np.random.SeedSequence]) -> PopulationLearner:
        """Untrained learners, one a seed."""

    def group_size(self) -> int:
        """How many tasks train together at most."""
        return self.config.population

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
        config = self.config
        stream_seeds, evaluation_seeds = zip(*(integer_seeds(seed, 2) for seed in seeds), strict=True)
        with one_thread():
            learner = self.make_learner(environment.spec, seeds)
            population = RecordedPopulation(
                environment, tasks, stream_seeds, config.num_envs, config.steps_per_stream, config.record_policy_means
            )
            try:
                _train(learner, population, report_steps, checkpoints)
            finally:
                population.close()
            statistics = [{"stream_seed": float(seed)} for seed in stream_seeds]
            policies = [learner.policy_tensors(index) for index in range(len(tasks))]
            for task, policy in zip(tasks, policies, strict=True):
                require_finite_policy(task, config.steps_per_stream, policy)
            if config.evaluation_episodes > 0:
                returns = population_returns(  # (K, E)
                    environment, tasks, learner.act_greedily, config.evaluation_episodes, evaluation_seeds
                )
                for row, task_returns in zip(statistics, returns, strict=True):
                    row["greedy_return"] = float(task_returns.mean())
        for index in range(len(tasks)):
            yield SourceRun(population.history(index), policies[index], statistics[index])

    def greedy_policy(self, policy_tensors: Mapping[str, Array], environment_spec: EnvironmentSpec) -> GreedyPolicy:
        """Rebuilds a trained policy from the tensors of `SourceRun.policy`.

        Raises:
            UsageError: the tensors don't belong to a policy of this source and configuration.
        """
        learner = self.make_learner(environment_spec, [np.random.SeedSequence(0)])  # its weights are overwritten
        learner.load_policy(policy_tensors)

        def act(observations: FloatArray) -> FloatArray:
            return learner.act_greedily(observations)

        return act


def _train(
    learner: PopulationLearner,
    population: RecordedPopulation,
    report_steps: Callable[[int], None],
    checkpoints: CheckpointStore | None,
) -> None:
    """Until all streams are full, from saved progress if there is some."""
    recorder = population.recorder
    saved = None if checkpoints is None else checkpoints.load()
    if saved is None:
        population.begin()
    else:
        learner.restore(saved.tensors, saved.state["learner"])
        population.restore(saved.tensors, saved.state["population"])
    unreported = 0
    while recorder.steps_taken < recorder.num_steps:
        step = recorder.steps_taken
        actions, means = learner.act(population.observations)
        population.step(actions)
        if recorder.policy_means is not None:
            recorder.policy_means[:, step] = means
        learner.learn(recorder)
        unreported += recorder.num_rows
        finished = recorder.steps_taken == recorder.num_steps
        if finished or recorder.steps_taken % STEPS_PER_REPORT == 0:
            report_steps(unreported)
            unreported = 0
            if checkpoints is not None and checkpoints.due():
                _save_progress(learner, population, checkpoints)


def _save_progress(learner: PopulationLearner, population: RecordedPopulation, checkpoints: CheckpointStore) -> None:
    saved = population.save()
    if saved is None:  # an environment that cannot be saved in the midst of an episode: a kill costs the whole group
        return
    tensors, state = learner.save()
    checkpoints.save(Checkpoint({**tensors, **saved[0]}, {"learner": state, "population": saved[1]}))


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes on one thread inside: products this small gain nothing from two, and add up in a fixed order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
