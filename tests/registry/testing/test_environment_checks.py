"""A good environment passes every check, and each broken promise fails the check named for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from icrl_registry.batching import SequentialBatch
from icrl_registry.testing.toy import ToyBatch, ToyPoint


def test_the_toy_passes(failures):
    assert failures("environment", ToyPoint, "toy-point-v1") == {}


class Wrapped:
    """A Gymnasium environment with one thing changed."""

    def __init__(self, inner: Any, task: Any, number: int) -> None:
        self.inner, self.task, self.number = inner, task, number
        self.observation_space, self.action_space = inner.observation_space, inner.action_space
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return self.inner.reset(seed=seed)

    def step(self, action):
        self.steps += 1
        return self.inner.step(action)

    def close(self):
        self.inner.close()


def changed(wrapper: type[Wrapped]) -> type[ToyPoint]:
    class Changed(ToyPoint):
        """The toy with one thing changed."""

        made = 0

        def make(self, task, render_mode=None):
            type(self).made += 1
            return wrapper(super().make(task), task, self.made)

    return Changed


class LeaksInObservation(Wrapped):
    def reset(self, **keywords):
        observation, info = super().reset(**keywords)
        return observation + np.float32(0.01 * self.task.parameters[0]), info


class LeaksInInfo(Wrapped):
    def step(self, action):
        observation, reward, terminated, truncated, _ = super().step(action)
        return observation, reward, terminated, truncated, {"reward_distance": reward}


class RewardsIgnoreTheTask(Wrapped):
    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float(observation.sum()), *rest


class IgnoresItsSeed(Wrapped):
    def reset(self, **keywords):
        return super().reset(seed=self.number)


class ResamplesTheTask(Wrapped):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.resets = 0

    def reset(self, **keywords):
        self.resets += 1
        return super().reset(**keywords)

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, reward * self.resets, *rest


class ReturnsDoubles(Wrapped):
    def step(self, action):
        observation, *rest = super().step(action)
        return observation.astype(np.float64), *rest


class RewardsWithNaN(Wrapped):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, float("nan") if self.steps == 6 else reward, *rest


class NeverTruncates(Wrapped):
    def step(self, action):
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, False, info


class TruncatesEarly(Wrapped):
    def step(self, action):
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self.steps >= 8, info


@pytest.mark.parametrize(
    ("wrapper", "check", "words"),
    [
        (LeaksInObservation, "hides_its_task", "observation differs between two tasks at step 0"),
        (LeaksInInfo, "hides_its_task", "info differs"),
        (RewardsIgnoreTheTask, "hides_its_task", "equal rewards"),
        (IgnoresItsSeed, "obeys_its_seed", "between two instances"),
        (ResamplesTheTask, "obeys_its_seed", "does reset change the task"),
        (ReturnsDoubles, "returns_finite_float32", "float64, expected float32"),
        (RewardsWithNaN, "returns_finite_float32", "the reward of step 5 under random actions is nan"),
        (NeverTruncates, "truncates_at_its_horizon", "TimeLimit"),
        (TruncatesEarly, "truncates_at_its_horizon", "at step 8, expected the horizon 10"),
    ],
)
def test_an_environment_that_breaks_a_promise_fails_its_check(failures, wrapper: type[Wrapped], check: str, words: str):
    assert words in failures("environment", changed(wrapper), "toy-point-v1")[check]


class OneTask(ToyPoint):
    """Every draw is the same task."""

    def sample_task_parameters(self, generator):
        return np.array([0.5, 0.5])


class OwnGenerator(ToyPoint):
    """Draws from its own generator."""

    stray = np.random.default_rng()

    def sample_task_parameters(self, generator):
        return self.stray.uniform(-0.8, 0.8, size=2)


class OtherSize(ToyPoint):
    """Names three parameters and has two."""

    task_parameter_names = ("x (m)", "y (m)", "z (m)")


class WideActions(ToyPoint):
    """Actions in [-2, 2]."""

    def make(self, task, render_mode=None):
        from gymnasium.spaces import Box

        single = super().make(task)
        single.action_space = Box(-2.0, 2.0, (2,), np.float32)
        return single


class MixedUpBatch(ToyPoint):
    """The batch steps rows that are not active."""

    def make_batch(self, tasks):
        class Eager(SequentialBatch):
            def step(self, actions, active):
                return super().step(actions, np.ones_like(active))

        return Eager([self.make(task) for task in tasks])


class ForgetsTheTimeLimit(ToyPoint):
    """A saved state lacks the steps of the episode."""

    def make_batch(self, tasks):
        class Forgetful(ToyBatch):
            def restore(self, state):
                super().restore({**state, "steps": np.zeros(len(tasks))})

        return Forgetful([self.make(task) for task in tasks])


class AlwaysAlike(ToyPoint):
    """Every episode starts alike."""

    def make(self, task, render_mode=None):
        return IgnoresItsSeed(super().make(task), task, 1)


@pytest.mark.parametrize(
    ("component", "check", "words"),
    [
        (OneTask, "samples_distinct_tasks", "one task"),
        (OwnGenerator, "samples_tasks_by_its_generator", "equal generators"),
        (OtherSize, "samples_tasks_by_its_generator", "shape (2,), expected (3,)"),
        (WideActions, "has_the_spaces_of_its_spec", "[-1, 1]"),
        (MixedUpBatch, "steps_a_batch_as_it_steps_one", "inactive row"),
        (ForgetsTheTimeLimit, "goes_on_from_a_saved_state", "truncated differs after restore"),
        (AlwaysAlike, "starts_differently_with_another_seed", "deterministic_start"),
    ],
)
def test_a_family_that_breaks_a_promise_fails_its_check(failures, component: type[ToyPoint], check: str, words: str):
    assert words in failures("environment", component, "toy-point-v1")[check]


def test_a_declared_deterministic_start_is_accepted(failures):
    class Declared(AlwaysAlike):
        """Every episode starts alike, as it says."""

        deterministic_start = True

    assert failures("environment", Declared, "toy-point-v1") == {}


def test_a_name_must_be_its_id_and_carry_a_version(failures):
    assert "entry point 'other-v1'" in failures("environment", ToyPoint, "other-v1")["names_itself"]

    class Unversioned(ToyPoint):
        """Without a version."""

        id = "toy"

    assert "toy-v1" in failures("environment", Unversioned, "toy")["names_itself"]


class MeasuresSuccess(Wrapped):
    """Whether the episode ended within 0.5 of the goal."""

    def step(self, action):
        observation, reward, terminated, truncated, _ = super().step(action)
        info = {"success": float(reward > -0.5)} if terminated or truncated else {}
        return observation, reward, terminated, truncated, info


class SaysSuccessAllAlong(Wrapped):
    def step(self, action):
        observation, reward, *rest, _ = super().step(action)
        return observation, reward, *rest, {"success": float(reward > -0.5)}


class CountsSuccesses(Wrapped):
    def step(self, action):
        observation, reward, terminated, truncated, _ = super().step(action)
        return observation, reward, terminated, truncated, {"success": 3.0} if truncated else {}


class SilentBatch(SequentialBatch):
    """Forgets how its episodes went."""

    def step(self, actions, active):
        return replace(super().step(actions, active), successes=None)


def declares_success(wrapper: type[Wrapped], batch: type[SequentialBatch] = SequentialBatch) -> type[ToyPoint]:
    class Declares(changed(wrapper)):
        """The toy with a measure of success."""

        success = "within 0.5 of the goal at the last step"

        def make_batch(self, tasks):
            return batch([self.make(task) for task in tasks])

    return Declares


def test_an_environment_may_measure_success(failures):
    assert failures("environment", declares_success(MeasuresSuccess), "toy-point-v1") == {}


@pytest.mark.parametrize(
    ("component", "words"),
    [
        (declares_success(Wrapped), "no info['success'] in the last step"),
        (declares_success(SaysSuccessAllAlong), "after [1] steps of 10"),
        (declares_success(CountsSuccesses), "success under random actions is 3.0"),
        (declares_success(MeasuresSuccess, SilentBatch), "a batch says success nan"),
        (changed(MeasuresSuccess), "success is None"),
    ],
)
def test_a_measure_of_success_is_held_to_its_contract(failures, component: type[ToyPoint], words: str):
    assert words in failures("environment", component, "toy-point-v1")["measures_success_at_the_end"]


class Slips(Wrapped):
    """The ground carries the point along, by another distance in every task."""

    def step(self, action):
        drift = np.asarray(self.task.parameters, np.float32) / 4
        observation, _, *rest = super().step(np.clip(action + drift, -1, 1).astype(np.float32))
        return observation, -float(np.abs(observation).sum()), *rest


class Slippery(changed(Slips)):
    """Tasks differ in how the point moves; all goals are the origin."""

    varies = ("dynamics",)

    def make_batch(self, tasks):
        return SequentialBatch([self.make(task) for task in tasks])


class FourCorners(ToyPoint):
    """A finite family: the goal is in one of four corners."""

    corners = 4

    def sample_task_parameters(self, generator):
        return generator.choice([-0.5, 0.5], size=2)

    def num_tasks(self):
        return self.corners


def test_a_family_may_differ_in_its_dynamics_and_be_finite(failures):
    assert failures("environment", Slippery, "toy-point-v1") == {}
    assert failures("environment", FourCorners, "toy-point-v1") == {}


class SlipperyUnsaid(Slippery):
    """Different dynamics, declared as different rewards."""

    varies = ("reward",)


class ShowsItsDynamics(changed(LeaksInObservation)):
    """The first observation tells the task."""

    varies = ("reward", "dynamics")


class SaidToDiffer(changed(RewardsIgnoreTheTask)):
    """Declares different dynamics and has one MDP."""

    varies = ("dynamics",)


class OtherWord(ToyPoint):
    """A word that the contract doesn't know."""

    varies = ("transitions",)


class ThreeCorners(FourCorners):
    """Says three tasks and has four."""

    corners = 3


class FiniteUnsaid(FourCorners):
    """Repeats tasks without a word."""

    corners = None


@pytest.mark.parametrize(
    ("component", "check", "words"),
    [
        (SlipperyUnsaid, "hides_its_task", 'if tasks differ in their dynamics, say varies = ("dynamics",)'),
        (ShowsItsDynamics, "hides_its_task", "observation differs between two tasks at step 0"),
        (SaidToDiffer, "hides_its_task", "equal observations and rewards"),
        (OtherWord, "hides_its_task", "expected some of reward, dynamics"),
        (ThreeCorners, "has_as_many_tasks_as_it_says", "4 tasks, but num_tasks() is 3"),
        (FiniteUnsaid, "samples_distinct_tasks", "should say its num_tasks()"),
    ],
)
def test_what_a_family_says_of_itself_must_hold(failures, component: type[ToyPoint], check: str, words: str):
    assert words in failures("environment", component, "toy-point-v1")[check]
