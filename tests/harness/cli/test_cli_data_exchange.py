"""Data comes and goes: exported, imported as a source, run with; and what takes room is named and removed."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icrl_bench.artefacts import imports
from icrl_bench.artefacts.histories import final_return
from icrl_bench.artefacts.store import Store
from icrl_bench.artefacts.usage import find_artefacts
from icrl_registry.contracts import Task
from icrl_registry.protocols.loading import load_protocol
from icrl_registry.testing.toy import ToyPoint, toy_history

Run = Callable[..., Any]


@pytest.fixture
def home(run: Run, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one finished run, which was made once for all tests."""
    made = tmp_path_factory.getbasetemp() / "home-with-a-run"
    if made.exists():
        shutil.copytree(made, tmp_path / "home")
    else:
        assert run("--json").code == 0
        shutil.copytree(tmp_path / "home", made)
    return tmp_path / "home"


@pytest.fixture
def address(home: Path) -> str:
    (dataset,) = (path.name for path in (home / "datasets").iterdir())
    return dataset


@pytest.fixture
def imported(cli: Run, toy: Path, address: str, tmp_path: Path) -> dict[str, Any]:
    """The toy's histories, exported and imported again."""
    exported = cli("data", "export", address, "-f", "npz", "-o", tmp_path / "out", "--json").document
    document = cli("data", "import", tmp_path / "out", "-p", toy / "toy.toml", "--json").document
    assert document["content"] == exported["content"]
    return document


# --- Coming and going ---------------------------------------------------------------------------------------------------


def test_what_is_imported_is_said(imported: dict[str, Any], cli: Run, home: Path, tmp_path: Path, toy: Path):
    assert (imported["histories"], imported["env_steps"], imported["environment"]) == (5, 400, "toy-point-v1")
    assert imported["tasks"] == {"train": [3, 3], "validation": [0, 2], "test": [2, 2]}
    assert Path(imported["path"]) == home / "imports" / imported["content"]
    text = cli("data", "import", tmp_path / "out", "-p", toy / "toy.toml").out
    assert "3 of 3 train, 0 of 2 validation, 2 of 2 test" in text
    assert f"--source {imported['path']}" in text
    assert cli("data", "verify", "--json").document == {"checked": 9, "discarded": []}


def test_a_run_on_imported_data_is_the_run_on_the_data(run: Run, imported: dict[str, Any], home: Path):
    (before,) = run("--json").document["runs"]
    (after,) = run("--source", imported["path"], "--json").document["runs"]
    assert after["returns"] == before["returns"]
    assert after["oracle"] == before["oracle"]
    assert after["run_id"] != before["run_id"]


def test_where_the_data_lie_is_no_part_of_the_address(run: Run, imported: dict[str, Any], tmp_path: Path):
    plan = run("--source", imported["path"], "--dry-run", "--json").document["plan"]
    assert plan["config"]["source"] == {"content": imported["content"]}  # what they are, not where they lie
    shutil.copytree(imported["path"], tmp_path / "elsewhere")
    moved = run("--source", tmp_path / "elsewhere", "--dry-run", "--json").document["plan"]
    named = ("--set", "source.name=imported", "--set", f"source.content={imported['content']}")
    by_name = run(*named, "--dry-run", "--json").document["plan"]
    for other in (moved, by_name):
        assert (other["dataset"], other["protocol"], other["runs"]) == (plan["dataset"], plan["protocol"], plan["runs"])
    os.remove(tmp_path / "elsewhere" / "train-000.safetensors")
    broken = run("--source", tmp_path / "elsewhere", "--json")
    assert broken.code == 5
    assert "train-000" in broken.error["message"]


def test_a_published_row_of_imported_data_is_verified_without_them(
    run: Run, cli: Run, imported: dict[str, Any], tmp_path: Path
):
    (row,) = run("--source", imported["path"], "--json").document["runs"]
    cli("leaderboard", "submit", row["run_id"], "--out", tmp_path / "published")
    (file,) = (tmp_path / "published").rglob("*.json")
    shutil.rmtree(imported["path"])
    verified = cli("leaderboard", "verify", file, "--home", tmp_path / "other", "--json")
    assert verified.code == 0
    states = {check["name"]: check["status"] for check in verified.document["runs"][0]["checks"]}
    assert states["run id"] == "ok"


