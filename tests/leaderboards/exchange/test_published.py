"""The runs in `leaderboards/published/`: each verified, and the report beside them is the one that they make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icrl_bench.cli.leaderboard.app import app

PUBLISHED = Path(__file__).parents[3] / "leaderboards" / "published"
RUNS = sorted(PUBLISHED.rglob("*.json"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("ICRL_BENCH_HOME", str(tmp_path / "home"))

    def run(*arguments):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


def test_runs_are_published():
    """Of two protocols, and of four methods or more on one environment: what the README shows."""
    documents = [json.loads(path.read_text(encoding="utf-8"))["run"] for path in RUNS]
    assert {document["protocol"] for document in documents} >= {"smoke-v1", "laptop-v1"}
    methods = {document["method"] for document in documents if document["environment"] == "reacher-goal-v1"}
    assert len(methods) >= 4


def test_every_published_run_is_verified(run):
    verdicts = run("verify", PUBLISHED, "--json")
    assert len(verdicts["runs"]) == len(RUNS)
    assert verdicts["mismatch"] == 0


def test_the_published_report_is_made_of_the_published_runs(run, tmp_path):
    imported = run("import", PUBLISHED, "--json")
    assert imported["imported"] == len(RUNS)
    run("report", "--out", tmp_path / "report", "--json")
    made, published = tmp_path / "report", PUBLISHED / "report"
    names = ("index.html", "report.md")  # by name alone: a difference of such long texts takes minutes to be worded
    assert [name for name in names if (made / name).read_bytes() != (published / name).read_bytes()] == []
