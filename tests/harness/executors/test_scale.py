"""What the driver itself costs: thousands of rows over hundreds of simulated nodes that die, and a real cluster's overhead.

`pytest tests/soak tests/harness/executors/test_scale.py --soak full -s` prints the table of docs/many-machines.md.
"""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import dataclass

import pytest

from icrl_bench.machine.progress import Progress
from icrl_bench.runs.dispatch import WINDOW, make_all
from icrl_bench.runs.overview import Overview
from icrl_bench.stages.stage import in_order

from .fakes import FakeRow, FakeStage, FakeStore, Simulated, context_with

SECONDS = 300.0  # a unit takes on average
FAILURES = 0.02  # of the units lose their node


@dataclass(frozen=True)
class Cost:
    """What a walk took."""

    nodes: int
    units: int
    milliseconds: float  # of the driver's processor time, a unit
    most_in_hand: int
    kib_in_hand: float  # that the walk held at most beyond what it held at its start
    waiting: float  # share of the nodes' time that they had nothing to do or were dead
    deaths: int


def measure(rows: int, nodes: int, trace: bool) -> Cost:
    """A plan of `rows` rows on one data set for every fifty, each a training and an adaptation."""
    targets = []
    for number in range(rows):
        if number % 50 == 0:
            data = FakeStage(f"collect {number}", parts=20, seed=None)
        train = FakeStage(f"train {number}", [data])
        targets.append(FakeRow(f"record {number}", [data, train, FakeStage(f"adapt {number}", [train])]))
    executor, store, most = Simulated(nodes, 1, SECONDS, FAILURES), FakeStore(), 0
    submit = executor.submit

    def counted(unit):
        nonlocal most
        submit(unit)
        most = max(most, len(executor.waiting) + len(executor.flying))

    executor.submit = counted  # type: ignore[method-assign]
    stages, context = in_order(targets), context_with(store)
    if trace:
        tracemalloc.start()
    began = time.process_time()
    with Overview(stages, Progress([], quiet=True)) as overview:
        failed = make_all(stages, executor, context, overview)
    took = time.process_time() - began
    peak = tracemalloc.get_traced_memory()[1] / 1024 if trace else 0.0
    tracemalloc.stop()
    assert not failed
    assert sorted(store.rows) == sorted(target.label for target in targets)
    assert len(store.order) == len(set(store.order))
    units = len(store.order)
    waiting = 1 - executor.busy_seconds / (executor.now * nodes)
    return Cost(nodes, units, took / units * 1e3, most, peak / units, waiting, executor.deaths)


def test_the_driver_takes_little_for_each_unit():
    cost = measure(rows=600, nodes=50, trace=False)
    assert cost.milliseconds < 5
    assert cost.deaths > 10


def test_what_it_holds_does_not_grow_with_the_plan():
    little, much = measure(rows=800, nodes=20, trace=True), measure(rows=1600, nodes=20, trace=True)
    assert max(little.most_in_hand, much.most_in_hand) <= WINDOW + 20  # a stage's units come together
    assert much.kib_in_hand < 1.2 * little.kib_in_hand < 12


def test_ten_thousand_units_over_two_hundred_nodes(request: pytest.FixtureRequest):
    if request.config.getoption("--soak", "small") != "full":
        sizes = ((400, 100),)
    else:
        sizes = tuple((5000, nodes) for nodes in (10, 50, 100, 200))
    lines = ["| nodes | units | driver, ms a unit | most units in hand | nodes wait or are dead | nodes died |"]
    lines.append("|---:|---:|---:|---:|---:|---:|")
    for rows, nodes in sizes:
        cost = measure(rows, nodes, trace=False)
        assert cost.milliseconds < 5
        lines.append(
            f"| {nodes} | {cost.units:,} | {cost.milliseconds:.2f} | {cost.most_in_hand:,} | {cost.waiting:.1%} "
            f"| {cost.deaths} |"
        )
    print("\n".join(["", *lines]))  # noqa: T201