def test_tasks_that_the_data_lack_are_named(run: Run, cli: Run, home: Path, address: str, tmp_path: Path):
    cli("data", "export", address, "-f", "npz", "-o", tmp_path / "out")
    (tmp_path / "out" / "test-001.npz").unlink()
    document = cli("data", "import", tmp_path / "out", "--json").document
    lacking = run("--source", document["path"], "--json")
    assert lacking.code == 2
    assert "lack test-001" in lacking.error["message"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("source.name=imported",), "needs data"),
        (("source.name=imported", "source.content=0123456789abcdef"), "are not in"),
        (("source.name=imported", "source.content=abc"), "source.content"),
        (("source.name=imported", "source.path=/nowhere"), "no imported data"),
        (("source.name=imported", "source.path=nopackage:data"), "no package nopackage"),
    ],
)
def test_data_that_are_not_there(run: Run, settings: tuple[str, ...], words: str):
    output = run(*[argument for setting in settings for argument in ("--set", setting)], "--json")
    assert output.code == 2
    assert words in output.error["message"]


def test_content_and_folder_must_agree(run: Run, imported: dict[str, Any]):
    wrong = ("--set", "source.content=0123456789abcdef")
    output = run("--source", imported["path"], *wrong, "--json")
    assert output.code == 2
    assert imported["content"] in output.error["message"]


def test_data_in_an_installed_package(run: Run, toy: Path, imported: dict[str, Any]):
    package = toy / "toy_data"
    shutil.copytree(imported["path"], package / "histories")
    (package / "__init__.py").write_text("raise RuntimeError('data are not code')")
    plan = run("--source", "toy_data:histories", "--dry-run", "--json").document["plan"]
    assert plan["config"]["source"] == {"content": imported["content"]}


SMALL_DPT = [
    part for value in ("updates=3", "batch_size=2", "validation_every=3") for part in ("--set", f"method.{value}")
]


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_experts_travel_with_the_data_and_are_imitated_as_the_source_is(
    run: Run, cli: Run, toy: Path, home: Path, address: str, tmp_path: Path, form: str
):
    """dpt's labels: what the source's final policies say, exported, imported, and learned from to the same returns."""
    exported = cli("data", "export", address, "-f", form, "-o", tmp_path / "out", "--experts")
    assert exported.code == 0, exported.err
    document = cli("data", "import", tmp_path / "out", "-p", toy / "toy.toml", "--json").document
    assert document["source"] == "imported-experts"
    place = document["path"] if form == "npz" else tmp_path / "out"  # a folder of safetensors is a source as it is
    (before,) = run(*SMALL_DPT, "--json", method="dpt-gru").document["runs"]
    (after,) = run(*SMALL_DPT, "--source", place, "--json", method="dpt-gru").document["runs"]
    assert after["returns"] == before["returns"]
    assert after["protocol"] != before["protocol"]  # it ranks by itself
    again = cli("data", "export", after["dataset"], "-f", "npz", "-o", tmp_path / "again", "--json").document
    assert again["content"] == document["content"]
    said = cli(
        "data", "import", tmp_path / "out", "-p", toy / "toy.toml", "--write-protocol", tmp_path / "mine.toml"
    ).out
    assert "5 of them with expert actions" in said
    assert 'source = "imported-experts"' in (tmp_path / "mine.toml").read_text()


def test_without_experts_there_is_nothing_to_imitate(run: Run, cli: Run, imported: dict[str, Any], tmp_path: Path):
    assert imported["source"] == "imported"
    refused = run(*SMALL_DPT, "--source", imported["path"], "--json", method="dpt-gru")
    assert refused.code == 2
    assert "final policies" in refused.error["message"]
    output = cli("data", "export", imported["content"], "-f", "npz", "-o", tmp_path / "more", "--experts", "--json")
    assert output.code == 2
    assert "imported" in output.error["message"]


def test_experts_of_some_tasks_alone(run: Run, cli: Run, toy: Path, address: str, tmp_path: Path):
    """What does without experts still runs; dpt says whose are missing."""
    cli("data", "export", address, "-f", "npz", "-o", tmp_path / "out", "--experts")
    columns = dict(np.load(tmp_path / "out" / "train-001.npz"))
    del columns["expert_actions"]
    np.savez(tmp_path / "out" / "train-001.npz", **columns)
    place = cli("data", "import", tmp_path / "out", "-p", toy / "toy.toml", "--json").document["path"]
    assert run("--source", place, "--json").code == 0
    refused = run(*SMALL_DPT, "--source", place, "--json", method="dpt-gru")
    assert refused.code == 2
    assert "no expert for train-001" in refused.error["message"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "csv"), "unknown format"),
        (("--format", "npz", "--out", "."), "is not empty"),
    ],
)
def test_an_export_that_cannot_be(cli: Run, address: str, tmp_path: Path, arguments: tuple[str, ...], words: str):
    place = () if "--out" in arguments else ("--out", tmp_path / "new")
    output = cli("data", "export", address, *arguments, *place, "--json")
    assert output.code == 2
    assert words in output.error["message"]


