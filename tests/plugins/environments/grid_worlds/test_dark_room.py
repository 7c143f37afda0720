"""Dark Room's returns against what can be worked out on paper: the goal is as many steps away as columns and rows differ."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from icrl_registry.actions import one_hot
from icrl_registry.contracts import Task

STAY, UP, RIGHT, DOWN, LEFT = range(5)


def straight_to(goal: tuple[float, float]) -> list[int]:
    """The actions of an episode that goes to the goal and stays."""
    right, up = int(goal[0]) - 4, int(goal[1]) - 4
    way = [RIGHT if right > 0 else LEFT] * abs(right) + [UP if up > 0 else DOWN] * abs(up)
    return way + [STAY] * (20 - len(way))


def best_return(goal: tuple[float, float]) -> int:
    """The first reward comes with the step that arrives, and one with each step after it."""
    distance = abs(goal[0] - 4) + abs(goal[1] - 4)
    return int(20 if distance == 0 else 21 - distance)


def test_going_straight_to_each_of_the_81_goals_earns_what_distance_says(room):
    goals = [tuple(row) for row in room.all_task_parameters().tolist()]
    batch = room.make_batch([Task(goal) for goal in goals])
    for row in range(81):
        batch.reset(row, seed=0)
    plans = np.array([straight_to(goal) for goal in goals])  # (81, 20)
    steps = [batch.step(one_hot(plans[:, t], 5), np.ones(81, np.bool_)) for t in range(20)]
    returns = sum(step.rewards for step in steps)
    assert returns.tolist() == [best_return(goal) for goal in goals]
    assert np.mean(returns) == pytest.approx(16.543, abs=1e-3)
    assert steps[-1].truncated.all()
    assert (steps[-1].successes == 1).all()
    assert all(step.successes is None for step in steps[:-1])


def test_no_plan_earns_more(room):
    """All plans of five steps, in a small room with as many."""
    small = type(room)(room.Config(size=3, horizon=5))
    goals = [(0.0, 0.0), (1.0, 1.0), (2.0, 1.0)]
    plans = np.array(list(itertools.product(range(5), repeat=5)))
    for goal in goals:
        batch = small.make_batch([Task(goal)] * len(plans))
        for row in range(len(plans)):
            batch.reset(row, seed=0)
        steps = [batch.step(one_hot(plans[:, t], 5), np.ones(len(plans), np.bool_)) for t in range(5)]
        distance = abs(goal[0] - 1) + abs(goal[1] - 1)
        assert max(sum(step.rewards for step in steps)) == (5 if distance == 0 else 6 - distance)


def test_whoever_ignores_the_rewards_earns_no_more_than_the_bound(room):
    """The best such plan in all tasks together: each step is at one goal, so 20 are shared out among them."""
    tasks = [Task(tuple(row)) for row in room.all_task_parameters()]
    assert room.blind_return(tasks).sum() == pytest.approx(20)
    batch = room.make_batch(tasks)
    for row in range(81):
        batch.reset(row, seed=0)
    sweep = np.random.default_rng(0).integers(5, size=20)
    paid = sum(batch.step(one_hot(np.full(81, action), 5), np.ones(81, np.bool_)).rewards.sum() for action in sweep)
    assert paid == 20


def test_success_is_to_be_there_at_the_end(room):
    environment = room.make(Task((4.0, 4.0)))
    environment.reset(seed=0)
    infos = [environment.step(action)[4] for action in [0] * 19 + [1]]
    assert infos[:-1] == [{}] * 19
    assert infos[-1] == {"success": 0.0}
