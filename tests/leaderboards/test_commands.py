"""`icrl-bench leaderboard show | report`, with words and with --json."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from icrl_bench.cli.leaderboard.app import app
from icrl_leaderboards.store import Leaderboard
from icrl_registry.errors import UnknownNameError


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("ICRL_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments):
        result = CliRunner().invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture
def filled(tmp_path, make_record):
    board = Leaderboard(tmp_path / "home" / "leaderboard.sqlite")
    for seed in range(2):
        board.record(make_record(seed=seed))
    board.record(make_record(method="ad-dt", environment="ant-dir-v1"))
    return board


def test_nothing_recorded_yet(run, tmp_path):
    assert "no runs yet" in run("show")
    assert json.loads(run("show", "--json")) == {
        "leaderboard": str(tmp_path / "home" / "leaderboard.sqlite"),
        "rows": [],
    }
    assert not (tmp_path / "home").exists()


def test_show(run, filled):
    text = run("show")
    assert "reacher-goal-v1 · laptop-v0 · online" in text
    assert "ant-dir-v1 · laptop-v0 · online" in text
    assert "ant-dir-v1" not in run("show", "--env", "reacher-goal")


def test_show_as_json_is_one_document(run, filled):
    document = json.loads(run("show", "--json", "--method", "ad-mamba", "--protocol", "laptop"))
    row = next(row for row in document["rows"] if row["kind"] == "method")
    assert row["method"] == "ad-mamba"
    assert row["seeds"] == [0, 1]
    assert row["improvement"]["interval"]["resampled"] == ["seeds", "tasks"]
    assert {row["kind"] for row in document["rows"]} == {"method", "floor", "oracle"}


def test_another_leaderboard(run, filled, tmp_path):
    assert "no runs yet" in run("show", "--leaderboard", str(tmp_path / "other.sqlite"))
    assert "ad-mamba" in run("show", "--leaderboard", f"sqlite:///{tmp_path}/home/leaderboard.sqlite")


def test_unknown_names(run, filled):
    with pytest.raises(UnknownNameError) as caught:
        run("show", "--env", "reacher-gaol")
    assert "reacher-goal-v1" in caught.value.hint
    assert caught.value.exit_code == 2


def test_report(run, filled, tmp_path):
    paths = run("report", "--out", str(tmp_path / "out")).splitlines()
    assert paths[0] == str(tmp_path / "out" / "index.html")
    document = json.loads(run("report", "--out", str(tmp_path / "out"), "--env", "ant-dir", "--json"))
    assert document["paths"][:2] == [str(tmp_path / "out" / name) for name in ("index.html", "report.md")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.rpartition("/")[2] for path in document["paths"]
    )
    assert "reacher-goal" not in (tmp_path / "out" / "report.md").read_text()
