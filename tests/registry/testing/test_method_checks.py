"""A faithful method passes every check, and each broken promise fails the check named for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Checkpoint, Method
from icrl_registry.testing.conformance import run_checks
from icrl_registry.testing.toy import ToyPoint, ToyPointConfig, toy_history


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


def test_a_faithful_method_passes(failures):
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
def test_an_agent_that_breaks_a_promise_fails_its_check(failures, agent: type[SampleAgent], check: str, words: str):
    assert words in failures("method", method_that(agent))[check]


def test_training_that_breaks_a_promise_fails_its_check(failures):
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


def test_a_method_without_saved_progress_passes_with_a_remark(plugin):
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
