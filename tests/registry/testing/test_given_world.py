"""Sources and methods that need a certain environment are tried in it, and what can be seen from outside is held to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import (
    Agent,
    Checkpoint,
    Environment,
    EnvironmentSpec,
    LearningHistory,
    Method,
    Source,
    SourceRun,
)
from icrl_registry.testing.conformance import run_checks
from icrl_registry.testing.given_world import GivenWorld


class Countdown(gymnasium.Env):
    """A number falls by one a step, from 3 or 4; at 0 the task ends, unless four steps have passed before."""

    observation_space = gymnasium.spaces.Box(-9, 9, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, goal: float) -> None:
        self.goal = goal

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left, self.noise = int(self.np_random.integers(3, 5)), self.np_random.uniform()
        return self.seen(), {}

    def step(self, action):
        self.left -= 1
        return self.seen(), -abs(float(action[0]) - self.goal), self.left == 0, False, {}

    def seen(self):
        return np.array([self.left, self.noise, 1.0], np.float32)


class Countdowns(Environment):
    """O = 3, A = 1; episodes that end by themselves."""

    Config = ComponentConfig
    id = "countdown-v1"
    task_parameter_names = ("goal (action)",)
    spec = EnvironmentSpec(id, observation_size=3, action_size=1, horizon=6)

    def __init__(self, config: ComponentConfig | None = None) -> None: ...

    def sample_task_parameters(self, generator):
        return generator.uniform(-1, 1, size=1)

    def make(self, task, render_mode=None):
        return gymnasium.wrappers.TimeLimit(Countdown(task.parameters[0]), 6)


class RandomPlay(Source):
    """Random actions, in worlds of three observations alone."""

    Config = ComponentConfig

    def __init__(self, config: ComponentConfig) -> None: ...

    def total_steps(self) -> int:
        return 20

    def collect(self, environment, tasks, seeds, report_steps, checkpoints=None):
        if environment.spec.observation_size != 3:
            raise ValueError("only for worlds of three observations")
        for task, seed in zip(tasks, seeds, strict=True):
            number = int(np.random.default_rng(seed).integers(2**31))
            whole = GivenWorld(environment).history(replace(task, index=0), 8, number)
            columns = {name: column[:, :20] for name, column in vars(whole).items() if isinstance(column, np.ndarray)}
            history = LearningHistory(task, **columns)
            report_steps(20)
            yield SourceRun(self.change(history), {})

    def change(self, history: Any) -> Any:
        return history


class Waiting(Method, Agent):
    """Acts by the third of three observations, and keeps the best action."""

    Config, training_data = ComponentConfig, "tasks"

    def train(self, job):
        batch = job.tasks.make_batch([0, 1])
        seen = [batch.reset(row, seed=row) for row in range(2)]
        return Checkpoint({"model.third": np.array([observation[2] for observation in seen], np.float32)}, {})

    def agent(self, checkpoint, spec, device):
        self.size = spec.action_size
        return self

    def begin(self, setting):
        self.best = np.zeros((setting.num_tasks, self.size))

    def act(self, observations):
        return self.best + observations[:, 2:3] * 0.1

    def observe(self, transitions):
        self.best = np.where(transitions.active[:, None], transitions.actions * 0.5, self.best)


def failed(plugin: Any) -> dict[str, str]:
    found = run_checks(plugin, environment=Countdowns())
    return {each.name: each.message for each in found if not each.passed}


def test_what_fails_on_a_toy_passes_where_it_belongs(plugin, failures):
    assert any("three observations" in message for message in failures("source", RandomPlay).values())
    assert failed(plugin("source", RandomPlay)) == {}
    assert "trains_to_a_checkpoint" in failures("method", Waiting)
    assert failed(plugin("method", Waiting)) == {}


def shifted(history: Any) -> Any:
    return replace(history, next_observations=np.roll(history.next_observations, 1, axis=1))


def endless(history: Any) -> Any:
    nothing = np.zeros_like(history.terminated)
    return replace(history, terminated=nothing, truncated=nothing)


def wide(history: Any) -> Any:
    return replace(history, actions=history.actions * np.float32(2))


@pytest.mark.parametrize(
    ("change", "check"),
    [(shifted, "records_true_successors"), (endless, "marks_the_ends_of_episodes"), (wide, "keeps_actions_in_range")],
)
def test_a_broken_promise_is_found_there_too(plugin, change, check):
    class Changed(RandomPlay):
        """A source with one thing changed."""

        def change(self, history):
            return change(history)

    assert check in failed(plugin("source", Changed))


def test_an_agent_that_mixes_its_tasks_is_found_there_too(plugin):
    class Mixing(Waiting):
        """Moves all tasks by what happened in the last."""

        def observe(self, transitions):
            self.best = self.best + 0.1 * transitions.rewards[-1]

    assert "treats_each_task_by_itself" in failed(plugin("method", Mixing))


def test_episodes_that_end_by_themselves_are_recorded_as_such():
    world = GivenWorld(Countdowns())
    history = world.history(world.tasks(1)[0], num_episodes=5, seed=3)
    lengths = [end - start for start, end in history.episode_bounds(0)]
    assert set(lengths) <= {3, 4}
    assert history.terminated.sum() == 5
    assert not history.truncated.any()
    inside = ~history.terminated[0, :-1]
    assert np.array_equal(history.next_observations[0, :-1][inside], history.observations[0, 1:][inside])
