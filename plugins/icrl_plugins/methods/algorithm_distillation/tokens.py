"""The tokens of Algorithm Distillation and the streams that they come from.

Input t is the decision at time t: x_t = (s_{t-1}, a_{t-1}, r_{t-1}, s_t), its target is a_t, and x_0 = (0, 0, 0, s_0).
s_t is the observation that a_t is chosen from. At an episode's start it is the reset observation, and the first three
parts are the last step of the episode before, so no reward is lost and no action is predicted unseeing.

A token is a vector of F = O + A + 1 + O numbers in that order, plus one 0/1 flag where an episode starts, if asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.contracts import Array, FloatArray, LearningHistory
from icrl_registry.errors import BenchError, UsageError


@dataclass(frozen=True)
class Stream:
    """One stream of a history, with the bounds of its complete episodes."""

    observations: FloatArray  # (T, O)
    actions: FloatArray  # (T, A)
    rewards: FloatArray  # (T,)
    targets: FloatArray  # (T, A)
    bounds: Array  # (E, 2) int64, start and end (exclusive)


def token_size(observation_size: int, action_size: int, episode_start_flag: bool) -> int:
    """F."""
    return 2 * observation_size + action_size + 1 + int(episode_start_flag)


def streams_of(histories: Sequence[LearningHistory], targets: Literal["executed", "policy_means"]) -> list[Stream]:
    """All streams with at least one complete episode, in order. Arrays stay memory-mapped.

    Raises:
        BenchError: there is no history, or one has no complete episode at all.
        UsageError: policy means are asked for and a history has none.
    """
    if not histories:
        raise BenchError("there is no training history", "collect at least one training task")
    streams: list[Stream] = []
    for history in histories:
        if targets == "policy_means" and history.policy_means is None:
            raise UsageError(
                f"the history of {history.task.label} holds no policy means",
                "set method.targets=executed, or choose a source that records them",
            )
        chosen = history.policy_means if targets == "policy_means" else history.actions
        assert chosen is not None
        found = [
            Stream(
                np.asarray(history.observations[index]),
                np.asarray(history.actions[index]),
                np.asarray(history.rewards[index]),
                np.asarray(chosen[index]),
                np.array(bounds, dtype=np.int64),
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


def kept_steps(bounds: Array, stride: int, phase: int) -> tuple[Array, Array]:
    """The steps of the episodes `phase`, `phase` + `stride`, …, in order, and where among them episodes start.

    Returns:
        steps (T,) int64, indices into the stream; is_start (T,) bool.
    """
    kept = bounds[phase::stride]  # (E, 2)
    lengths = kept[:, 1] - kept[:, 0]
    ends = np.cumsum(lengths)
    starts = ends - lengths
    steps = np.repeat(kept[:, 0] - starts, lengths) + np.arange(ends[-1])
    is_start = np.zeros(len(steps), dtype=np.bool_)
    is_start[starts] = True
    return steps, is_start


def write_tokens(
    tokens: FloatArray, stream: Stream, steps: Array, is_start: Array, first: int, normalisation: Normalisation
) -> None:
    """Fills `tokens` (T, F) with the inputs of the decisions `first` … `first` + T - 1 of the kept `steps`."""
    count = len(tokens)
    current = steps[first : first + count]
    previous = steps[max(first - 1, 0) : first + count - 1]
    skip = count - len(previous)  # 1 at the beginning of a history, where nothing came before
    size = stream.observations.shape[1]
    action_end = size + stream.actions.shape[1]
    tokens[:skip, : action_end + 1] = 0.0
    tokens[skip:, :size] = normalisation.observations(stream.observations[previous])
    tokens[skip:, size:action_end] = stream.actions[previous]
    tokens[skip:, action_end] = normalisation.rewards(stream.rewards[previous])
    tokens[:, action_end + 1 : action_end + 1 + size] = normalisation.observations(stream.observations[current])
    if tokens.shape[1] > action_end + 1 + size:
        tokens[:, -1] = is_start[first : first + count]
