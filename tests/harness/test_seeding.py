"""The tree of seeds: branches differ from each other and stay what they are."""

from __future__ import annotations

import itertools

import numpy as np

from icrl_bench import seeding
from icrl_registry.contracts import SPLITS, Task


def word(sequence: np.random.SeedSequence) -> int:
    return int(sequence.generate_state(1, np.uint64)[0])


def test_all_branches_differ():
    words = []
    for seed in range(3):
        words += [word(branch(seed)) for branch in (seeding.train_seed, seeding.agent_seed)]
        words.append(word(seeding.validation_agent_seed(seed)))
        for split, index in itertools.product(SPLITS, range(4)):
            task = Task((0.0,), split, index)
            words += [word(seeding.collect_seed(seed, task)), word(seeding.floor_seed(seed, task))]
    assert len(set(words)) == len(words)


def test_data_does_not_depend_on_task_parameters_but_on_the_place_in_the_split():
    first, same = Task((0.0,), "train", 1), Task((5.0,), "train", 1)
    assert word(seeding.collect_seed(0, first)) == word(seeding.collect_seed(0, same))
    assert word(seeding.collect_seed(0, first)) != word(seeding.collect_seed(0, Task((0.0,), "test", 1)))


def test_seeds_are_pinned():
    """Whoever changes a branch changes every result."""
    task = Task((0.0,), "test", 4)
    found = [
        word(seeding.collect_seed(0, task)),
        word(seeding.train_seed(1)),
        word(seeding.agent_seed(1)),
        seeding.reset_seed(0, task, 7),
        word(seeding.floor_seed(0, task)),
        word(seeding.validation_agent_seed(1)),
    ]
    assert found == [
        330684455800302293,
        15529898885419721899,
        17579876663566485232,
        3471972571,
        10952729312487932611,
        5102377104321400970,
    ]