def test_imported_data_are_exported_again(cli: Run, imported: dict[str, Any], tmp_path: Path):
    document = cli(
        "data", "export", imported["content"][:6], "-f", "safetensors", "-o", tmp_path / "again", "--json"
    ).document
    assert document["content"] == imported["content"]
    manifest = json.loads((tmp_path / "again" / "manifest.json").read_text())
    assert manifest["content"] == imported["content"]


def test_a_protocol_of_the_tasks_that_the_data_have(
    run: Run, cli: Run, toy: Path, address: str, tmp_path: Path, inline: None
):
    """Data of tasks that no protocol draws: one is written that lists them, and a row is made and verified under it."""
    histories = [
        toy_history(ToyPoint(), Task(task, split, index), 8, seed=index)
        for split, tasks in {"train": [(0.1, 0.2), (-0.3, 0.4)], "test": [(0.5, -0.5)]}.items()
        for index, task in enumerate(tasks)
    ]
    imports.write_files(histories, "toy-point-v1", tmp_path / "own", "npz", "own")
    file = tmp_path / "on-my-data.toml"
    arguments = ("data", "import", tmp_path / "own", "-p", toy / "toy.toml", "--write-protocol", file)
    text = cli(*arguments).out
    assert "0 of 3 train" in text
    assert f"--protocol {file}" in text
    file.write_text(file.read_text().replace('extends = "toy-v1"', f'extends = "{toy / "toy.toml"}"'))
    assert cli("protocols", "check", file).code == 0
    (row,) = cli("run", "-m", "toy-method", "-e", "toy-point", "-p", file, "--device", "cpu", "--json").document["runs"]
    assert row["protocol"].startswith("on-my-data-v1")
    assert [list(task) for task in row["task_parameters"]] == [[0.5, -0.5]]
    assert row["oracle"] == pytest.approx([final_return(histories[2])])
    assert cli(*arguments, "--json").code == 2  # the file is there
    only = ("data", "import", tmp_path / "own" / "train-000.npz", "-p", toy / "toy.toml", "--write-protocol", "x.toml")
    assert "no test tasks" in cli(*only, "--json").error["message"]


# --- Another source -----------------------------------------------------------------------------------------------------


def test_another_source_keeps_the_budget_and_says_what_it_drops(run: Run, toy: Path):
    protocol = toy / "toy.toml"
    protocol.write_text(
        protocol.read_text().replace(
            "[environments.toy-point-v1.settings]\n",
            "[environments.toy-point-v1.settings]\nsource = { total_steps = 160, pause = 0.0 }\n",
        )
    )
    assert load_protocol(str(protocol)).environments["toy-point-v1"].settings["source"]["total_steps"] == 160
    plan = run("--source", "toy-population", "--dry-run", "--json").document["plan"]
    assert plan["source"] == "toy-population"
    assert plan["config"]["source"]["total_steps"] == 160
    assert plan["source_note"] == (
        "toy-population instead of toy-source: keeps total_steps = 160 of the protocol's settings, drops pause"
    )
    assert "toy-population instead of toy-source" in run("--source", "toy-population", "--dry-run").out
    more = run("--source", "toy-population", "--set", "source.total_steps=80", "--dry-run", "--json").document["plan"]
    assert more["config"]["source"]["total_steps"] == 80
    assert run("--dry-run", "--json").document["plan"]["source_note"] == ""


def test_sweeps_and_grids_take_it(cli: Run, toy: Path, inline: None):
    common = ("--protocol", toy / "toy.toml", "--source", "toy-population", "--dry-run")
    cells = cli("sweep", "-m", "toy-method", "-e", "toy-point", "--vary", "method.updates=1,2", *common)
    assert (cells.code, "toy-population instead of toy-source" in cells.err) == (0, True)
    rows = cli("grid", "--methods", "toy-method", *common, "--device", "cpu")
    assert (rows.code, "toy-population instead of toy-source" in rows.err) == (0, True)
    assert cli("grid", "--methods", "toy-method", *common, "--source", "toy-sorce").code == 2


# --- Going --------------------------------------------------------------------------------------------------------------


def artefacts(cli: Run) -> dict[str, dict[str, Any]]:
    found = cli("data", "list", "--all", "--json").document["artefacts"]
    return {each["kind"]: each for each in found}


