"""Stages: in order, each once; only what a row needs; and pieces that anybody can make anywhere."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from icrl_bench.artefacts.store import Store
from icrl_bench.machine.progress import Progress
from icrl_bench.planning import Plan, Request, make_plan
from icrl_bench.runs.execution import names_of, stages_of
from icrl_bench.stages.collect import Collect
from icrl_bench.stages.floors import Floors
from icrl_bench.stages.record import Record, stage_versions
from icrl_bench.stages.stage import Context, Stage, in_order
from icrl_registry.protocols.loading import load_protocol

Run = Callable[..., Any]


@pytest.fixture
def plan(toy: Path) -> Callable[..., Plan]:
    def make(overrides: dict[str, dict[str, Any]] | None = None) -> Plan:
        return make_plan(Request("toy-method", "toy-point", load_protocol(str(toy / "toy.toml")), overrides or {}))

    return make


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def histories_below(home: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in home.glob("datasets/*/*/history.safetensors")}


class Certificate(Stage[dict[str, Any]]):
    """What a new stage takes."""

    kind, folder, there = "certify", "certificates", "it is there"

    @property
    def inputs(self) -> tuple[Stage[Any], ...]:
        return (Floors(self.plan),)

    def determinants(self) -> Mapping[str, Any]:
        return {"floors": Floors(self.plan).address}

    def make(self, context: Context) -> None:
        highest = max(Floors(self.plan).read(context.store)["random"])
        with (
            context.progress.stage(self.name, 1, "certificates"),
            context.store.write(self.folder, self.address, {"highest": highest}),
        ):
            pass

    def read(self, store: Store) -> dict[str, Any]:
        return store.manifest(self.folder, self.address)


def ensure(stages: Sequence[Stage[Any]], store: Store) -> list[str]:
    """Walks the stages; the names of those that were made."""
    made: list[str] = []

    def note(event: Mapping[str, Any]) -> None:
        made.extend([event["stage"]] if event["event"] == "stage_finished" else [])

    with Progress(names_of(stages), quiet=True, on_event=note) as progress:
        for stage in stages:
            stage.ensure(Context(store, progress))
    return made


def test_every_stage_comes_once_and_after_its_inputs(plan: Callable[..., Plan]):
    stages = stages_of(plan(), [0, 1])
    assert names_of(stages) == ["collect", "floors", "train seed 0", "adapt seed 0", "train seed 1", "adapt seed 1"]
    keys = [stage.key for stage in stages]
    assert len(set(keys)) == len(keys)
    for place, stage in enumerate(stages):
        assert {needed.key for needed in stage.inputs} <= set(keys[:place]), stage.name


def test_rows_of_one_data_set_share_its_collection_and_floors(plan: Callable[..., Plan]):
    """As in a grid: two settings of a method need one collection and one measurement of the floors."""
    rows = [Record(plan(), 0), Record(plan({"method": {"updates": 5}}), 0)]
    kinds = [stage.kind for stage in in_order(rows)]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "collect": 1,
        "floors": 1,
        "train": 2,
        "adapt": 2,
        "record": 2,
    }


def test_the_inputs_of_what_is_skipped_are_left_out(plan: Callable[..., Plan]):
    train = Record(plan(), 0).adapt.train
    assert [stage.kind for stage in in_order([train])] == ["collect", "train"]
    assert in_order([train], skip=lambda stage: stage is train) == [train]


def test_versions_are_those_that_rows_name(plan: Callable[..., Plan]):
    assert stage_versions(Record(plan(), 0)) == {"collect": 1, "floors": 1, "train": 1, "adapt": 1}


def test_a_stages_version_changes_its_address_and_those_behind_it(
    plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
):
    before = {stage.name: stage.address for stage in stages_of(plan(), [0])}
    monkeypatch.setattr(Collect, "version", 2)
    after = {stage.name: stage.address for stage in stages_of(plan(), [0])}
    assert {name for name in before if before[name] != after[name]} == {
        "collect",
        "train seed 0",
        "adapt seed 0",
        "record seed 0",
    }


def test_a_method_without_histories_waits_for_those_of_the_test_tasks_alone(run: Run, tmp_path: Path):
    """Who needs the others collects the rest later, into the same data set and with the same bytes."""
    home = tmp_path / "home"
    online = run("--json", method="toy-online").document["runs"][0]
    assert set(histories_below(home)) == {"test-000", "test-001"}
    assert online["oracle"]
    offline = run("--json").document["runs"][0]
    assert offline["dataset"] == online["dataset"]
    assert len(histories_below(home)) == 5
    run("--json", "--home", tmp_path / "other")
    assert histories_below(home) == histories_below(tmp_path / "other")


def test_a_row_says_what_its_own_histories_cost(run: Run, cli: Run, tmp_path: Path):
    """Two test tasks of 80 steps, and three training tasks for a method that trains on them."""
    run("--json")
    run("--json", method="toy-online")
    out = tmp_path / "episodes.json"
    assert cli("leaderboard", "submit", "--env", "toy-point", "--out", out).code == 0
    documents = [json.loads(path.read_text())["run"] for path in out.rglob("*.json")]
    assert {each["method"]: each["collect_env_steps"] for each in documents} == {"toy-method": 400, "toy-online": 160}


def test_fewer_training_tasks_share_the_histories_of_all(run: Run, cli: Run, tmp_path: Path, toy: Path):
    """Two test tasks of 80 steps and one training task are what the row cost; with fewer targets the method learns another
    action, so that its returns differ. A colleague finds the limit in the published row."""
    whole = run("--json", "--set", "method.updates=3").document["runs"][0]
    fewer = run("--json", "--set", "method.updates=3", "--set", "train.tasks=1").document["runs"][0]
    assert fewer["dataset"] == whole["dataset"]
    assert fewer["checkpoint"] != whole["checkpoint"]
    assert fewer["returns"] != whole["returns"]
    out = tmp_path / "out"
    assert cli("leaderboard", "submit", "--env", "toy-point", "--protocol", fewer["protocol"], "--out", out).code == 0
    (document,) = [json.loads(path.read_text())["run"] for path in out.rglob("*.json")]
    assert document["collect_env_steps"] == 3 * 80
    assert document["config"]["train"] == {"tasks": 1}
    assert cli("leaderboard", "verify", out).code == 0


def test_units_made_one_by_one_make_the_stage(
    plan: Callable[..., Plan], store: Store, tmp_path: Path, inline: None, toy: Path
):
    """As on a cluster: every unit crosses to another process as bytes, in any order."""
    collect = Collect(plan())
    units = collect.units(store)
    assert [unit.key[-1] for unit in units] == ["train-000", "train-001", "train-002", "test-000", "test-001"]
    for unit in reversed(units):
        pickle.loads(pickle.dumps(unit)).make(store.root)
    assert collect.done(store)
    assert collect.units(store) == []
    other = Store(tmp_path / "other")
    ensure([Collect(plan())], other)
    assert histories_below(store.root) == histories_below(other.root)


def test_a_whole_stage_is_a_unit_unless_it_says_otherwise(plan: Callable[..., Plan], store: Store, inline: None):
    adapt = Record(plan(), 0).adapt
    for stage in in_order([adapt]):
        for unit in stage.units(store):
            pickle.loads(pickle.dumps(unit)).make(store.root)
    assert len(adapt.read(store).returns) == 2


def test_a_new_stage_takes_one_class(plan: Callable[..., Plan], store: Store):
    certificate = Certificate(plan())
    stages = in_order([certificate])
    assert names_of(stages) == ["floors", "certify"]
    assert certificate.status(store) == "to do"
    assert ensure(stages, store) == ["floors", "certify"]
    assert certificate.status(store) == "done"
    assert certificate.read(store)["highest"] == max(Floors(plan()).read(store)["random"])
    assert ensure(stages, store) == []
