"""The streams of learning histories that windows are cut from, and the tokens of a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from icrl_plugins.methods.in_context.layout import TokenLayout
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.contracts import Array, BoolArray, FloatArray, LearningHistory
from icrl_registry.errors import BenchError, UsageError


@dataclass(frozen=True)
class Stream:
    """One stream of a history, with the bounds of its complete episodes."""

    history: int  # which one, by its number among the training histories
    task_label: str
    observations: FloatArray  # (T, O)
    actions: FloatArray  # (T, A)
    rewards: FloatArray  # (T,)
    terminated: BoolArray  # (T,), the MDP ended here
    policy_means: FloatArray | None  # (T, A), where the source recorded them
    bounds: Array  # (E, 2) int64, start and end (exclusive)

    @cached_property
    def returns(self) -> Array:
        """Undiscounted return of every complete episode, (E,) float64."""
        before = np.concatenate([[0.0], np.cumsum(self.rewards, dtype=np.float64)])
        return before[self.bounds[:, 1]] - before[self.bounds[:, 0]]


Labels = Callable[[Stream, Array], FloatArray]
"""A stream and some of its steps (n,) → the actions to predict there, (n, A). Called in the thread that makes batches."""


def executed_actions(stream: Stream, steps: Array) -> FloatArray:
    """The labels of Algorithm Distillation: what the source did."""
    return stream.actions[steps]


def policy_means(stream: Stream, steps: Array) -> FloatArray:
    """What the source's policy of that time would have done without its noise.

    Raises:
        UsageError: the source did not record it.
    """
    if stream.policy_means is None:
        raise UsageError(
            f"the history of {stream.task_label} holds no policy means",
            "set method.targets=executed, or choose a source that records them",
        )
    return stream.policy_means[steps]


def streams_of(histories: Sequence[LearningHistory]) -> list[Stream]:
    """All streams with at least one complete episode, in order. Arrays stay memory-mapped.

    Raises:
        BenchError: there is no history, or one has no complete episode at all.
    """
    if not histories:
        raise BenchError("there is no training history", "collect at least one training task")
    streams: list[Stream] = []
    for number, history in enumerate(histories):
        means = history.policy_means
        found = [
            Stream(
                history=number,
                task_label=history.task.label,
                observations=np.asarray(history.observations[index]),
                actions=np.asarray(history.actions[index]),
                rewards=np.asarray(history.rewards[index]),
                terminated=np.asarray(history.terminated[index]),
                policy_means=None if means is None else np.asarray(means[index]),
                bounds=np.array(bounds, dtype=np.int64),
            )
            for index in range(history.num_streams)
            if (bounds := history.episode_bounds(index))
        ]
        if not found:
            raise BenchError(
                f"the history of {history.task.label} has no complete episode",
                "give the source more steps: --set source.total_steps=…",
            )
        streams += found
    return streams


@dataclass(frozen=True)
class Window:
    """A part of one stream that a model sees at once: some of the steps of some of its episodes, in the order given."""

    stream: Stream
    steps: Array  # (N,) int64, the steps of the chosen episodes, as indices into the stream
    is_start: BoolArray  # (N,), where among them an episode starts
    first: int  # of the steps that the window covers
    count: int  # T

    @property
    def current(self) -> Array:
        """The steps whose actions are to be predicted, (T,)."""
        return self.steps[self.first : self.first + self.count]


def steps_of(episodes: Array) -> tuple[Array, BoolArray]:
    """The steps of `episodes` (E, 2) in the order given, and where among them episodes start.

    Returns:
        steps (N,) int64, indices into the stream; is_start (N,) bool.
    """
    lengths = episodes[:, 1] - episodes[:, 0]
    ends = np.cumsum(lengths)
    starts = ends - lengths
    steps = np.repeat(episodes[:, 0] - starts, lengths) + np.arange(ends[-1])
    is_start = np.zeros(len(steps), dtype=np.bool_)
    is_start[starts] = True
    return steps, is_start


def write_tokens(tokens: FloatArray, window: Window, layout: TokenLayout, normalisation: Normalisation) -> None:
    """Fills `tokens` (T, F) with the inputs of the window's decisions.

    The first one's step before is the one before it among the chosen steps; nothing, zeros, where there is none.
    """
    stream, first, current = window.stream, window.first, window.current
    previous = window.steps[max(first - 1, 0) : first + window.count - 1]
    skip = window.count - len(previous)  # 1 at the beginning, where nothing came before
    tokens[:skip, layout.previous] = 0.0
    layout.write_previous(
        tokens[skip:],
        normalisation.observations(stream.observations[previous]),
        stream.actions[previous],
        normalisation.rewards(stream.rewards[previous]),
    )
    starts = window.is_start[first : first + window.count]
    layout.write_current(tokens, normalisation.observations(stream.observations[current]), starts)
