"""A faithful source passes every check, and each broken promise fails the check named for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import Field

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Checkpoint, Source, SourceRun
from icrl_registry.testing.toy import toy_history


class SampleConfig(ComponentConfig):
    episodes: int = Field(4, ge=1, description="episodes of a history")


class SampleSource(Source):
    """Writes the toy's own histories: a stand-in for an algorithm."""

    Config = SampleConfig

    def __init__(self, config: SampleConfig) -> None:
        self.config = config

    def total_steps(self) -> int:
        return self.config.episodes * 10

    def collect(self, environment, tasks, seeds, report_steps, checkpoints=None):
        for task, seed in zip(tasks, seeds, strict=True):
            number = int(np.random.default_rng(seed).integers(2**31))
            history = toy_history(environment, replace(task, index=0), self.config.episodes, number)
            report_steps(history.num_steps)
            yield SourceRun(self.change(replace(history, task=task)), {"weight": np.zeros(3, np.float32)})

    def change(self, history: Any) -> Any:
        return history


def test_a_faithful_source_passes(failures):
    assert failures("source", SampleSource) == {}


def source_that(change: Callable[[Any], Any]) -> type[SampleSource]:
    class Changed(SampleSource):
        """A source with one thing changed."""

        def change(self, history):
            return change(history)

    return Changed


def reset_instead_of_terminal(history: Any) -> Any:
    followers = history.next_observations.copy()
    followers[:, 9:-1:10] = history.observations[:, 10::10]
    return replace(history, next_observations=followers)


@pytest.mark.parametrize(
    ("change", "check", "words"),
    [
        (lambda h: replace(h, rewards=h.rewards * np.float32(0.5)), "records_true_rewards", "off by"),
        (reset_instead_of_terminal, "records_true_successors", "is it the next reset"),
        (
            lambda h: replace(h, actions=h.actions * np.float32(3)),
            "keeps_actions_in_range",
            "record what was executed",
        ),
        (
            lambda h: replace(h, observations=h.observations.astype(np.float64)),
            "collects_whole_histories",
            "float64, expected float32",
        ),
        (
            lambda h: replace(h, terminated=h.truncated, truncated=h.terminated),
            "marks_the_ends_of_episodes",
            "truncated differs",
        ),
        (lambda h: replace(h, task=replace(h.task, index=99)), "collects_whole_histories", "belongs to"),
    ],
)
def test_a_source_that_breaks_a_promise_fails_its_check(failures, change: Callable[[Any], Any], check: str, words: str):
    assert words in failures("source", source_that(change))[check]


def test_a_source_must_depend_on_its_seed_alone_and_count_its_steps(failures):
    class Stateful(SampleSource):
        """Counts calls into its seeds, draws from NumPy's global generator and reports nothing."""

        calls = 0

        def collect(self, environment, tasks, seeds, report_steps, checkpoints=None):
            for task in tasks:
                type(self).calls += 1
                np.random.uniform()
                yield from super().collect(environment, [task], [np.random.SeedSequence(self.calls)], lambda _: None)

    found = failures("source", Stateful)
    assert "another order" in found["depends_on_task_and_seed_alone"]
    assert "numpy.random" in found["leaves_global_generators_alone"]
    assert "report_steps was told 0 steps" in found["collects_whole_histories"]

    class Seedless(SampleSource):
        """Ignores its seed."""

        def collect(self, environment, tasks, seeds, report_steps, checkpoints=None):
            return super().collect(environment, tasks, [np.random.SeedSequence(1)] * len(tasks), report_steps)

    assert "seed is not used" in failures("source", Seedless)["obeys_its_seed"]


class KeepsProgress(SampleSource):
    """Keeps the tasks that are done, and the generator that the next task's seed is drawn from."""

    forgets_its_generator = False

    def collect(self, environment, tasks, seeds, report_steps, checkpoints=None):
        generators = [np.random.default_rng(seed) for seed in seeds]
        numbers: list[int] = []
        kept = checkpoints.load() if checkpoints else None
        if kept is not None:
            numbers = kept.state["numbers"]
            if not self.forgets_its_generator:
                for generator, state in zip(generators, kept.state["generators"], strict=True):
                    generator.bit_generator.state = state
        while len(numbers) < len(tasks):
            numbers.append(int(sum(generator.integers(2**20) for generator in generators)))
            report_steps(self.total_steps())
            if checkpoints and checkpoints.due():
                states = [generator.bit_generator.state for generator in generators]
                checkpoints.save(Checkpoint({}, {"numbers": numbers, "generators": states}))
        for task, number in zip(tasks, numbers, strict=True):
            history = toy_history(environment, replace(task, index=0), self.config.episodes, number)
            yield SourceRun(replace(history, task=task), {"weight": np.zeros(3, np.float32)})


def test_progress_must_hold_everything(failures):
    # (that all tasks share one stream of numbers breaks another promise, which is not the point here)
    assert set(failures("source", KeepsProgress)) <= {"depends_on_task_and_seed_alone"}

    class Forgetful(KeepsProgress):
        """Starts its generator anew."""

        forgets_its_generator = True

    assert "never killed" in failures("source", Forgetful)["continues_from_kept_progress"]

    class Boastful(KeepsProgress):
        """Reports the kept steps again."""

        def collect(self, environment, tasks, seeds, report_steps, checkpoints=None):
            if checkpoints and checkpoints.load():
                report_steps(self.total_steps())
            yield from super().collect(environment, tasks, seeds, report_steps, checkpoints)

    assert "before a kill" in failures("source", Boastful)["continues_from_kept_progress"]


class KnowsItsPolicy(SampleSource):
    """Steers to the place where it believes its goal: `sign` of the way, by a policy without memory."""

    scale = 1.0

    def greedy_policy(self, policy_tensors, environment_spec):
        goal = policy_tensors["weight"][:2]
        return lambda observations: np.sign(goal + 0.3 - observations) * np.float32(self.scale)


def test_a_source_may_give_its_policies_back(failures):
    assert failures("source", KnowsItsPolicy) == {}

    class Unclipped(KnowsItsPolicy):
        """Its policy's samples are not clipped."""

        scale = 2.0

    class Batched(KnowsItsPolicy):
        """Normalises by whatever observations it is asked about together."""

        def greedy_policy(self, policy_tensors, environment_spec):
            return lambda observations: np.clip(observations - observations.mean(axis=0), -1, 1)

    class Explores(KnowsItsPolicy):
        """Draws its actions."""

        def greedy_policy(self, policy_tensors, environment_spec):
            generator = np.random.default_rng(0)
            return lambda observations: generator.uniform(-1, 1, observations.shape).astype(np.float32)

    for component, words in ((Unclipped, "reach 2"), (Batched, "by itself"), (Explores, "one call to the next")):
        assert words in failures("source", component)["gives_its_policy_back"]
