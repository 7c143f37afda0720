"""Tabular Q-learning (Watkins & Dayan, 1992) of all tasks together: the source of the grid-world papers.

Each of the S streams of a task is a learner of its own, with its own table, so that a history shows all that its learner knows:

    Q(s, a) ← Q(s, a) + α (r + γ max Q(s', ·) - Q(s, a)),   without the second term where the MDP ended in s'.

Actions are ε-greedy, and ε falls linearly to nothing, so that a history leads from random actions to the policy that was
learned, as the histories of Zisman et al. (2024, arXiv 2312.12275) do. Of equally good actions one is drawn. A table that
starts with high values makes a learner try all that it hasn't tried (Sutton & Barto, 2018, section 2.6), and so it finds a
rare reward sooner; an episode that is learned again backwards when it ends (Lin, 1992) tells its begin of it at once. The
policy that is kept is the best one for all that the S learners saw together (`experience.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from icrl_plugins.randomness.seeds import child_seed, integer_seeds
from icrl_plugins.sources.evaluation import population_returns
from icrl_plugins.sources.population.recorded import RecordedPopulation
from icrl_plugins.sources.recording import HistoryRecorder
from icrl_plugins.sources.tabular.experience import Experience, values_of
from icrl_registry.actions import ActionKind, action_numbers, one_hot
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import (
    Array,
    CheckpointStore,
    Environment,
    EnvironmentSpec,
    FloatArray,
    GreedyPolicy,
    LearningHistory,
    Source,
    SourceRun,
    Task,
)
from icrl_registry.errors import UsageError

Integers = NDArray[np.int64]

#: A table larger than this is refused: 8 bytes an entry, for each learner.
MOST_VALUES = 10_000_000
#: Steps of every stream between two reports, and for which random numbers are drawn at once.
STEPS_PER_REPORT = 100

_TABLE = "policy.values"


class QLearningConfig(ComponentConfig):
    """Q-learning's hyper-parameters."""

    total_steps: int = Field(10_000, ge=1, description="environment steps per task, over all parallel environments")
    num_envs: int = Field(5, ge=1, description="learners of a task; each writes one stream of the learning history")
    learning_rate: float = Field(0.5, gt=0, le=1, description="step of a value towards its target (alpha)")
    discount: float = Field(0.9, ge=0, le=1, description="discount factor (gamma)")
    initial_value: float = Field(0.0, description="value of everything that was never tried")
    first_epsilon: float = Field(1.0, ge=0, le=1, description="share of random actions at the begin")
    random_fraction: float = Field(
        0.9, ge=0, le=1, description="share of the steps over which that share falls linearly to nothing"
    )
    replays: int = Field(
        0, ge=0, description="how often an episode is learned again when it ended, from its last step to its first"
    )
    population: int = Field(48, ge=1, description="tasks that one process trains together at most")
    evaluation_episodes: int = Field(
        10, ge=0, description="episodes of the greedy policy after training (statistic only)"
    )
    record_policy_means: bool = Field(False, description="also store the action of the largest value at every step")

    @model_validator(mode="after")
    def _every_stream_gets_a_step(self) -> Self:
        if self.total_steps < self.num_envs:
            raise ValueError(f"total_steps ({self.total_steps}) must be at least num_envs ({self.num_envs})")
        return self

    @property
    def steps_per_stream(self) -> int:
        """T."""
        return self.total_steps // self.num_envs

    def epsilon(self, step: int) -> float:
        """The share of random actions at a step (from 0) of the streams."""
        falling = self.random_fraction * self.steps_per_stream
        return self.first_epsilon * max(0.0, 1 - step / falling) if falling else 0.0


