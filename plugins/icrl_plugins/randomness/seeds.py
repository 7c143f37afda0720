"""From one seed to others: of the parts of a run, of a task's parallel environments, of a stream's episodes."""

from __future__ import annotations

import numpy as np


def child_seed(seed: np.random.SeedSequence, *keys: int) -> np.random.SeedSequence:
    """The descendant of `seed` at `keys`: the same one at every call, unlike `spawn`, which counts its calls."""
    return np.random.SeedSequence(entropy=seed.entropy, spawn_key=(*seed.spawn_key, *keys))


def integer_seeds(seed_sequence: np.random.SeedSequence, count: int) -> list[int]:
    """The first `count` integers below 2³¹ of a seed sequence, without advancing it (unlike `spawn`)."""
    return [int(word) >> 1 for word in seed_sequence.generate_state(count, dtype=np.uint32)]


def episode_seeds(seed: int | None) -> np.random.Generator:
    """The generator of a stream's episode seeds; draw them with `draw_episode_seed`."""
    return np.random.default_rng(seed)


def draw_episode_seed(generator: np.random.Generator) -> int:
    """The seed of the stream's next episode, below 2³¹."""
    return int(generator.integers(2**31))
