"""Batches of windows from learning histories, each a function of the seed and the update's number alone.

A window lies within one stream, never across two: a context must not mix tasks. Streams are visited in shuffled passes. Each
visit chooses some of the stream's episodes, one of every k from a random phase on or a random set, and what is chosen stays in
the order in which the source learned, or is sorted by its return: that order is what a model of histories distils.

A learner's states tell its task (who pushes left has its goal there), and a model that reads it off them takes its own first
steps for evidence (`restarts`). Windows can therefore open with an episode from before the source had learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from icrl_plugins.methods.in_context.config import InContextConfig
from icrl_plugins.methods.in_context.layout import TokenLayout
from icrl_plugins.methods.in_context.tokens import Labels, Stream, Window, executed_actions, steps_of, write_tokens
from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.contracts import Array, BoolArray, FloatArray


@dataclass(frozen=True)
class TokenBatch:
    """Windows padded at their ends to the longest; padding is zeros and masked out."""

    tokens: FloatArray  # (B, T, F)
    targets: FloatArray  # (B, T, A)
    mask: BoolArray  # (B, T), true where a token is real
    windows: tuple[Window, ...]  # what the rows were made of


class WindowSampler:
    """Draws the batch of any update. Safe to call from a thread: it holds no state that changes a result."""

    def __init__(
        self,
        streams: Sequence[Stream],
        normalisation: Normalisation,
        config: InContextConfig,
        seed: np.random.SeedSequence,
        labels: Labels = executed_actions,
    ) -> None:
        self.streams = list(streams)
        self.normalisation = normalisation
        self.config = config
        self.labels = labels
        first = self.streams[0]
        self.layout = TokenLayout(first.observations.shape[1], first.actions.shape[1], config.episode_start_flag)
        self._seed = seed
        longest = max(self._longest(stream) for stream in self.streams)
        #: Steps in the longest window: never more than the longest choice of episodes has.
        self.context_length = longest if config.context_length == "full" else min(config.context_length, longest)
        self._pass_order = lru_cache(maxsize=4)(self._shuffle)

    @property
    def tokens_per_pass(self) -> int:
        """Tokens of all streams: at phase 0 where one of every k episodes is kept."""
        stride = self.config.episode_stride if self.config.episode_sampling == "stride" else 1
        return sum(len(steps_of(stream.bounds[self._eligible(stream)][::stride])[0]) for stream in self.streams)

    def batch(self, update: int) -> TokenBatch:
        """The batch of update `update` (from 0)."""
        generator = np.random.default_rng(child_seed(self._seed, 1, update))
        rows = range(self.config.batch_size)
        windows = tuple(self._window(self.streams[self._stream_index(update, row)], generator) for row in rows)
        length = max(window.count for window in windows)
        tokens = np.zeros((len(windows), length, self.layout.size), dtype=np.float32)
        targets = np.zeros((len(windows), length, self.layout.action_size), dtype=np.float32)
        mask = np.zeros((len(windows), length), dtype=np.bool_)
        for row, window in enumerate(windows):
            write_tokens(tokens[row, : window.count], window, self.layout, self.normalisation)
            targets[row, : window.count] = self.labels(window.stream, window.current)
            mask[row, : window.count] = True
        self._disturb(tokens, generator)
        return TokenBatch(tokens, targets, mask, windows)

    def _disturb(self, tokens: FloatArray, generator: np.random.Generator) -> None:
        """Noise on the measurements of `tokens` (B, T, F), and steps before that are hidden, in place."""
        shape, config = tokens.shape[:2], self.config
        if config.token_noise:
            noise = generator.standard_normal((*shape, self.layout.num_scaled), dtype=np.float32)
            tokens[:, :, : self.layout.num_scaled] += np.float32(config.token_noise) * noise
        if config.token_mask:
            hidden = generator.random(shape, dtype=np.float32) < config.token_mask  # (B, T)
            tokens[hidden, self.layout.previous] = 0.0

    def _window(self, stream: Stream, generator: np.random.Generator) -> Window:
        steps, is_start = steps_of(stream.bounds[self._choose(stream, generator)])
        from_start = generator.random() < self.config.start_share
        latest = max(0, len(steps) - self.context_length)
        first = 0 if from_start else int(generator.integers(latest + 1))
        return Window(stream, steps, is_start, first, min(self.context_length, len(steps) - first))

    def _eligible(self, stream: Stream) -> Array:
        """Numbers of the episodes that windows may use, at least the last one."""
        count = len(stream.bounds)
        return np.arange(min(int(self.config.history_from * count), count - 1), count)

    def _choose(self, stream: Stream, generator: np.random.Generator) -> Array:
        """Numbers of the episodes of one window, in its order."""
        eligible, wanted = self._eligible(stream), self.config.episodes_per_window
        if self.config.episode_sampling == "random":
            assert wanted is not None
            chosen = np.sort(generator.choice(eligible, min(wanted, len(eligible)), replace=False))
            if self.config.opening_until is not None:
                early = max(1, int(self.config.opening_until * len(stream.bounds)))
                chosen[0] = min(int(chosen[0]), int(generator.integers(early)))
        else:
            stride = self.config.episode_stride
            chosen = eligible[int(generator.integers(min(stride, len(eligible)))) :: stride]
            if wanted is not None:
                begin = int(generator.integers(max(0, len(chosen) - wanted) + 1))
                chosen = chosen[begin : begin + wanted]
        if self.config.window_order == "return":
            chosen = chosen[np.argsort(stream.returns[chosen], kind="stable")]
        return chosen

    def _longest(self, stream: Stream) -> int:
        """Most steps that any choice of the stream's episodes holds."""
        bounds, wanted = stream.bounds[self._eligible(stream)], self.config.episodes_per_window
        lengths = bounds[:, 1] - bounds[:, 0]
        if self.config.episode_sampling == "random":
            return int(np.sort(lengths)[::-1][:wanted].sum())
        stride = self.config.episode_stride
        phases = [lengths[phase::stride] for phase in range(min(stride, len(lengths)))]
        return max(int(np.convolve(kept, np.ones(min(wanted or len(kept), len(kept)), int)).max()) for kept in phases)

    def _stream_index(self, update: int, row: int) -> int:
        number = update * self.config.batch_size + row
        return int(self._pass_order(number // len(self.streams))[number % len(self.streams)])

    def _shuffle(self, pass_number: int) -> tuple[int, ...]:
        order = np.random.default_rng(child_seed(self._seed, 0, pass_number)).permutation(len(self.streams))
        return tuple(int(index) for index in order)