class QLearning(Source):
    """Q-learning with a table a learner, for environments with discrete actions and finitely many observations."""

    Config: ClassVar[type[ComponentConfig]] = QLearningConfig
    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("discrete",)

    def __init__(self, config: ComponentConfig) -> None:
        assert isinstance(config, QLearningConfig)
        self.config: QLearningConfig = config

    def group_size(self) -> int:
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
        """See `Source.collect`; a run's statistics are those of the other populations, `stream_seed` and `greedy_return`.

        Raises:
            UsageError: the environment has not finitely many observations, or too many for a table.
        """
        config = self.config
        stream_seeds, evaluation_seeds = zip(*(integer_seeds(seed, 2) for seed in seeds), strict=True)
        learners = QLearners(environment.spec, config, seeds)
        population = RecordedPopulation(
            environment, tasks, stream_seeds, config.num_envs, config.steps_per_stream, config.record_policy_means
        )
        try:
            _train(learners, population, report_steps)
        finally:
            population.close()
        histories = [population.history(index) for index in range(len(tasks))]
        tables = [learners.values_of(history) for history in histories]
        statistics = [{"stream_seed": float(seed)} for seed in stream_seeds]
        if config.evaluation_episodes > 0:
            policy = TablePolicy(environment.spec, tables)
            returns = population_returns(environment, tasks, policy, config.evaluation_episodes, evaluation_seeds)
            for row, found in zip(statistics, returns, strict=True):
                row["greedy_return"] = float(found.mean())
        for history, table, row in zip(histories, tables, statistics, strict=True):
            yield SourceRun(history, {_TABLE: table}, row)

    def greedy_policy(self, policy_tensors: Mapping[str, Array], environment_spec: EnvironmentSpec) -> GreedyPolicy:
        """The first of the best actions of a table.

        Raises:
            UsageError: the table is not one of this environment.
        """
        table, shape = policy_tensors.get(_TABLE), table_shape(environment_spec)
        if table is None or np.shape(table) != shape:
            raise UsageError(
                f"the tensors are not a table of {shape} values",
                "rebuild the policy with the environment that it was trained in",
            )
        return TablePolicy(environment_spec, [table])


def table_shape(spec: EnvironmentSpec) -> tuple[int, int]:
    """(N, A): a value for every observation and action.

    Raises:
        UsageError: the environment has not finitely many observations, or too many for a table.
    """
    count = math.prod(spec.observation_values)
    if not spec.observation_values or spec.actions != "discrete" or count * spec.action_size > MOST_VALUES:
        problem = f"has {count * spec.action_size:,}" if spec.observation_values else "doesn't say how many those are"
        raise UsageError(
            f"q-learning keeps a value for every observation and discrete action; {spec.id} {problem}",
            "choose a source with a network, or give spec.observation_values",
        )
    return count, spec.action_size


def numbers_of(observations: FloatArray, spec: EnvironmentSpec) -> Integers:
    """The rows of a table that belong to observations, (…, O) → (…,)."""
    components = np.moveaxis(np.rint(observations).astype(np.int64), -1, 0)
    numbers: Integers = np.ravel_multi_index(tuple(components), spec.observation_values).astype(np.int64)
    return numbers


class TablePolicy:
    """The first of the best actions by the tables of K tasks: observations (K·E, O), task by task → one-hot (K·E, A)."""

    def __init__(self, spec: EnvironmentSpec, tables: Sequence[Array]) -> None:
        self.spec = spec
        self.best: Integers = np.stack(tables).argmax(axis=-1)  # (K, N)

    def __call__(self, observations: FloatArray) -> FloatArray:
        numbers = numbers_of(observations, self.spec).reshape(len(self.best), -1)  # (K, E)
        return one_hot(np.take_along_axis(self.best, numbers, axis=1).ravel(), self.spec.action_size)


