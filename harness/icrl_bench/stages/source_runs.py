"""The source's recorded runs on the test tasks as results, for a method whose adaptation they are.

The episodes of a task are put in the order in which they ended, over all streams (of two that ended at once, the one of the
lower stream first). The row keeps as many as the task with the fewest has; every step that the source took is counted,
those of later and of incomplete episodes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icrl_bench.stages.rollout import RolloutResult
from icrl_registry.contracts import Array, LearningHistory
from icrl_registry.errors import BenchError


@dataclass(frozen=True)
class SourceRuns:
    """What the source achieved on the test tasks, and at what cost."""

    result: RolloutResult
    env_steps: int
    diagnostics: dict[str, float]


def episodes_in_order(history: LearningHistory) -> tuple[Array, Array]:
    """Returns (E,) float64 and lengths (E,) int64 of all complete episodes, by when they ended."""
    episodes = [
        (end, stream, value, end - start)
        for stream in range(history.num_streams)
        for (start, end), value in zip(history.episode_bounds(stream), history.episode_returns(stream), strict=True)
    ]
    episodes.sort(key=lambda episode: episode[:2])
    return np.array([each[2] for each in episodes]), np.array([each[3] for each in episodes], dtype=np.int64)


def replay_source_runs(histories: Sequence[LearningHistory]) -> SourceRuns:
    """The runs on the test tasks, from their histories.

    Raises:
        BenchError: a history holds no complete episode.
    """
    episodes = [episodes_in_order(history) for history in histories]
    counts = [len(returns) for returns, _ in episodes]
    if min(counts) == 0:
        label = histories[counts.index(0)].task.label
        raise BenchError(f"the source finished no episode of {label}", "give it more steps: --set source.total_steps=…")
    kept = min(counts)
    returns = np.stack([returns[:kept] for returns, _ in episodes])
    result = RolloutResult(
        returns, np.stack([lengths[:kept] for _, lengths in episodes]), np.full(returns.shape, np.nan)
    )
    streams = max(history.num_streams for history in histories)
    diagnostics = {"source_streams": float(streams), "episodes_left_out": float(sum(counts) - kept * len(counts))}
    return SourceRuns(result, sum(history.num_steps for history in histories), diagnostics)
