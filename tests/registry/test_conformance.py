"""The conformance checks: a good plugin of each kind passes them all, and each broken promise fails the check named for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import Field

from icrl_registry.batching import SequentialBatch
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Checkpoint, Method, Source, SourceRun
from icrl_registry.discovery import Plugin, PluginEntry
from icrl_registry.errors import UnknownNameError
from icrl_registry.testing.conformance import CheckResult, checks_for, run_checks
from icrl_registry.testing.toy import ToyPoint, ToyPointConfig, toy_backbone_class, toy_history


def plugin(kind: str, component: Any, name: str = "sample-v1") -> Plugin:
    return Plugin(PluginEntry(kind, name, "acme:Thing", "acme", "1.2"), component, "0" * 64)


def failures(kind: str, component: Any, name: str = "sample-v1") -> dict[str, str]:
    return {result.name: result.message for result in run_checks(plugin(kind, component, name)) if not result.passed}


# --- The suite itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["environment", "source", "backbone", "method"])
def test_checks_have_names_of_their_own_and_say_what_they_check(kind: str):
    names = [check.__name__ for check in checks_for(kind)]
    assert len(names) == len(set(names)) >= 9
    assert all((check.__doc__ or "").strip() for check in checks_for(kind))


def test_a_check_that_raises_is_a_failure_with_its_place_and_the_others_run():
    class Explodes(ToyPoint):
        """An environment that can't be made."""

        def make(self, task, render_mode=None):
            raise RuntimeError("no licence")

    reported: list[CheckResult] = []
    results = run_checks(plugin("environment", Explodes, "toy-point-v1"), report=reported.append)
    assert reported == results
    assert [each.passed for each in results].count(True) >= 4
    messages = {each.name: each.message for each in results}
    assert "RuntimeError: no licence (raised at test_conformance.py:" in messages["obeys_its_seed"]


def test_settings_reach_the_plugin_and_unknown_ones_are_refused():
    class Strict(ToyPoint):
        """An environment that can only be checked with the settings it names."""

        conformance_settings = {"horizon": 7}  # noqa: RUF012
        seen: list[int] = []  # noqa: RUF012

        def __init__(self, config: ComponentConfig | None = None) -> None:
            super().__init__(config)
            self.seen.append(self.config.horizon)

    run_checks(plugin("environment", Strict, "toy-point-v1"))
    assert set(Strict.seen) == {7}
    Strict.seen.clear()
    run_checks(plugin("environment", Strict, "toy-point-v1"), {"horizon": 5})
    assert set(Strict.seen) == {5}
    with pytest.raises(UnknownNameError):
        run_checks(plugin("environment", Strict), {"horizn": 5})


def test_undocumented_settings_and_classes_fail():
    class Silent(ComponentConfig):
        horizon: int = 10
        described: int = Field(1, description="fine")

    class Undocumented(ToyPoint):
        Config = Silent

    found = failures("environment", Undocumented, "toy-point-v1")
    assert "horizon" in found["describes_every_setting"]
    assert "described" not in found["describes_every_setting"]
    assert "Undocumented" in found["says_what_it_is"]


# --- Environments -------------------------------------------------------------------------------------------------


def test_the_toy_passes():
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
def test_an_environment_that_breaks_a_promise_fails_its_check(wrapper: type[Wrapped], check: str, words: str):
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
        (AlwaysAlike, "starts_differently_with_another_seed", "deterministic_start"),
    ],
)
def test_a_family_that_breaks_a_promise_fails_its_check(component: type[ToyPoint], check: str, words: str):
    assert words in failures("environment", component, "toy-point-v1")[check]


def test_a_declared_deterministic_start_is_accepted():
    class Declared(AlwaysAlike):
        """Every episode starts alike, as it says."""

        deterministic_start = True

    assert failures("environment", Declared, "toy-point-v1") == {}


def test_a_name_must_be_its_id_and_carry_a_version():
    assert "entry point 'other-v1'" in failures("environment", ToyPoint, "other-v1")["names_itself"]

    class Unversioned(ToyPoint):
        """Without a version."""

        id = "toy"

    assert "toy-v1" in failures("environment", Unversioned, "toy")["names_itself"]


# --- Sources ------------------------------------------------------------------------------------------------------


class SampleConfig(ComponentConfig):
    episodes: int = Field(4, ge=1, description="episodes of a history")


