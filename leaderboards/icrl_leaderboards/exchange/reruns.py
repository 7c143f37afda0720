"""A run made again, beside what was recorded: is each return equal, within its interval, or outside?

On the machine and versions that made a run, every return must be equal. Elsewhere sums round differently, an agent acts on
its own rounded past, and the two runs drift apart as two attempts of one agent would. So a return has an interval: repeated
return ± z·√2·σ of its task, where σ is the spread of single episodes without the trend, from the mean square successive
difference (von Neumann, Kent, Bellinson and Hart 1941): σ² = mean (R[e+1] − R[e])² / 2. σ is that of the rerun, in which
whoever wrote the record had no hand. z is wide enough (Šidák 1967) that all K·E returns of an honest record lie within with
95 % if the noise is normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icrl_leaderboards.analysis.statistics import last_episodes
from icrl_registry.arrays import Float64Array

LEVEL = 0.95
#: Relative difference that any two machines may have, also where all episodes of a task are alike.
ROUNDING = 1e-6
VERDICTS = ("equal", "within", "outside")


@dataclass(frozen=True, eq=False)
class Rerun:
    """Recorded and repeated returns, (K, E) each, and what each pair says."""

    recorded: Float64Array
    repeated: Float64Array
    half_width: Float64Array  # (K,), of the interval around each repeated return of a task
    verdicts: NDArray[np.int8]  # (K, E), index into `VERDICTS`

    @property
    def counts(self) -> dict[str, int]:
        """How many returns have each verdict."""
        return {name: int((self.verdicts == index).sum()) for index, name in enumerate(VERDICTS)}

    @property
    def last_episodes(self) -> tuple[float, float]:
        """Mean of the last 10 % over the tasks, recorded and repeated."""
        return float(last_episodes(self.recorded).mean()), float(last_episodes(self.repeated).mean())

    def as_json(self) -> dict[str, Any]:
        """Counts, and the verdict of every return."""
        recorded, repeated = self.last_episodes
        return {
            **self.counts,
            "last_episodes": {"recorded": recorded, "repeated": repeated},
            "half_width": self.half_width.tolist(),
            "returns": self.repeated.tolist(),
            "verdicts": [[VERDICTS[index] for index in row] for row in self.verdicts],
        }


def compare_returns(recorded: Sequence[Sequence[float]], repeated: Sequence[Sequence[float]]) -> Rerun:
    """Compares (K, E) returns with those of a rerun; of another shape, every return is outside."""
    old, new = np.array(recorded, dtype=np.float64), np.array(repeated, dtype=np.float64)
    if old.shape != new.shape:
        verdicts = np.full(old.shape, VERDICTS.index("outside"), dtype=np.int8)
        return Rerun(old, new, np.zeros(len(old)), verdicts)
    half_width = _z(old.size) * np.sqrt(2.0) * _spread(new)  # (K,)
    difference = np.abs(new - old)
    within = (difference <= half_width[:, None]) | (difference <= ROUNDING * np.maximum(1.0, np.abs(old)))
    verdicts = np.where(new == old, 0, np.where(within, 1, 2)).astype(np.int8)
    return Rerun(old, new, half_width, verdicts)


def _spread(returns: Float64Array) -> Float64Array:
    """Standard deviation of single episodes about their trend, (K, E) → (K,); 0 where there is one episode."""
    if returns.shape[1] < 2:
        return np.zeros(len(returns))
    return np.asarray(np.sqrt((np.diff(returns, axis=1) ** 2).mean(axis=1) / 2))


def _z(count: int) -> float:
    """Normal quantile at which all of `count` independent differences lie within with `LEVEL`."""
    return NormalDist().inv_cdf((1 + LEVEL ** (1 / count)) / 2)