class QLearners:
    """K·S tables, (K·S, N, A) float64 for N observations, and what their owners draw from. Rows are task by task."""

    def __init__(self, spec: EnvironmentSpec, config: QLearningConfig, seeds: Sequence[np.random.SeedSequence]) -> None:
        """
        Raises:
            UsageError: the environment has not finitely many observations, or too many for a table.
        """
        self.config, self.spec = config, spec
        self.values = np.full((len(seeds) * config.num_envs, *table_shape(spec)), config.initial_value, np.float64)
        self._generators = [np.random.Generator(np.random.PCG64(child_seed(seed, 0))) for seed in seeds]
        self._drawn = np.zeros((0, len(self.values), spec.action_size + 1))  # what is left of the last draw
        self._starts = np.zeros(len(self.values), dtype=np.int64)  # where in its stream each row's episode began

    def act(self, observations: FloatArray, epsilon: float) -> tuple[Integers, Integers]:
        """Observations (K·S, O) → numbers of the ε-greedy actions and of the greedy ones, (K·S,) each."""
        rows = np.arange(len(self.values))
        values = self.values[rows, numbers_of(observations, self.spec)]  # (K·S, A)
        chance = self._draw()  # (K·S, A + 1)
        best = values == values.max(axis=-1, keepdims=True)
        greedy = np.where(best, chance[:, 1:], -1.0).argmax(axis=-1)  # one of the best
        return np.where(chance[:, 0] < epsilon, chance[:, 1:].argmax(axis=-1), greedy), greedy

    def learn(self, recorder: HistoryRecorder) -> None:
        """From the step that all rows have just taken and, where it ended an episode, from that episode again."""
        last = recorder.steps_taken - 1
        self._learn_step(recorder, np.arange(len(self.values)), last)
        ended = np.flatnonzero((recorder.terminated[:, last] != 0) | recorder.truncated[:, last])
        starts = self._starts[ended]
        self._starts[ended] = recorder.steps_taken
        if not len(ended):
            return
        for _ in range(self.config.replays):
            for step in range(last, int(starts.min()) - 1, -1):
                self._learn_step(recorder, ended[starts <= step], step)

    def _learn_step(self, recorder: HistoryRecorder, rows: Integers, step: int) -> None:
        """One update of each of R rows (R,), from the transition that it recorded at `step`."""
        number = numbers_of(recorder.observations[rows, step], self.spec)
        following = numbers_of(recorder.next_observations[rows, step], self.spec)
        action = action_numbers(recorder.actions[rows, step])
        worth = np.where(recorder.terminated[rows, step] != 0, 0.0, self.values[rows, following].max(axis=-1))
        target = recorder.rewards[rows, step].astype(np.float64) + self.config.discount * worth
        self.values[rows, number, action] += self.config.learning_rate * (target - self.values[rows, number, action])

    def values_of(self, history: LearningHistory) -> Array:
        """What all steps of a task's learners tell together, (N, A)."""
        seen = Experience(
            numbers_of(history.observations, self.spec).ravel(),
            action_numbers(history.actions).ravel(),
            history.rewards.astype(np.float64).ravel(),
            numbers_of(history.next_observations, self.spec).ravel(),
            history.terminated.ravel(),
        )
        return values_of(seen, *table_shape(self.spec), self.config.discount)

    def _draw(self) -> Array:
        """Uniform numbers of one step, (K·S, A + 1). Each task draws from its own stream, for many steps at once."""
        if not len(self._drawn):
            shape = (STEPS_PER_REPORT, self.config.num_envs, self.spec.action_size + 1)
            self._drawn = np.concatenate([generator.random(shape) for generator in self._generators], axis=1)
        now: Array = self._drawn[0]
        self._drawn = self._drawn[1:]
        return now


def _train(learners: QLearners, population: RecordedPopulation, report_steps: Callable[[int], None]) -> None:
    """Until all streams are full."""
    recorder, config = population.recorder, learners.config
    population.begin()
    unreported = 0
    while recorder.steps_taken < recorder.num_steps:
        number = recorder.steps_taken
        actions, greedy = learners.act(population.observations, config.epsilon(number))
        population.step(one_hot(actions, learners.spec.action_size))
        if recorder.policy_means is not None:
            recorder.policy_means[:, number] = one_hot(greedy, learners.spec.action_size)
        learners.learn(recorder)
        unreported += recorder.num_rows
        if recorder.steps_taken == recorder.num_steps or recorder.steps_taken % STEPS_PER_REPORT == 0:
            report_steps(unreported)
            unreported = 0