def test_list_says_what_everything_takes_and_which_rows_need_it(cli: Run, home: Path, address: str):
    document = cli("data", "list", "--all", "--json").document
    (run_id,) = (path.name for path in (home / "adaptations").iterdir())
    found = {each["kind"]: each for each in document["artefacts"]}
    assert set(found) == {"datasets", "checkpoints", "adaptations"}
    assert found["datasets"]["address"] == address
    assert all(each["rows"] == [run_id] for each in found.values())
    for kind in found:
        files = [file for file in (home / kind).rglob("*") if file.is_file()]
        total = sum(file.stat().st_size for file in files)
        assert document["sizes"][kind] == {"count": 1, "bytes": total}
    assert document["sizes"]["floors"]["count"] == 1
    text = cli("data", "list").out
    assert "checkpoints 1 (" in text
    assert "adaptations 1 (" in text


def test_what_a_row_needs_goes_only_by_force(cli: Run, run: Run, home: Path, address: str):
    before = run("--json").document["runs"][0]
    refused = cli("data", "rm", address[:6], "--json")
    assert refused.code == 2
    assert before["run_id"] in refused.error["message"]
    assert "--force" in refused.error["hint"]
    assert (home / "datasets" / address).exists()
    removed = cli("data", "rm", address[:6], before["checkpoint"], "--force", "--json").document
    assert [each["address"] for each in removed["removed"]] == [address, before["checkpoint"]]
    assert not (home / "datasets" / address).exists()
    rows = cli("leaderboard", "show", "--json").document["rows"]
    assert [row["method"] for row in rows if row["kind"] == "method"] == ["toy-method"]  # the row stays
    assert run("--json").document["runs"][0]["returns"] == before["returns"]  # and what it needs is made again
    assert (home / "datasets" / address).exists()


def test_a_row_that_is_removed_leaves_what_it_was_made_of_to_be_collected(cli: Run, run: Run, home: Path, address: str):
    (row,) = run("--json").document["runs"]
    assert cli("data", "gc", "--older-than", "0", "--json").document == {"would_remove": [], "bytes": 0}
    assert "--used takes them too" in cli("data", "gc", "--older-than", "0").out
    cli("leaderboard", "rm", row["run_id"])
    would = cli("data", "gc", "--older-than", "0", "--json").document
    assert {each["kind"] for each in would["would_remove"]} == {"datasets", "checkpoints", "adaptations"}
    assert (home / "datasets" / address).exists()  # it was only said
    assert cli("data", "gc", "--json").document["would_remove"] == []  # of today: a run may be under way
    for file in home.rglob("*"):
        os.utime(file, (time.time() - 8 * 86_400,) * 2)
    text = cli("data", "gc").out
    assert "3 of 3 would go" in text
    done = cli("data", "gc", "--yes", "--json").document
    assert done["bytes"] == would["bytes"]
    assert find_artefacts(Store(home)) == []
    assert cli("data", "gc", "--yes").out.strip() == "0 kB are free"


def test_what_killed_processes_left_is_collected(cli: Run, home: Path, address: str):
    left = home / "datasets" / address / ".train-009.partial"
    left.mkdir()
    (left / "history.safetensors").write_bytes(b"x" * 1000)
    (would,) = cli("data", "gc", "--older-than", "0", "--json").document["would_remove"]
    assert (would["kind"], would["bytes"]) == ("partial", 1000)
    cli("data", "gc", "--older-than", "0", "--yes")
    assert not left.exists()
    assert cli("data", "verify", "--json").document["checked"] == 8


def test_what_another_process_makes_is_left(cli: Run, home: Path, address: str, monkeypatch: pytest.MonkeyPatch):
    with Store(home).lock("datasets", address):
        document = cli("data", "rm", address, "--force", "--json").document
    assert document["removed"] == []
    assert "process" in document["busy"][0]["why"]
    assert (home / "datasets" / address).exists()


@pytest.mark.parametrize("name", ["zzz", ""])
def test_an_address_that_means_nothing(cli: Run, home: Path, name: str):
    output = cli("data", "rm", name, "--json")
    assert output.code == 2
    assert "data list --all" in output.error["hint"]


def test_histories_of_the_interface_are_the_imported_ones(run: Run, toy: Path, imported: dict[str, Any], home: Path):
    import icrl_bench

    place = {"protocol": str(toy / "toy.toml"), "home": home}
    ours = icrl_bench.load_histories("toy-point", **place)
    run("--source", imported["path"])
    settings = {"source.name": "imported", "source.path": imported["path"]}
    theirs = icrl_bench.load_histories("toy-point", **place, settings=settings)
    assert all(np.array_equal(first.rewards, second.rewards) for first, second in zip(ours, theirs, strict=True))
