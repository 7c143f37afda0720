"""The walk over many rows' stages: everything once, in an order that its inputs allow, and nothing lost with what fails."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from icrl_bench.executors.contract import UnitOutcome
from icrl_bench.machine.progress import Progress
from icrl_bench.runs import dispatch
from icrl_bench.runs.dispatch import make_all
from icrl_bench.runs.overview import Overview
from icrl_bench.stages.stage import in_order

from .fakes import FakeRow, FakeStage, FakeStore, Inline, Simulated, context_with


def rows(count: int, shared: FakeStage | None = None) -> list[FakeRow]:
    """`count` rows that share one data set of three groups, a training and an adaptation each."""
    data = shared or FakeStage("collect", parts=3, seed=None)
    made = []
    for number in range(count):
        train = FakeStage(f"train {number}", [data])
        made.append(FakeRow(f"record {number}", [data, train, FakeStage(f"adapt {number}", [train])]))
    return made


def walk(targets, executor, store=None, **options):
    store = store or FakeStore()
    stages = in_order(targets)
    with Overview(stages, Progress([], quiet=True)) as overview:
        failed = make_all(stages, executor, context_with(store), overview, **options)
    return store, failed, overview


def test_shared_data_is_made_once_and_every_row_is_recorded_once():
    executor = Inline()
    store, failed, overview = walk(rows(4), executor)
    assert not failed
    assert sorted(store.rows) == [f"record {number}" for number in range(4)]
    assert len(executor.taken) == len(set(executor.taken)) == 3 + 2 * 4
    assert (overview.done, overview.failed) == (4, 0)


def test_nothing_is_made_before_its_inputs():
    store, _, _ = walk(rows(4), Inline())
    place = {name: number for number, name in enumerate(store.order)}
    for number in range(4):
        assert max(place[f"collect {part}"] for part in range(3)) < place[f"train {number} 0"]
        assert place[f"train {number} 0"] < place[f"adapt {number} 0"]


def test_what_is_there_is_not_made_again():
    store = FakeStore(made={"collect 0", "collect 2", "train 1 0"})
    executor = Inline()
    walk(rows(2), executor, store)
    assert sorted(executor.taken) == ["adapt 0 0", "adapt 1 0", "collect 1", "train 0 0"]


def test_two_stages_that_need_the_same_unit_wait_for_it_together():
    """As two methods do, of which one needs more of a data set than the other."""
    little, much = FakeStage("collect", parts=2, seed=None), FakeStage("collect", parts=4, seed=None)
    first, second = rows(1, little)[0], FakeRow("record b", [FakeStage("train b", [Renamed(much)])])
    executor = Inline()
    _, failed, _ = walk([first, second], executor)
    assert not failed
    assert sorted(name for name in executor.taken if name.startswith("collect")) == [f"collect {n}" for n in range(4)]


class Renamed(FakeStage):
    """A stage of the same units under another key."""

    def __init__(self, stage: FakeStage) -> None:
        super().__init__(stage.label, stage.needs, stage.parts, stage.seed)

    @property
    def key(self) -> tuple[str, ...]:
        return (self.label, "more")


def test_what_only_this_process_has_is_made_here():
    """As recorded data are, which lie in the home folder of whoever imported them."""
    data = Stays("collect", parts=3, seed=None)
    executor = Inline()
    store, failed, _ = walk(rows(2, data), executor)
    assert not failed
    assert not [name for name in executor.taken if name.startswith("collect")]
    assert len(store.rows) == 2


class Stays(FakeStage):
    """Made by the walker, though it records nothing."""

    stays_here = True

    def ensure(self, context):
        self.make(context)


def test_a_failure_takes_its_row_and_no_other():
    store, failed, overview = walk(rows(3), Inline({"train 1 0": "the method stumbled"}))
    assert sorted(store.rows) == ["record 0", "record 2"]
    assert {key for (key,) in failed} == {"train 1", "adapt 1", "record 1"}
    assert {failure.text for failure in failed.values()} == {"the method stumbled (on here)"}
    assert (overview.done, overview.failed) == (2, 1)


def test_a_failed_group_takes_all_that_needs_it():
    store, failed, overview = walk(rows(3), Inline({"collect 1": "no"}))
    assert store.rows == []
    assert overview.failed == 3
    assert len(failed) == 1 + 3 * 3


def test_rows_wait_for_what_they_are_told_to():
    """As they do for an environment's certificate; and where it refuses the environment, they are not made."""
    data = FakeStage("collect", parts=1, seed=None)
    certificate, (row,) = FakeStage("certify", [data], seed=None), rows(1, data)
    waits = {stage.key: [certificate.key] for stage in in_order([row]) if stage is not data}
    store, failed, _ = walk([certificate, row], Inline(), also_after=waits)
    assert store.order.index("certify 0") < store.order.index("train 0 0")

    def refuse(stage):
        if stage is certificate:
            raise ValueError("it tests nothing")

    store, failed, _ = walk([certificate, row], Inline(), also_after=waits, made=refuse)
    assert store.order == ["collect 0", "certify 0"]
    assert failed[row.key].message == "ValueError: it tests nothing"


