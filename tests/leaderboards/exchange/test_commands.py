"""`icrl-bench leaderboard export | submit | import`: what a user types, with words and with --json."""

from __future__ import annotations

import csv
import json

import pytest
from typer.testing import CliRunner

from icrl_bench.cli.leaderboard.app import app
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_registry.errors import BenchError, UnknownNameError, UsageError


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("ICRL_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments, code=0):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.stdout

    return run


@pytest.fixture
def records(tmp_path, make_record):
    records = [make_record(seed=seed, run_id=f"{seed}a{seed}b", num_tasks=2, num_episodes=3) for seed in range(3)]
    with Leaderboard(tmp_path / "home" / "leaderboard.sqlite") as board:
        board.record_all(records)
    return records


def test_export(run, records, tmp_path):
    rows = list(csv.DictReader(run("export").splitlines()))
    assert len(rows) == 18
    assert json.loads(run("export", "--json"))["episodes"][0]["run_id"] == "0a0b"
    assert "wrote out/x.csv: 18 episodes of 3 runs" in run("export", "--out", "out/x.csv")
    assert len((tmp_path / "out" / "x.csv").read_text().splitlines()) == 19
    for name in ("x.parquet", "x.json"):
        document = json.loads(run("export", "--out", name, "--json", "--method", "ad-mamba"))
        assert document == {"path": name, "format": name[2:], "runs": 3, "episodes": 18}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "out", "x.json", "x.parquet"]


def test_exports_that_cannot_be(run, records, tmp_path):
    for arguments in (("--format", "parquet"), ("--format", "xlsx"), ("--json", "--format", "csv")):
        with pytest.raises(UsageError):
            run("export", *arguments)
    with pytest.raises(UnknownNameError):
        run("export", "--env", "reacher-gaol")
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match=r"cannot write file/x\.csv"):
        run("export", "--out", "file/x.csv")


def test_runs_go_to_files_and_into_another_leaderboard(run, records, tmp_path):
    document = json.loads(run("submit", "0a", "2a2b", "0a0b", "--json"))
    folder = "leaderboards/published/laptop-v0/reacher-goal-v1-ad-mamba-"
    assert document["paths"] == [f"{folder}seed0-0a0b.json", f"{folder}seed2-2a2b.json"]
    before = {path: (tmp_path / path).read_bytes() for path in document["paths"]}
    assert run("submit", "--env", "reacher-goal").count("unchanged ") == 2
    assert {path: (tmp_path / path).read_bytes() for path in document["paths"]} == before
    other = ("--leaderboard", tmp_path / "other.sqlite")
    assert "3 imported" in run("import", "leaderboards/published", *other)
    assert Leaderboard(tmp_path / "other.sqlite").runs() == records
    assert json.loads(run("import", "leaderboards/published", *other, "--json"))["there_already"] == 3


def test_a_refused_file_ends_with_exit_code_5(run, records, tmp_path):
    run("submit", "0a0b", "1a1b", "--out", "out")
    path = next((tmp_path / "out").rglob("*seed0*.json"))
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 7'))
    other = ("--leaderboard", tmp_path / "other.sqlite")
    said = run("import", "out", *other, code=5)
    assert f"refused  {path.relative_to(tmp_path)}: checksums: the run differs" in said
    assert "1 imported, 1 refused" in said
    assert [each.run_id for each in Leaderboard(tmp_path / "other.sqlite").runs()] == ["1a1b"]
    document = json.loads(run("import", path, *other, "--json", code=5))
    assert document["refused"] == 1
    assert document["files"][0]["path"] == str(path)


def test_what_to_publish_must_be_said(run, records):
    for arguments in ((), ("0a0b", "--env", "reacher-goal")):
        with pytest.raises(UsageError, match="name the runs"):
            run("submit", *arguments)
    with pytest.raises(UnknownNameError) as caught:
        run("submit", "0b")
    assert "1a1b" in caught.value.hint
    with pytest.raises(UsageError, match=r"no \.json file below"):
        run("import", "home")


def test_an_ambiguous_beginning_names_two_runs(run, records, tmp_path, make_record):
    with Leaderboard(tmp_path / "home" / "leaderboard.sqlite") as board:
        board.record(make_record(run_id="0a0c"))
    with pytest.raises(UsageError, match="2 runs begin with '0a'") as caught:
        run("submit", "0a")
    assert caught.value.hint == "0a0b or 0a0c"