class SampleSource(Source):
    """Writes the toy's own histories: a stand-in for an algorithm."""

    Config = SampleConfig

    def __init__(self, config: SampleConfig) -> None:
        self.config = config

    def total_steps(self) -> int:
        return self.config.episodes * 10

    def collect(self, environment, tasks, seeds, report_steps):
        for task, seed in zip(tasks, seeds, strict=True):
            number = int(np.random.default_rng(seed).integers(2**31))
            history = toy_history(environment, replace(task, index=0), self.config.episodes, number)
            report_steps(history.num_steps)
            yield SourceRun(self.change(replace(history, task=task)), {"weight": np.zeros(3, np.float32)})

    def change(self, history: Any) -> Any:
        return history


def test_a_faithful_source_passes():
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
def test_a_source_that_breaks_a_promise_fails_its_check(change: Callable[[Any], Any], check: str, words: str):
    assert words in failures("source", source_that(change))[check]


def test_a_source_must_depend_on_its_seed_alone_and_count_its_steps():
    class Stateful(SampleSource):
        """Counts calls into its seeds, draws from NumPy's global generator and reports nothing."""

        calls = 0

        def collect(self, environment, tasks, seeds, report_steps):
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

        def collect(self, environment, tasks, seeds, report_steps):
            return super().collect(environment, tasks, [np.random.SeedSequence(1)] * len(tasks), report_steps)

    assert "seed is not used" in failures("source", Seedless)["obeys_its_seed"]


# --- Backbones ----------------------------------------------------------------------------------------------------


def backbone_that(**members: Any) -> Any:
    return type("Changed", (toy_backbone_class(),), {"__doc__": "A backbone with one thing changed.", **members})


def test_the_toy_backbone_passes():
    assert failures("backbone", backbone_that()) == {}


def test_a_backbone_that_breaks_a_promise_fails_its_check():
    import torch

    base = toy_backbone_class()

    def anticausal(self, tokens):
        return base.forward(self, tokens) + tokens.mean(dim=1, keepdim=True)

    def mixing(self, tokens):
        return base.forward(self, tokens) + 0.1 * base.forward(self, tokens).mean(dim=0, keepdim=True)

    def other_step(self, token, state):
        output, state = base.step(self, token, state)
        return output * 1.01, state

    def forgetful(self, tokens):
        return torch.tanh(self.mix(torch.cat([tokens, tokens], dim=-1)))

    def finite_only_inside(self, token, state):
        output, state = base.step(self, token, state)
        return torch.where(state[1] > 16, torch.full_like(output, float("nan")), output), state

    def fixed(self, config, *, context_length):
        base.__init__(self, config, context_length=context_length)
        torch.nn.init.constant_(self.mix.weight, 0.5)
        torch.nn.init.zeros_(self.mix.bias)

    def noisy(self, tokens):
        return base.forward(self, tokens) + torch.randn(1)

    for members, check in [
        ({"forward": anticausal}, "is_causal"),
        ({"forward": mixing}, "keeps_rows_apart"),
        ({"step": other_step}, "steps_as_it_runs_forward"),
        ({"forward": forgetful}, "remembers_earlier_tokens"),
        ({"step": finite_only_inside}, "steps_beyond_its_context"),
        ({"__init__": fixed}, "draws_weights_from_torch"),
        ({"forward": noisy}, "is_steady"),
        ({"forward": lambda self, tokens: base.forward(self, tokens)[..., :4]}, "is_a_module_of_its_size"),
    ]:
        assert check in failures("backbone", backbone_that(**members)), check


# --- Methods ------------------------------------------------------------------------------------------------------


class SampleAgent:
    """Walks in the direction that a running tally of rewards favours, with noise from its seed."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def begin(self, setting):
        self.noise = np.random.default_rng(setting.seed)
        self.tally = np.zeros((setting.num_tasks, 2), np.float32)

    def act(self, observations):
        noise = self.noise.normal(0, 0.1, size=observations.shape)
        return np.clip(self.weight * self.tally + noise, -1, 1).astype(np.float32)

    def observe(self, transitions):
        gain = transitions.rewards[:, None] * transitions.actions
        self.tally = self.tally + gain * transitions.active[:, None]

    def diagnostics(self):
        return {}


class SampleMethod(Method):
    """Averages the histories' rewards into one weight, in two steps with a checkpoint between them."""

    Config = ComponentConfig
    agent_type = SampleAgent

    def __init__(self, config, backbone=None):
        self.config = config

    def train(self, job):
        saved = job.checkpoints.load()
        done = int(saved.state["done"]) if saved else 0
        total = np.array(saved.tensors["total"]) if saved else np.zeros((), np.float64)  # 0-dimensional on purpose
        for history in job.histories[done:]:
            total = total + history.rewards.mean() + np.random.default_rng(job.seed).normal()
            done += 1
            job.checkpoints.save(Checkpoint({"total": np.asarray(total)}, {"done": done}))
        return Checkpoint({"total": np.asarray(total)}, {"done": done})

    def agent(self, checkpoint, spec, device):
        return self.agent_type(float(np.asarray(checkpoint.tensors["total"]).reshape(())))


