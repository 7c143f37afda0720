"""`icrl-bench leaderboard show | report`, with words and with --json."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from icrl_bench.cli.leaderboard.app import app
from icrl_leaderboards.analysis.statistics.measures import DESCRIPTIONS
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_registry.errors import UnknownNameError, UsageError


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


def make_other(board):
    """A method that learns next to nothing, on the seed and tasks of a run that is there."""
    (run,) = board.runs(environment="reacher-goal", seed=0)
    returns = [[value - 5 for value in row] for row in run.returns]
    return dataclasses.replace(run, run_id="weak-0", method="weak", returns=returns)


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


def test_show_sorts_and_chooses_columns(run, filled):
    text = run("show", "--env", "reacher-goal", "--columns", "seeds,score-iqm,regret", "--sort", "regret")
    assert "IQM" in text
    assert "parameters" not in text
    with pytest.raises(UnknownNameError) as caught:
        run("show", "--sort", "score_iqn")
    assert "score_iqm" in caught.value.hint


def test_json_has_every_statistic_with_both_intervals(run, filled):
    document = json.loads(run("show", "--json", "--sort", "regret"))
    rows = [row for row in document["rows"] if row["kind"] == "method"]
    assert all(set(row["statistics"]) == set(DESCRIPTIONS) for row in rows)
    two_seeds = next(row for row in rows if row["seeds"] == [0, 1])
    estimate = two_seeds["statistics"]["score_iqm"]
    assert estimate["interval"]["resampled"] == ["seeds", "tasks"]
    assert estimate["stratified"]["resampled"] == ["seeds within tasks"]


def test_a_limit_says_what_it_hides(run, filled):
    filled.record(make_other(filled))
    assert "1 more rows" in run("show", "--env", "reacher-goal", "--limit", "1")
    assert "more rows" not in run("show", "--env", "reacher-goal", "--limit", "0")


@pytest.mark.parametrize("form", ["latex", "markdown", "csv"])
def test_show_for_other_programs(run, filled, form):
    text = run("show", "--format", form, "--columns", "seeds,normalised_score")
    assert "reacher-goal-v1" in text
    assert "ant-dir-v1" in text
    assert "parameters" not in text
    with pytest.raises(UsageError, match="unknown format"):
        run("show", "--format", "xml")


def test_show_as_csv_has_the_numbers_of_json(run, filled):
    rows = list(csv.DictReader(io.StringIO(run("show", "--format", "csv"))))
    documents = json.loads(run("show", "--json"))["rows"]
    assert [row["method"] for row in rows] == [each["method"] for each in documents]
    for row, document in zip(rows, documents, strict=True):
        assert row["kind"] == document["kind"]
        assert float(row["last_episodes"]) == pytest.approx(document["last_episodes"]["value"], rel=1e-12)


def test_show_as_markdown_is_a_table(run, filled):
    shown = MarkdownIt("gfm-like", {"linkify": False}).render(run("show", "--format", "markdown"))
    assert shown.count("<table>") == 2
    assert shown.count("<tr>") == 2 + 5 + 5  # headings, and in each table one method with four references
    assert "seeds" in shown


def test_rm(run, filled):
    ids = filled.run_ids()
    with pytest.raises(UnknownNameError):
        run("rm", ids[0], "no-such-run")
    assert filled.run_ids() == ids  # none goes unless all are known
    assert run("rm", ids[0]) == f"removed {ids[0]}\n"
    assert json.loads(run("rm", ids[1], ids[1], "--json"))["removed"] == [ids[1]]
    assert filled.run_ids() == ids[2:]


def test_compare(run, filled, capfd):
    filled.record(make_other(filled))
    text = run("compare", "ad-mamba", "weak")
    assert "ad-mamba is better than weak" in " ".join(text.split())
    run("compare", "ad-mamba", "weak", "--fail-on-regression")
    (comparison,) = json.loads(run("compare", "weak", "ad-mamba", "--json"))["comparisons"]
    assert comparison["verdict"] == "worse"
    assert comparison["verdict_text"].startswith("weak is worse than ad-mamba")
    result = CliRunner().invoke(app, ["compare", "weak", "ad-mamba", "--fail-on-regression"])
    assert result.exit_code == 5
    assert "regression: A is worse than B: reacher-goal-v1, overall" in result.stderr
    with pytest.raises(UsageError, match="no runs in the environment"):
        run("compare", "weak", "ad-mamba", "--env", "ant-dir")


def test_compare_takes_the_name_that_the_table_prints(run, filled):
    filled.record(make_other(filled))
    plain = run("compare", "ad-mamba", "weak", "--json")
    assert run("compare", "ad-mamba¹", "weak¹²", "--json") == plain


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


@pytest.mark.parametrize("kind", ["curves", "tasks", "profile"])
def test_a_figure_with_its_numbers(run, filled, tmp_path, kind):
    out = tmp_path / "figure.pdf"
    options = ("--env", "reacher-goal", "--methods", "ad-mamba", "--width", "84mm", "--label", "ad-mamba=AD")
    paths = json.loads(run("figure", kind, *options, "--out", str(out), "--json"))["paths"]
    assert paths[:2] == [str(out), str(out.with_suffix(".csv"))]
    assert out.read_bytes().startswith(b"%PDF")
    assert "ad-mamba" in out.with_suffix(".csv").read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["curvs", "--env", "ant-dir", "--out", "x.svg"], "curvs"),
        (["curves", "--env", "ant-dir", "--out", "x.jpg"], r"\.jpg"),
        (["curves", "--env", "ant-dir", "--out", "x.svg", "--width", "wide"], "wide"),
        (["curves", "--env", "ant-dir", "--out", "x.svg", "--label", "ad-dt"], "has no text"),
        (["curves", "--env", "ant-dir", "--out", "x.svg", "--methods", "ad-dtt"], "ad-dtt"),
        (["cost", "--env", "ant-dir", "--out", "x.svg"], "nothing for a figure of cost"),
    ],
)
def test_a_figure_that_cannot_be(run, filled, arguments, said):
    with pytest.raises(UsageError, match=said):
        run("figure", *arguments)
