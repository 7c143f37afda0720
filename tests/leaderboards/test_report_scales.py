"""What stands around a plot: ranges and ticks, names that do not run into each other, colours that every eye tells apart."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icrl_leaderboards.drawing import COLOURS
from icrl_leaderboards.report.figures.cost import duration_ticks
from icrl_leaderboards.report.scales import episode_ticks, linear_ticks, log_ticks, spread, spread_within

# --- Scales and ticks --------------------------------------------------------------------------------------------------

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@settings(derandomize=True, deadline=None)
@given(NUMBERS, st.floats(1e-3, 1e6), st.integers(2, 8))
def test_linear_ticks_lie_within_and_are_evenly_spaced(low, span, most):
    ticks = linear_ticks(low, low + span, most)
    assert 1 <= len(ticks) <= most
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    distances = [after - before for before, after in pairwise(ticks)]
    assert np.allclose(distances, distances[:1] * len(distances))


def test_ticks_are_round():
    assert linear_ticks(-13.2, 1.1) == [-10.0, -5.0, 0.0]
    assert linear_ticks(0, 1) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert log_ticks(40, 20_000) == [100.0, 1000.0, 10_000.0]
    assert log_ticks(1.1e6, 2.5e6) == [1.5e6, 2e6, 2.5e6]
    assert episode_ticks(20) == [1, 5, 10, 15, 20]
    assert episode_ticks(1) == [1]


@settings(derandomize=True, deadline=None)
@given(st.floats(1e-2, 1e6), st.floats(1.3, 1e6))
def test_every_axis_has_three_ticks(low, ratio):
    assert len(linear_ticks(low, low * ratio)) >= 3
    assert len(linear_ticks(-low, low * ratio, 6)) >= 3
    assert len(log_ticks(low, low * ratio)) >= 3
    assert len(duration_ticks(low, low * ratio)) >= 3


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=8), st.floats(0.1, 20))
def test_labels_keep_their_distance_and_their_order(values, distance):
    heights = spread(values, distance)
    order = sorted(range(len(values)), key=lambda index: values[index])
    ordered = [heights[index] for index in order]
    assert all(after - before >= distance - 1e-9 for before, after in pairwise(ordered))
    assert abs(sum(heights) - sum(values)) < 1e-6 * max(1, sum(map(abs, values)))


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(-100, 200), min_size=1, max_size=30), st.floats(0.1, 20))
def test_labels_stay_within_the_plot(values, distance):
    heights = sorted(spread_within(values, distance, 0, 100))
    assert heights[0] >= -1e-9
    assert heights[-1] <= 100 + 1e-9
    least = min(distance, 100 / max(len(values) - 1, 1))
    assert all(after - before >= least - 1e-6 for before, after in pairwise(heights))


# --- Colours -----------------------------------------------------------------------------------------------------------

#: How linear RGB looks without one kind of cones: Machado, Oliveira and Fernandes (2009), severity 1.
BLINDNESS = {
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab_of(colour: str, seen: list[list[float]]) -> np.ndarray:
    """CIE L*a*b* of a colour as eyes with the matrix `seen` have it."""
    channels = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.array(to_xyz) @ np.clip(np.array(seen) @ linear, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("ground", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("seen", list(BLINDNESS.values()), ids=list(BLINDNESS))
def test_any_two_colours_differ_for_every_eye(seen, ground):
    places = [lab_of(pair[ground], seen) for pair in COLOURS]
    assert min(np.linalg.norm(one - other) for one, other in combinations(places, 2)) > 15
