"""Values of recorded steps against the linear system that they solve, and against what is known of a deterministic chain."""

from __future__ import annotations

import numpy as np
import pytest

from icrl_plugins.sources.tabular.experience import Experience, values_of


def recorded(*steps) -> Experience:
    columns = [np.array(column) for column in zip(*steps, strict=True)]
    return Experience(columns[0], columns[1], columns[2].astype(float), columns[3], columns[4].astype(bool))


def test_a_chain_is_worth_its_discounted_end():
    """0 → 1 → 2 ends with a reward of 1; the other action stays."""
    steps = [(0, 0, 0, 1, False), (0, 1, 0, 0, False), (1, 0, 1, 2, True), (1, 1, 0, 1, False)]
    values = values_of(recorded(*steps), 3, 2, 0.9)
    assert values[:2] == pytest.approx(np.array([[0.9, 0.81], [1.0, 0.9]]), abs=1e-5)


def test_chances_are_those_that_were_seen():
    """One action, from 0 back to 0 with reward 1 three times of four, to an end with nothing once: v = ¾ (1 + γ v)."""
    steps = [(0, 0, 1, 0, False)] * 3 + [(0, 0, 0, 1, True)]
    values = values_of(recorded(*steps), 2, 1, 0.8)
    assert values[0, 0] == pytest.approx(0.75 / (1 - 0.75 * 0.8), abs=1e-5)


def test_what_was_never_tried_is_never_the_best():
    values = values_of(recorded((0, 1, -5, 1, False), (1, 0, -3, 1, False)), 3, 2, 0.5)
    assert values.argmax(axis=1)[:2].tolist() == [1, 0]
    assert (values[2] == values.min()).all()


def test_random_models_agree_with_policy_iteration():
    generator = np.random.default_rng(0)
    steps = [
        (s, a, generator.normal(), generator.integers(5), False) for s in range(5) for a in range(3) for _ in range(7)
    ]
    values = values_of(recorded(*steps), 5, 3, 0.7)
    rewards, chances = np.zeros((5, 3)), np.zeros((5, 3, 5))
    for s, a, reward, following, _ in steps:
        rewards[s, a] += reward / 7
        chances[s, a, following] += 1 / 7
    policy = np.zeros(5, int)
    for _ in range(20):
        rows = np.arange(5)
        state = np.linalg.solve(np.eye(5) - 0.7 * chances[rows, policy], rewards[rows, policy])
        policy = (rewards + 0.7 * chances @ state).argmax(axis=1)
    assert values == pytest.approx(rewards + 0.7 * chances @ state, abs=1e-4)
