"""A row's control stands beside it: the score of the same agents with another task's rewards."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from icrl_bench.cli.leaderboard.app import app
from icrl_bench.planning import control_label
from icrl_leaderboards.analysis.controls import control_rows
from icrl_leaderboards.analysis.summary import group_runs
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.report.writing import write_report
from icrl_leaderboards.runs.scores import RunScores
from icrl_leaderboards.wording.controls import CONTROL_COLUMN

PROTOCOL = "laptop-v0"
SHUFFLED = control_label(PROTOCOL)


@pytest.fixture
def records(make_record):
    """Two methods of two seeds; the first has a control that learns nothing, and one of a variant that has no row."""
    rows = [make_record(method=name, seed=seed) for name in ("ad-mamba", "dpt-mamba") for seed in (0, 1)]
    controls = [make_record(seed=seed, protocol=SHUFFLED, skill=0.0) for seed in (0, 1)]
    other = make_record(protocol=SHUFFLED, skill=0.9, variant={"method.head": "linear"}, run_id="other")
    return rows, [*controls, other]


def control_cells(page: str) -> dict[str, str]:
    """What stands in the control's column of the results table, by method; found by the column's heading."""
    table = re.search(r'<table class="results.*?</table>', page, re.DOTALL)
    assert table is not None
    headings = re.findall(r"<th[^>]*>([^<]*)</th>", table[0].partition("</thead>")[0])
    place = headings.index(CONTROL_COLUMN)
    found = {}
    for line in re.findall(r'<tr data-method="([^"]*)">(.*?)</tr>', table[0], re.DOTALL):
        cells = re.split(r"<td[^>]*>", line[1])
        found[line[0]] = re.sub(r"<[^>]*>", "", cells[place])
    return found


def test_a_control_stands_beside_its_row_alone(records, tmp_path):
    rows, controls = records
    paired = control_rows({PROTOCOL: [RunScores.from_record(each) for each in controls]})
    write_report(rows, tmp_path, controls=paired)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    own = group_runs([RunScores.from_record(each) for each in controls[:2]])[0].normalised_score
    cells = control_cells(page)
    assert cells["ad-mamba"].startswith(f"{own.value:.2f}".replace("-", "−"))
    assert own.value < 0.3, "the control learned nothing, its row reaches 0.7"
    assert cells["dpt-mamba"].strip() == ""
    assert "was not learned from rewards" in page
    lines = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    (heading,) = [line for line in lines if CONTROL_COLUMN in line and line.startswith("|")]
    place = [cell.strip() for cell in heading.split("|")].index(CONTROL_COLUMN)
    (line,) = [line for line in lines if line.startswith("| ad-mamba") and line.count("|") == heading.count("|")]
    assert line.split("|")[place].strip().startswith(f"{own.value:.2f}".replace("-", "−"))


def test_without_controls_there_is_no_column(records, tmp_path):
    rows, _ = records
    write_report(rows, tmp_path)
    assert CONTROL_COLUMN not in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert CONTROL_COLUMN not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_the_command_finds_them_in_the_leaderboard(records, tmp_path, monkeypatch):
    """Also where a filter leaves the controls' own table out."""
    monkeypatch.setenv("ICRL_BENCH_HOME", str(tmp_path))
    rows, controls = records
    with Leaderboard(tmp_path / "leaderboard.sqlite") as board:
        for record in (*rows, *controls):
            board.record(record)
    arguments = ["report", "--protocol", PROTOCOL, "--out", str(tmp_path / "report")]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    cells = control_cells((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    assert cells["ad-mamba"].strip() != ""
    assert cells["dpt-mamba"].strip() == ""


def test_a_marked_protocol_says_what_it_stands_for(make_record, tmp_path):
    """Beside a run of the plain protocol whatever differs; alone what stands in a configuration only if it was asked for."""
    adapt = {"episodes": 15, "rewards": "true"}
    plain = make_record(config={"adapt": adapt})
    marked = make_record(protocol=SHUFFLED, config={"adapt": {**adapt, "rewards": "shuffled"}, "train": {"tasks": 8}})
    words = f"{PROTOCOL} with train.tasks = 8, adapt.rewards = shuffled"
    for together in (True, False):
        folder = tmp_path / str(together)
        write_report([plain, marked] if together else [marked], folder)
        said = words if together else f"{PROTOCOL} with train.tasks = 8"
        page, text = (
            (folder / "index.html").read_text(encoding="utf-8"),
            (folder / "report.md").read_text(encoding="utf-8"),
        )
        assert f"<p><bdi>{said}</bdi></p>" in page
        assert f"\n{said}.\n" in text
        assert page.count("<p><bdi>") == 1


@pytest.mark.parametrize("config", [{}, {"train": "8"}, {"train": {"tasks": "<b>&"}}])
def test_settings_of_strangers_harm_no_page(make_record, tmp_path, config):
    write_report([make_record(protocol=SHUFFLED, config=config)], tmp_path)
    assert "<b>&" not in (tmp_path / "index.html").read_text(encoding="utf-8")
