"""Dark Key-to-Door: rewards in their order, once each, and the best return that distances allow."""

from __future__ import annotations

import numpy as np
import pytest

from icrl_registry.contracts import Task


def way(start, end) -> list[int]:
    right, up = int(end[0] - start[0]), int(end[1] - start[1])
    return [2 if right > 0 else 4] * abs(right) + [1 if up > 0 else 3] * abs(up)


def play(environment, actions) -> tuple[list[float], list[int]]:
    rewards, found = [], []
    for action in actions:
        observation, reward, _, _, info = environment.step(action)
        rewards.append(reward)
        found.append(int(observation[2]))
    play.info = info
    return rewards, found


def test_key_then_door_pays_two_whatever_lies_between(key_to_door):
    generator = np.random.default_rng(0)
    for seed in range(20):
        key, door = generator.integers(9, size=(2, 2))
        environment = key_to_door.make(Task((*map(float, key), *map(float, door))))
        start, _ = environment.reset(seed=seed)
        plan = (way(start[:2], key) or [0]) + way(
            key, door
        )  # who starts at the key finds it with a step that ends there
        rewards, found = play(environment, (plan + [0] * 50)[:50])
        assert sum(rewards) == 2
        opened = len(plan) - 1  # the step that arrives
        assert found[opened] == 2
        assert sum(rewards[opened + 1 :]) == 0
        assert play.info == {"success": 1.0}


def test_the_door_pays_nothing_without_the_key(key_to_door):
    environment = key_to_door.make(Task((0.0, 0.0, 8.0, 8.0)))
    start, _ = environment.reset(seed=1)
    to_door = way(start[:2], (8, 8))
    rewards, found = play(environment, [*to_door, 0, 0])
    assert sum(rewards) == 0
    assert set(found) == {0}
    rewards, found = play(environment, way((8, 8), (0, 0)))
    assert rewards[-1] == 1
    assert found[-1] == 1


def test_the_key_alone_is_half_a_success(key_to_door):
    environment = key_to_door.make(Task((0.0, 0.0, 8.0, 8.0)))
    start, _ = environment.reset(seed=1)
    plan = way(start[:2], (0, 0))
    rewards, _ = play(environment, plan + [0] * (50 - len(plan)))
    assert sum(rewards) == 1
    assert play.info == {"success": 0.5}


def test_episodes_begin_anywhere(key_to_door):
    environment = key_to_door.make(Task((0.0, 0.0, 8.0, 8.0)))
    starts = {tuple(environment.reset(seed=seed)[0].tolist()) for seed in range(400)}
    assert len(starts) > 70
    assert {start[2] for start in starts} == {0.0}


def test_an_oracle_needs_no_memory_since_what_was_found_is_seen(key_to_door):
    assert key_to_door.spec.observation_values == (9, 9, 3)
    assert key_to_door.varies == ("reward", "dynamics")


def test_a_key_that_lies_on_its_door_opens_it_at_once(key_to_door):
    environment = key_to_door.make(Task((3.0, 3.0, 3.0, 3.0)))
    start, _ = environment.reset(seed=0)
    rewards, _ = play(environment, way(start[:2], (3, 3)) or [0])
    assert rewards[-1] == pytest.approx(2)
