"""Numbers as a reader wants them: as many decimals as the column's size asks for, counts and durations in round units."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from icrl_leaderboards.analysis.statistics.intervals import Estimate

MISSING = "–"
_MINUS = "−"


def decimals_for(values: Iterable[float]) -> int:
    """Decimals at which numbers of this size show about four significant digits."""
    sizes = [abs(value) for value in values if np.isfinite(value)]
    largest = max(sizes, default=0.0)
    if largest < 1:
        return 3
    if largest < 100:
        return 2
    return 1 if largest < 1000 else 0


def number(value: float | None, decimals: int, signed: bool = False) -> str:
    """`−1,234.5`, with a true minus; nothing is written as −0."""
    if value is None or not np.isfinite(value):
        return MISSING
    if abs(value) >= 1e12:
        return f"{value:.3e}"
    rounded = round(value, decimals) + 0.0
    text = f"{abs(rounded):,.{decimals}f}"
    if rounded < 0:
        return _MINUS + text
    return f"+{text}" if signed and rounded > 0 else text


def interval(estimate: Estimate | None, decimals: int, infinite: str = MISSING) -> str:
    """`[low, high]`, or nothing where there is no interval."""
    if estimate is None or estimate.interval is None:
        return ""
    ends = (estimate.interval.low, estimate.interval.high)
    return f"[{', '.join(infinite if np.isinf(end) else number(end, decimals) for end in ends)}]"


def with_interval(
    estimate: Estimate | None, decimals: int, signed: bool = False, separator: str = " ", infinite: str = MISSING
) -> str:
    """`+5.31 [4.20, 6.42]`; an infinity is written as `infinite`."""
    if estimate is None:
        return MISSING
    value = infinite if np.isinf(estimate.value) else number(estimate.value, decimals, signed)
    return f"{value}{separator}{interval(estimate, decimals, infinite)}".rstrip()


def count(value: float) -> str:
    """`130 k`, `5.84 M`: three significant digits."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.9995:
            return f"{_three_digits(value / size)} {unit}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """`41 s`, `12.5 min`, `3.2 h`."""
    if seconds < 99.5:
        return f"{_three_digits(seconds) if seconds < 10 else f'{seconds:.0f}'} s"
    if seconds < 5400:
        return f"{_three_digits(seconds / 60)} min"
    return f"{_three_digits(seconds / 3600)} h"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
