"""Turns, ratios, growth and memory: the arithmetic of benchmarks against closed forms."""

import functools
import math
from pathlib import Path

import numpy as np
import pytest

from icrl_registry.benchmarks import (
    Benchmark,
    BenchmarkReport,
    Measurement,
    fit_growth,
    in_fresh_process,
    ratio,
    seconds_of,
    take_turns,
)
from icrl_registry.errors import BenchError


def power_law(exponent: float, noise: float = 0.0, places: int = 8) -> list[Measurement]:
    generator = np.random.default_rng(0)
    lengths = np.geomspace(100, 50_000, places)
    values = 3e-4 * lengths**exponent * np.exp(noise * generator.standard_normal((5, places)))
    return [Measurement("mamba", "time", "s", tuple(column), at) for at, column in zip(lengths, values.T, strict=True)]


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_found_exactly(exponent):
    growth = fit_growth(power_law(exponent))
    assert growth.exponent == pytest.approx(exponent, abs=1e-9)
    assert growth.interval == pytest.approx((exponent, exponent), abs=1e-6)
    assert (growth.first, growth.last) == pytest.approx((100, 50_000))


def test_the_interval_is_that_of_least_squares():
    linregress = pytest.importorskip("scipy.stats")
    points = power_law(1.3, noise=0.4)
    x, y = np.log([each.at for each in points]), np.log([each.median for each in points])
    fitted = linregress.linregress(x, y)
    half = linregress.t.ppf(0.975, len(points) - 2) * fitted.stderr
    growth = fit_growth(points)
    assert growth.exponent == pytest.approx(fitted.slope)
    assert growth.interval == pytest.approx((fitted.slope - half, fitted.slope + half), rel=1e-3)


def test_two_places_give_a_slope_without_an_interval_and_one_gives_an_error():
    assert fit_growth(power_law(1.0, places=2)).interval is None
    with pytest.raises(BenchError, match="two places"):
        fit_growth(power_law(1.0, places=1))


def test_contenders_take_turns_and_the_first_turn_is_dropped():
    order = []

    def contender(name):
        return lambda: order.append(name) or float(len(order))

    results = take_turns({name: contender(name) for name in "ab"}, repeats=2)
    assert order == ["a", "b"] * 3
    assert results == {"a": (3.0, 5.0), "b": (4.0, 6.0)}


def test_a_ratio_says_how_many_times_the_rivals_value_is_ours_turn_by_turn():
    ours, theirs = Measurement("a", "time", "s", (1.0, 2.0), 8), Measurement("b", "time", "s", (10.0, 30.0), 8)
    found = ratio(ours, theirs, "faster")
    assert (found.subject, found.values, found.at) == ("a : b", (10.0, 15.0), 8)


def test_quartiles_and_median():
    measured = Measurement("a", "time", "s", (5.0, 1.0, 3.0, 2.0, 4.0))
    assert (measured.median, measured.quartiles) == (3.0, (2.0, 4.0))


def test_seconds_are_averaged_over_as_many_calls_as_fit():
    calls = []
    assert 0 < seconds_of(lambda: calls.append(math.sqrt(len(calls))), 0.02) < 0.02
    assert len(calls) > 10


def test_memory_of_a_call_is_measured_in_a_process_of_its_own():
    before = np.ones(300 * 2**17)  # 300 MiB here must not be counted there
    cost = in_fresh_process(functools.partial, np.ones, 150 * 2**17)
    assert 140 < cost.added_bytes / 2**20 < 190
    assert cost.peak_bytes < before.nbytes
    assert cost.seconds > 0


def test_a_failure_in_the_process_is_told():
    with pytest.raises(BenchError, match="no number"):
        in_fresh_process(functools.partial, int, "no number")


def test_the_plugin_guide_names_the_contracts_members():
    guide = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    section = guide.partition("\n## Benchmark\n")[2].partition("\n## ")[0]
    assert [name for name in ("Config", "quick", "run", BenchmarkReport.__name__) if f"`{name}`" not in section] == []
    assert Benchmark.run.__doc__
