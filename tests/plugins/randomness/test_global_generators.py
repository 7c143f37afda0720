"""The process's shared generators: seeded inside, untouched outside."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from icrl_plugins.randomness.global_generators import isolated_global_generators
from icrl_plugins.randomness.seeds import integer_seeds


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_draws_depend_on_the_seed_alone():
    draws = []
    for seed in (1, 1, 2):
        draw()
        with isolated_global_generators(np.random.SeedSequence(seed)):
            draws.append(draw())
    assert draws[0] == draws[1]
    assert all(first != other for first, other in zip(draws[0], draws[2], strict=True))


@pytest.mark.parametrize("fails", [False, True])
def test_states_are_restored_also_after_an_error(fails):
    with isolated_global_generators(np.random.SeedSequence(7)):
        expected = draw()
    with isolated_global_generators(np.random.SeedSequence(7)):
        try:
            with isolated_global_generators(np.random.SeedSequence(8)):
                draw()
                if fails:
                    raise ValueError
        except ValueError:
            assert fails
        assert draw() == expected


def test_reading_integers_does_not_advance_the_sequence():
    sequence = np.random.SeedSequence(3)
    assert integer_seeds(sequence, 2) == integer_seeds(sequence, 2)
    assert integer_seeds(sequence, 2)[:1] == integer_seeds(sequence, 1)
    assert sequence.n_children_spawned == 0
    assert all(0 <= seed < 2**31 for seed in integer_seeds(sequence, 1000))