def method_that(agent: type[SampleAgent] | None = None, **members: Any) -> Any:
    members = {"__doc__": "A method with one thing changed.", **members}
    return type("Changed", (SampleMethod,), members | ({"agent_type": agent} if agent else {}))


def test_a_faithful_method_passes():
    assert failures("method", SampleMethod) == {}


class Remembers(SampleAgent):
    tally = np.zeros((1, 2), np.float32)

    def begin(self, setting):
        before = self.tally.mean()
        super().begin(setting)
        self.tally = self.tally + before


class MixesTasks(SampleAgent):
    def observe(self, transitions):
        super().observe(transitions)
        self.tally = np.roll(self.tally, 1, axis=0)


class GlobalNoise(SampleAgent):
    def begin(self, setting):
        super().begin(setting)
        self.noise = np.random


class ActsWithNaN(SampleAgent):
    def act(self, observations):
        return super().act(observations) * np.float32("nan")


class ActsInOneRow(SampleAgent):
    def act(self, observations):
        return super().act(observations)[0]


@pytest.mark.parametrize(
    ("agent", "check", "words"),
    [
        (Remembers, "forgets_at_begin", "other tasks before `begin`"),
        (MixesTasks, "treats_each_task_by_itself", "neighbour"),
        (GlobalNoise, "acts_reproducibly", "two agents"),
        (GlobalNoise, "leaves_global_generators_alone", "numpy.random"),
        (ActsWithNaN, "acts_in_unseen_tasks", "NaN"),
        (ActsInOneRow, "acts_in_unseen_tasks", "shape (2,) for 1 tasks"),
    ],
)
def test_an_agent_that_breaks_a_promise_fails_its_check(agent: type[SampleAgent], check: str, words: str):
    assert words in failures("method", method_that(agent))[check]


def test_training_that_breaks_a_promise_fails_its_check():
    def forgets_progress(self, job):
        return SampleMethod.train(self, replace(job, seed=np.random.SeedSequence()))

    def swallows(self, job):
        try:
            return SampleMethod.train(self, job)
        except BaseException:
            return Checkpoint({}, {})

    def counts_a_resumed_history_twice(self, job):
        saved = job.checkpoints.load()
        result = SampleMethod.train(self, job)
        return result if saved is None else Checkpoint({"total": result.tensors["total"] + 1}, result.state)

    def unstorable(self, job):
        result = SampleMethod.train(self, job)
        return Checkpoint(result.tensors, {"when": object()})

    for train, check in [
        (forgets_progress, "trains_reproducibly"),
        (swallows, "resumes_where_it_was_killed"),
        (counts_a_resumed_history_twice, "resumes_where_it_was_killed"),
        (unstorable, "survives_storage"),
        (unstorable, "trains_to_a_checkpoint"),
    ]:
        assert check in failures("method", method_that(train=train)), check
    assert "online" in failures("method", method_that(tracks=("live",)))["declares_what_it_needs"]
    assert "training_data" in failures("method", method_that(training_data="all"))["declares_what_it_needs"]


def test_a_method_without_saved_progress_passes_with_a_remark():
    def at_once(self, job):
        return Checkpoint({"total": np.ones(1)}, {})

    results = {result.name: result for result in run_checks(plugin("method", method_that(train=at_once)))}
    assert results["resumes_where_it_was_killed"].passed
    assert "saves no progress" in results["resumes_where_it_was_killed"].message


def test_the_toy_problem_is_what_it_says():
    environment = ToyPoint(ToyPointConfig(horizon=4))
    task = environment.tasks(1)[0]
    history = toy_history(environment, task, num_episodes=20, seed=1)
    returns = history.episode_returns(0)
    assert history.num_steps == 80
    assert len(returns) == 20
    assert returns[-5:].mean() > returns[:5].mean() + 0.5
