"""Ranges and ticks of a plot: which numbers stand at the axis, and where names stand that must not touch."""

from __future__ import annotations

import math
from collections.abc import Sequence

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def linear_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers within [low, high], at most `most` of them, as many as a round step allows."""
    span = high - low
    if not span > 0:
        return [low]
    magnitude = 10.0 ** math.floor(math.log10(span / most))
    for step in (each * magnitude * scale for scale in (1, 10) for each in _STEPS):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [index * step for index in range(first, last + 1)]
    return [low]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within [low, high]; with fewer than three of them 1, 2 and 5 times each, or round numbers evenly."""
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    decades = [10.0**exponent for exponent in exponents]
    inside = [each for each in decades if low <= each <= high]
    if len(inside) > 6:
        inside = inside[:: math.ceil(len(inside) / 6)]
    if len(inside) < 3:
        inside = [each * factor for each in decades for factor in (1, 2, 5) if low <= each * factor <= high]
    return inside if len(inside) >= 3 else linear_ticks(low, high)


def episode_ticks(last: int) -> list[int]:
    """1, the episode without any experience, and round episode numbers up to `last`."""
    if last < 2:
        return [1]
    return [1, *(int(tick) for tick in linear_ticks(0, last) if tick == int(tick) and tick > 1 + 0.08 * last)]


def widen(low: float, high: float, share: float = 0.05) -> tuple[float, float]:
    """The range with a margin at both ends; a range of one number becomes one around it."""
    margin = share * (high - low) if high > low else 0.5 * abs(high) or 1.0
    return low - margin, high + margin


def widen_log(low: float, high: float, share: float = 0.08) -> tuple[float, float]:
    """The same for a logarithmic scale, of positive numbers."""
    ratio = (high / low) ** share if high > low else 1.5
    return low / ratio, high * ratio


def spread(values: Sequence[float], distance: float) -> list[float]:
    """Heights near `values`, in their order, at least `distance` apart: neighbours that are too close share a centre."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    blocks: list[tuple[float, list[int]]] = []  # centre, members from the lowest up
    for index in order:
        blocks.append((values[index], [index]))
        while len(blocks) > 1 and _top(blocks[-2], distance) + distance > _bottom(blocks[-1], distance) + 1e-12:
            _, upper = blocks.pop()
            _, lower = blocks.pop()
            members = lower + upper
            blocks.append((sum(values[each] for each in members) / len(members), members))
    heights = [0.0] * len(values)
    for centre, members in blocks:
        for position, index in enumerate(members):
            heights[index] = centre + (position - (len(members) - 1) / 2) * distance
    return heights


def spread_within(values: Sequence[float], distance: float, low: float, high: float) -> list[float]:
    """`spread`, moved and if need be pressed together so that all heights stay within [low, high]."""
    if not values:
        return []
    distance = min(distance, (high - low) / max(len(values) - 1, 1))
    heights = spread([min(max(value, low), high) for value in values], distance)
    order = sorted(range(len(values)), key=lambda index: heights[index])
    floor = low
    for index in order:
        heights[index] = max(heights[index], floor)
        floor = heights[index] + distance
    ceiling = high
    for index in reversed(order):
        heights[index] = min(heights[index], ceiling)
        ceiling = heights[index] - distance
    return heights


def _top(block: tuple[float, list[int]], distance: float) -> float:
    return block[0] + (len(block[1]) - 1) / 2 * distance


def _bottom(block: tuple[float, list[int]], distance: float) -> float:
    return block[0] - (len(block[1]) - 1) / 2 * distance
