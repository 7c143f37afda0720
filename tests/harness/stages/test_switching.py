"""Trials whose task changes half-way, on the toy point, where every return is known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icrl_bench.planning import Plan, Request, make_plan
from icrl_bench.seeding import reset_seed
from icrl_bench.stages.adapt import Adapt
from icrl_bench.stages.rollout import rollout
from icrl_bench.stages.switching import SwitchingBatch, first_tasks
from icrl_registry.contracts import AdaptationSetting, Agent, FloatArray, Task, Transitions
from icrl_registry.errors import UsageError
from icrl_registry.protocols.loading import load_protocol
from icrl_registry.protocols.model import AdaptConfig
from icrl_registry.testing.toy import ToyPoint, best_action, next_position, reward_at

TOY = ToyPoint()
TASKS = [Task(goal, "test", index) for index, goal in enumerate([(0.6, 0.0), (-0.6, 0.2), (0.1, -0.7)])]


@pytest.fixture
def plan(toy: Path) -> Callable[..., Plan]:
    def make(method: str = "toy-method", **adapt: Any) -> Plan:
        overrides = {"adapt": adapt} if adapt else {}
        return make_plan(Request(method, "toy-point", load_protocol(str(toy / "toy.toml")), overrides))

    return make


class Walker(Agent):
    """Walks to one known goal a row, whatever it is paid."""

    def __init__(self, goals: list[tuple[float, ...]]) -> None:
        self.goals = goals
        self.rewards: list[FloatArray] = []

    def begin(self, setting: AdaptationSetting) -> None: ...

    def act(self, observations: FloatArray) -> FloatArray:
        return np.stack([best_action(at, np.array(goal)) for at, goal in zip(observations, self.goals, strict=True)])

    def observe(self, transitions: Transitions) -> None:
        self.rewards.append(transitions.rewards.copy())


def walk(start: FloatArray, towards: tuple[float, ...], paid_for: tuple[float, ...]) -> float:
    """The return of an episode from `start` towards one goal, paid for the nearness to another."""
    total, position = 0.0, start
    for _ in range(TOY.spec.horizon):
        position = next_position(position, best_action(position, np.array(towards)))
        total += float(reward_at(position, np.array(paid_for)))
    return total


def test_each_row_is_paid_by_another_task_first_and_then_by_its_own():
    batch = SwitchingBatch(TOY.make_batch(first_tasks(TASKS)), TOY.make_batch(TASKS), episodes=2)
    agent = Walker([task.parameters for task in TASKS])
    setting = AdaptationSetting(len(TASKS), 5, "online", np.random.SeedSequence(0))
    result = rollout(agent, batch, TOY.spec, TASKS, setting, lambda task, episode: reset_seed(0, task, episode))
    for row, task in enumerate(TASKS):
        for episode in range(5):
            start = TOY.make(task).reset(seed=reset_seed(0, task, episode))[0]
            paying = TASKS[row - 1] if episode < 2 else task
            expected = walk(start, task.parameters, paying.parameters)
            assert result.returns[row, episode] == pytest.approx(expected, abs=1e-5)


def test_rows_switch_by_their_own_count_when_their_episodes_differ_in_length():
    """Row 0 starts its second task while row 1 is in its first: each step goes to the batch of the row."""
    batch = SwitchingBatch(TOY.make_batch(first_tasks(TASKS)), TOY.make_batch(TASKS), episodes=1)
    for row in range(3):
        batch.reset(row, seed=row)
    start = batch.reset(0, seed=7)  # as if its episode had ended
    step = batch.step(np.zeros((3, 2), np.float32), np.ones(3, np.bool_))
    assert step.observations[0].tolist() == start.tolist()
    paying = [TASKS[0], TASKS[0], TASKS[1]]
    for row in range(3):
        assert step.rewards[row] == pytest.approx(
            float(reward_at(step.observations[row], np.array(paying[row].parameters))), abs=1e-6
        )


def test_the_option_changes_the_address_and_its_absence_leaves_the_old_one(plan: Callable[..., Plan]):
    plain, on = plan(), plan(switch_task=True)
    assert Adapt(plain, 0).address != Adapt(on, 0).address
    assert "switch_task" not in Adapt(plain, 0).determinants()["adapt"]  # what older addresses were made of
    assert "switch_task" not in plain.config["adapt"]
    assert on.config["adapt"]["switch_task"] is True
    assert on.protocol_label != plain.protocol_label  # it ranks by itself
    assert Adapt(on, 0).train.address == Adapt(plain, 0).train.address  # no retraining


def test_a_switch_takes_two_episodes(plan: Callable[..., Plan]):
    with pytest.raises(UsageError, match="switch_task with 2 test tasks and 1 episodes"):
        plan(switch_task=True, episodes=1)


def test_settings_that_are_off_are_not_written():
    assert "switch_task" not in AdaptConfig().model_dump(mode="json")
    assert AdaptConfig(switch_task=True).model_dump()["switch_task"] is True
