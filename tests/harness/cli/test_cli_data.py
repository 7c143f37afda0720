"""`icrl-bench data`: what is there, whether it is whole, and the way back from damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icrl_bench.artefacts.store import Store

Run = Callable[..., Any]


@pytest.fixture
def home(run: Run, tmp_path: Path) -> Path:
    """A home with one finished run."""
    assert run("--json").code == 0
    return tmp_path / "home"


@pytest.fixture
def address(home: Path) -> str:
    (dataset,) = (path.name for path in (home / "datasets").iterdir())
    return dataset


def test_an_empty_home(cli: Run):
    document = cli("data", "list", "--json").document
    assert document["datasets"] == []
    assert all(total == {"count": 0, "bytes": 0} for total in document["sizes"].values())
    assert "no data sets in" in cli("data", "list").out
    assert list((cli("data", "list", "--all", "--json").document)["artefacts"]) == []
    assert cli("data", "verify", "--json").document == {"checked": 0, "discarded": []}
    plot = cli("data", "plot", "--json")
    assert plot.code == 1
    assert "no histories" in plot.error["message"]


def test_list_and_show(cli: Run, address: str):
    (row,) = cli("data", "list", "--json").document["datasets"]
    assert row["address"] == address
    assert (row["environment"], row["source"], row["protocol"]) == ("toy-point-v1", "toy-source", "toy-v1")
    assert (row["tasks"], row["tasks_done"], row["env_steps"]) == (7, 5, 400)
    assert row["bytes"] > 0
    (shown,) = cli("data", "show", address[:5], "--json").document["datasets"]
    histories = shown["histories"]
    assert [history["task"] for history in histories] == [
        *(f"train-00{i}" for i in range(3)),
        *(f"test-00{i}" for i in range(2)),
    ]
    assert all(history["improved"] and history["episodes"] == 8 for history in histories)
    assert all(history["final_return"] > history["initial_return"] for history in histories)
    assert cli("data", "show", "toy-point", "--json").document["datasets"] == [shown]
    text = cli("data", "show").out
    assert "train-000" in text
    assert "did not improve" not in text


def test_the_address_is_shown_whole_in_a_narrow_terminal(cli: Run, address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = cli("data", "list").out
    assert address in text
    assert "toy-point-v1" in text
    assert max(map(len, text.splitlines())) <= 80


def test_an_unknown_data_set(cli: Run, home: Path):
    output = cli("data", "show", "toy-pint", "--json")
    assert output.code == 2
    assert "toy-point-v1" in output.error["hint"]


def test_a_history_that_did_not_improve_is_flagged(cli: Run, home: Path, address: str, tmp_path: Path):
    manifest = home / "datasets" / address / "train-001" / "manifest.json"
    content = json.loads(manifest.read_text())
    with Store(home).write(f"datasets/{address}", "train-001", content | {"final_return": -99.0}) as folder:
        for name in content["files"]:
            (folder / name).write_bytes((manifest.parent / name).read_bytes())
    assert "did not improve" in cli("data", "show").out
    plot = cli("data", "plot", "--out", tmp_path / "p.png", "--json").document
    assert plot["did_not_improve"] == [f"{address}/train-001"]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot(cli: Run, home: Path, tmp_path: Path, suffix: str):
    out = tmp_path / "deep" / f"curves{suffix}"
    assert cli("data", "plot", "--out", out, "--json").document == {"picture": str(out), "did_not_improve": []}
    start = {".png": b"\x89PNG", ".svg": b"<?xml"}[suffix]
    assert out.read_bytes().startswith(start)
    assert f"wrote {out}" in cli("data", "plot", "--out", out).out


@pytest.mark.parametrize("name", ["curves.xyz", "file/below.png"])
def test_a_plot_that_cannot_be_written(cli: Run, home: Path, tmp_path: Path, name: str):
    (tmp_path / "file").write_text("x")
    output = cli("data", "plot", "--out", tmp_path / name, "--json")
    assert output.code == 2
    assert name in output.error["message"]


def test_verify_a_whole_home(cli: Run, home: Path, address: str):
    assert cli("data", "verify", "--json").document == {"checked": 8, "discarded": []}
    assert cli("data", "verify", address, "--json").document["checked"] == 5
    assert "8 artefacts are whole" in cli("data", "verify").out


def test_what_another_stage_keeps_is_listed_and_verified(cli: Run, home: Path, address: str):
    """A certificate, and the artefact of a stage that nothing but its own file knows."""
    store = Store(home)
    for kind, name in (("certificates", "a" * 16), ("summaries", "b" * 16)):
        with store.write(kind, name, {}) as folder:
            (folder / "numbers.json").write_text("[1, 2]")
    assert "certificates 1 (" in cli("data", "list").out
    sizes = cli("data", "list", "--json").document["sizes"]
    assert sizes["certificates"]["count"] == sizes["summaries"]["count"] == 1
    assert cli("data", "verify", "--json").document == {"checked": 10, "discarded": []}
    for kind in ("certificates", "summaries"):
        (path,) = (home / kind).glob("*/numbers.json")
        flip(path)
        output = cli("data", "verify", "--json")
        assert (output.code, str(path) in output.error["message"]) == (5, True)
        assert cli("data", "verify", "--discard-damaged").code == 0
        assert not path.parent.exists()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "history": "datasets/*/train-001/history.safetensors",
    "policy": "datasets/*/test-000/policy.safetensors",
    "manifest": "datasets/*/train-000/manifest.json",
    "checkpoint": "checkpoints/*/checkpoint.safetensors",
    "floors": "floors/*/floors.json",
    "returns": "adaptations/*/returns.json",
}


@pytest.mark.parametrize("what", DAMAGES)
@pytest.mark.parametrize("how", ["flipped", "truncated", "missing"])
def test_damage_is_named_discarded_and_made_again(run: Run, cli: Run, home: Path, what: str, how: str):
    (path,) = home.glob(DAMAGES[what])
    before = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(before[: len(before) // 2])
    else:
        flip(path)
    verified = cli("data", "verify", "--json")
    if (what, how) == ("manifest", "missing"):
        assert verified.document["checked"] == 7  # without a manifest the artefact is not there
    else:
        assert verified.code == 5
        assert verified.error["kind"] == "damaged_artefact"
        assert str(path) in verified.error["message"]
        assert "--discard-damaged" in verified.error["hint"]
        text = cli("data", "verify")
        assert (text.code, text.out) == (5, "")
        discarded = cli("data", "verify", "--discard-damaged", "--json")
        assert discarded.code == 0
        assert len(discarded.document["discarded"]) == 1
        assert str(path) in discarded.document["discarded"][0]
        assert not path.parent.exists()
        assert cli("data", "verify", "--json").document == {"checked": 7, "discarded": []}
    assert run("--json").code == 0
    if what not in ("manifest", "returns"):  # those tell of time
        assert path.read_bytes() == before
    assert cli("data", "verify", "--json").document == {"checked": 8, "discarded": []}


@pytest.mark.parametrize("what", ["history", "checkpoint", "floors", "returns"])
def test_a_run_refuses_damage_that_it_needs(run: Run, cli: Run, home: Path, what: str):
    (path,) = home.glob(DAMAGES[what])
    flip(path)
    seed = {"history": "1", "checkpoint": "0", "floors": "0", "returns": "0"}[what]  # seed 1 trains on the histories
    adapt = ("--set", "adapt.episodes=2") if what == "checkpoint" else ()
    output = run("--json", "--seeds", seed, *adapt)
    assert output.code == 5
    assert str(path) in output.error["message"]
    assert "--discard-damaged" in output.error["hint"]
    cli("data", "verify", "--discard-damaged", "--json")
    assert run("--json", "--seeds", seed, *adapt).code == 0


def test_damaged_progress_is_named_discarded_and_trained_again(run: Run, cli: Run, tmp_path: Path):
    expected = run("--json", "--home", tmp_path / "other").document["runs"][0]["returns"]
    failing = run("--json", "--set", "method.fault=raise")
    assert failing.code == 3
    run("--json", "--set", "method.checkpoint_every=1", "--set", "method.fault=raise")
    (progress,) = (tmp_path / "home" / "progress").iterdir()
    flip(progress)
    output = run("--json", "--set", "method.checkpoint_every=1", "--set", "method.fault=raise")
    assert output.code == 5
    assert str(progress) in output.error["message"]
    verified = cli("data", "verify", "--json")
    assert verified.code == 5
    assert str(progress) in verified.error["message"]
    assert str(progress) in cli("data", "verify", "--discard-damaged", "--json").document["discarded"][0]
    assert not progress.exists()
    assert run("--json").document["runs"][0]["returns"] == expected


def test_a_damaged_description_is_written_again(run: Run, cli: Run, home: Path, address: str):
    path = home / "datasets" / address / "dataset.json"
    before = path.read_bytes()
    path.write_bytes(before[:40])
    output = cli("data", "list", "--json")
    assert output.code == 5
    assert str(path) in output.error["message"]
    assert run("--json").code == 0
    assert path.read_bytes() == before
    assert cli("data", "list", "--json").code == 0
