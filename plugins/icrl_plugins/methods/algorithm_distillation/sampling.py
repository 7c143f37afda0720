"""Batches of windows from learning histories, each a function of the seed and the update's number alone.

A window lies within one stream, never across two: a context must not mix tasks. Streams are visited in shuffled passes.
Each visit keeps one of every k episodes from a random phase on, which multiplies the data by k; what is kept stays in
the order in which the source learned, because that order is what is distilled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from icrl_plugins.methods.algorithm_distillation.config import AlgorithmDistillationConfig
from icrl_plugins.methods.algorithm_distillation.tokens import (
    Stream,
    kept_steps,
    token_size,
    write_tokens,
)
from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.contracts import BoolArray, FloatArray


@dataclass(frozen=True)
class Batch:
    """Windows padded at their ends to the longest; padding is zeros and masked out."""

    tokens: FloatArray  # (B, T, F)
    targets: FloatArray  # (B, T, A)
    mask: BoolArray  # (B, T), true where a token is real


class WindowSampler:
    """Draws the batch of any update. Safe to call from a thread: it holds no state that changes a result."""

    def __init__(
        self,
        streams: Sequence[Stream],
        normalisation: Normalisation,
        config: AlgorithmDistillationConfig,
        seed: np.random.SeedSequence,
    ) -> None:
        self.streams = list(streams)
        self.normalisation = normalisation
        self.config = config
        self._seed = seed
        longest = max(_longest_kept(stream, config.episode_stride) for stream in self.streams)
        #: Steps in the longest window: never more than the longest history has after keeping one of every k episodes.
        self.context_length = longest if config.context_length == "full" else min(config.context_length, longest)
        self._pass_order = lru_cache(maxsize=4)(self._shuffle)

    @property
    def tokens_per_pass(self) -> int:
        """Tokens of all streams at phase 0."""
        return sum(len(kept_steps(stream.bounds, self.config.episode_stride, 0)[0]) for stream in self.streams)

    def batch(self, update: int) -> Batch:
        """The batch of update `update` (from 0)."""
        generator = np.random.default_rng(child_seed(self._seed, 1, update))
        windows = [self._window(self._stream_index(update, row), generator) for row in range(self.config.batch_size)]
        observation_size = self.streams[0].observations.shape[1]
        action_size = self.streams[0].actions.shape[1]
        size = token_size(observation_size, action_size, self.config.episode_start_flag)
        length = max(count for *_, count in windows)
        tokens = np.zeros((len(windows), length, size), dtype=np.float32)
        targets = np.zeros((len(windows), length, action_size), dtype=np.float32)
        mask = np.zeros((len(windows), length), dtype=np.bool_)
        for row, (stream, steps, is_start, first, count) in enumerate(windows):
            write_tokens(tokens[row, :count], stream, steps, is_start, first, self.normalisation)
            targets[row, :count] = stream.targets[steps[first : first + count]]
            mask[row, :count] = True
        if self.config.token_noise:
            noisy = size - int(self.config.episode_start_flag)
            noise = generator.standard_normal((len(windows), length, noisy), dtype=np.float32)
            tokens[:, :, :noisy] += np.float32(self.config.token_noise) * noise
        return Batch(tokens, targets, mask)

    def _window(self, index: int, generator: np.random.Generator) -> tuple[Stream, Any, Any, int, int]:
        """A stream, its kept steps, where episodes start among them, and the window's first step and length."""
        stream = self.streams[index]
        phase = int(generator.integers(min(self.config.episode_stride, len(stream.bounds))))
        steps, is_start = kept_steps(stream.bounds, self.config.episode_stride, phase)
        from_start = generator.random() < self.config.start_share
        latest = max(0, len(steps) - self.context_length)
        first = 0 if from_start else int(generator.integers(latest + 1))
        return stream, steps, is_start, first, min(self.context_length, len(steps) - first)

    def _stream_index(self, update: int, row: int) -> int:
        number = update * self.config.batch_size + row
        return int(self._pass_order(number // len(self.streams))[number % len(self.streams)])

    def _shuffle(self, pass_number: int) -> tuple[int, ...]:
        order = np.random.default_rng(child_seed(self._seed, 0, pass_number)).permutation(len(self.streams))
        return tuple(int(index) for index in order)


def _longest_kept(stream: Stream, stride: int) -> int:
    """Most steps that any phase keeps."""
    lengths = stream.bounds[:, 1] - stream.bounds[:, 0]
    return max(int(lengths[phase::stride].sum()) for phase in range(min(stride, len(lengths))))