def test_a_row_that_cannot_be_recorded_stops_no_other(monkeypatch: pytest.MonkeyPatch):
    made = rows(2)
    monkeypatch.setattr(made[0], "ensure", lambda context: 1 / 0)
    store, failed, _ = walk(made, Inline())
    assert store.rows == ["record 1"]
    assert failed[made[0].key].message == "ZeroDivisionError: division by zero"


def test_no_more_units_than_the_window_are_handed_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dispatch, "WINDOW", 7)
    executor = Inline()
    store, failed, _ = walk(rows(40), executor)
    assert not failed
    assert len(store.rows) == 40
    assert executor.most <= 7


@pytest.mark.parametrize("seed", range(5))
def test_any_graph_is_walked_whole(seed: int):
    """Graphs drawn at random, on nodes that die: what the walk makes is what has its inputs."""
    draw = random.Random(seed)
    stages: list[FakeStage] = []
    for number in range(120):
        needs = draw.sample(stages, min(len(stages), draw.randint(0, 3)))
        stages.append(FakeStage(f"stage {number}", needs, parts=draw.randint(1, 3)))
    executor = Simulated(nodes=4, slots=2, seconds=10.0, failures=0.3, seed=seed)
    store, failed, _ = walk(stages, executor)
    lost = set()
    for stage in stages:
        if stage.key in failed:
            lost.add(stage.key)
            assert any(each.key in lost for each in stage.inputs) or not stage.done(store)
        else:
            assert stage.done(store)
            assert not any(each.key in lost for each in stage.inputs)
    assert executor.deaths > 10
    assert len(store.order) == len(set(store.order))


def test_progress_is_told_in_json_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("icrl_bench.runs.overview.SHOW_EVERY", 0.0)
    events = tmp_path / "events.jsonl"
    stages = in_order(rows(3))
    with Overview(stages, Progress([], quiet=True), events) as overview:
        make_all(stages, Inline({"adapt 2 0": "no"}), context_with(FakeStore()), overview)
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert lines[0]["rows"] == {"total": 3, "done": 0, "running": 0, "failed": 0}
    assert lines[-1]["event"] == "ended"
    assert lines[-1]["rows"] == {"total": 3, "done": 2, "running": 0, "failed": 1}
    (failure,) = [line["failure"] for line in lines if line["event"] == "unit_ended" and line["failure"]]
    assert failure == {"message": "no", "hint": "", "node": "here", "traceback": "Traceback ..."}
    assert [line["row"] for line in lines if line["event"] == "row_failed"] == ["fake on nowhere, seed 0"]
    progress = [line for line in lines if line["event"] == "progress"]
    assert all(sum(line["rows"][name] for name in ("done", "running", "failed")) <= 3 for line in progress)
    assert progress[-1]["eta_seconds"] == 0.0
    assert any(line["rows"]["running"] for line in progress)


def test_the_time_that_is_left_falls_while_a_unit_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of three trainings of 100 s the first has ended: 200 s are left, 150 after 50 s more, and nobody knows beyond 300 s."""
    clock = [0.0]
    monkeypatch.setattr("icrl_bench.runs.overview.time.monotonic", lambda: clock[0])
    stages = [FakeStage(f"train {number}") for number in range(3)]
    events = tmp_path / "events.jsonl"
    with Overview(stages, Progress([], quiet=True), events) as overview:
        clock[0] = 100.0
        overview.ended(UnitOutcome(stages[0].units(FakeStore())[0], 100.0, "here"))
        overview.finished(stages[0])
        for now in (101.0, 150.0, 310.0):
            clock[0] = now
            overview.show(lambda: [stages[1].key])
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["eta_seconds"] for line in lines if line["event"] == "progress"] == [199.0, 150.0, None]
