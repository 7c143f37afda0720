"""Adaptation curves of one table as numbers: what a plot draws and what the page lists beneath it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from icrl_leaderboards.statistics.bootstrap import mean_band
from icrl_leaderboards.statistics import FloatArray, mean_curve
from icrl_leaderboards.summary import Reference, Row, Table

#: Line colours on a light and on a dark ground. Chosen to differ for the common colour-vision deficiencies (after Okabe and
#: Ito, 2008), each with a contrast of at least 3 : 1 to its ground.
COLOURS = (
    ("#0072b2", "#56b4e9"),  # blue
    ("#c75300", "#ff9350"),  # vermilion
    ("#00805f", "#3dd1a4"),  # green
    ("#a23b85", "#e591cb"),  # purple
    ("#7d6a00", "#e3c94b"),  # olive
    ("#1d2733", "#f2f4f8"),  # ink
)
#: Dash patterns in multiples of the line width; a second way to tell lines apart, used once all colours are taken.
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 1.5, 1.5, 1.5))
_FAR = 1.5
#: Fixed slots for methods that are often shown together, so that they look the same in every report.
_FAMILIAR = {"ad-mamba": 0, "ad-dt": 1, "macaw": 2, "mql": 3, "ad-gru": 4, "task-blind": 5}


@dataclass(frozen=True)
class LineStyle:
    """How one method is drawn: an index into `COLOURS` and one into `DASHES`."""

    colour: int
    dash: int

    @property
    def light(self) -> str:
        """The colour on a light ground."""
        return COLOURS[self.colour][0]

    @property
    def dashes(self) -> tuple[float, ...]:
        """The dash pattern; empty for a solid line."""
        return DASHES[self.dash]


@dataclass(frozen=True, eq=False)
class Curve:
    """Mean return of each episode over seeds and tasks, with a pointwise 95 % band."""

    label: str
    style: LineStyle
    mean: FloatArray  # (E,)
    low: FloatArray | None  # (E,); None where a single number leaves nothing to resample
    high: FloatArray | None


@dataclass(frozen=True, eq=False)
class CurvePlot:
    """Everything that one plot of adaptation curves shows."""

    title: str
    curves: tuple[Curve, ...]
    references: tuple[Reference, ...]

    @property
    def num_episodes(self) -> int:
        """The longest curve's episodes."""
        return max(len(curve.mean) for curve in self.curves)


def curve_plot(table: Table, styles: Mapping[str, LineStyle]) -> CurvePlot:
    """The adaptation curves of a table's rows, best first."""
    curves = []
    for row in table.rows:
        several = row.returns.shape[0] * row.returns.shape[1] > 1
        low, high = mean_band(row.returns) if several else (None, None)
        curves.append(Curve(row.label, styles[row.label], mean_curve(row.returns), low, high))
    references = tuple(
        each for each in table.references if each.name != "oracle, greedy"
    )  # too close to the oracle to read
    return CurvePlot(f"{table.environment}, {table.protocol}, {table.track}", tuple(curves), references)


def line_styles(rows: Iterable[Row]) -> dict[str, LineStyle]:
    """A style for every row label. It depends on the label first and on the others only where two want the same."""
    styles: dict[str, LineStyle] = {}
    taken: set[int] = set()
    for label in sorted({row.label for row in rows}, key=lambda each: (each not in _FAMILIAR, each)):
        preferred = _FAMILIAR.get(label, _preferred_colour(label))
        if len(taken) == len(COLOURS) * len(DASHES):
            taken.clear()  # more labels than styles: they repeat
        slot = next(each for each in _slots_from(preferred) if each not in taken)
        taken.add(slot)
        styles[label] = LineStyle(slot % len(COLOURS), slot // len(COLOURS))
    return styles


def _slots_from(preferred: int) -> Iterator[int]:
    """All slots, colours first: solid lines from the preferred colour on, then dashed ones."""
    for dash in range(len(DASHES)):
        for step in range(len(COLOURS)):
            yield dash * len(COLOURS) + (preferred + step) % len(COLOURS)


def _preferred_colour(label: str) -> int:
    return hashlib.sha256(label.encode("utf-8", "surrogatepass")).digest()[0] % len(COLOURS)


def value_range(plot: CurvePlot) -> tuple[float, float]:
    """Lowest and highest return that the plot shows: the curves with their bands, the oracle, and the floors nearby.

    A floor further off than `_FAR` times the range of the others would flatten the curves; the plot names it at its edge.
    """
    arrays = [each for curve in plot.curves for each in (curve.mean, curve.low, curve.high) if each is not None]
    arrays += [np.array([each.value]) for each in plot.references if each.kind == "oracle"]
    joined = np.concatenate(arrays)
    low, high = float(joined.min()), float(joined.max())
    reach = _FAR * ((high - low) or max(abs(high), 1.0))
    near = [each.value for each in plot.references if low - reach <= each.value <= high + reach]
    return min([low, *near]), max([high, *near])
