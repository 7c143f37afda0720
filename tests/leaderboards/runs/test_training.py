"""The log of a training: what is read from a checkpoint's manifest, and what is made of it."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from icrl_leaderboards.report.marks import trend_mark
from icrl_leaderboards.report.writing import write_report
from icrl_leaderboards.runs.training import Series, TrainingLog, spark
from icrl_leaderboards.terminal.run_page import print_rise, print_run, trend

MANIFEST = {
    "seconds": 20.0,
    "curve": [
        {"updates": 1.0, "loss": 4.0},
        {"updates": 50.0, "loss": 2.0, "validation_mean_return": -30.5},
        {"updates": 100.0, "loss": 1.0, "validation_mean_return": -10.25},
    ],
}


def test_what_the_manifest_says():
    log = TrainingLog.from_manifest(MANIFEST)
    assert (log.updates, log.seconds, log.updates_per_second) == (100, 20.0, 5.0)
    assert log.series() == [
        Series("loss", (1.0, 50.0, 100.0), (4.0, 2.0, 1.0)),
        Series("validation_mean_return", (50.0, 100.0), (-30.5, -10.25)),
    ]
    assert log.steps_per_second({"method": {"batch_size": 4, "context_length": 30}}) == 5.0 * 4 * 30
    for config in ({}, {"method": {"batch_size": 4}}, {"method": {"batch_size": 4, "context_length": "full"}}):
        assert log.steps_per_second(config) is None


@pytest.mark.parametrize(
    "manifest",
    [{}, {"curve": None}, {"curve": [{"loss": 1.0}]}, {"curve": [{"updates": "ten"}], "seconds": "long"}],
    ids=repr,
)
def test_a_manifest_without_a_curve(manifest):
    log = TrainingLog.from_manifest(manifest)
    assert (log.updates, log.seconds, log.updates_per_second, log.series()) == (0, 0.0, None, [])


def test_lines_of_blocks():
    assert spark([0.0, 7.0, 3.5, 1.0]) == "▁█▅▂"
    assert spark([2.0, 2.0]) == "▅▅"
    assert Series("x", (), tuple(range(8))).binned(4) == [0.5, 2.5, 4.5, 6.5]
    assert trend(Series("loss", (), (12.5, 3.0)), 9) == "12.50 → 3.00  █▁"
    assert trend(Series("learning_rate", (), (0.001, 0.00025)), 9) == "0.001 → 0.00025  █▁"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_run_on_a_terminal(make_record, width):
    record = make_record(diagnostics={"tokens_seen": 2000.0})
    stream = io.StringIO()
    different = [("method.context_length", 200, None), ("adapt.episodes", 5, 20)]
    console = Console(file=stream, width=width, highlight=False, color_system=None)
    print_run(record, TrainingLog.from_manifest(MANIFEST), different, console)
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= width
    flat = " ".join(text.split())
    for words in (
        record.run_id, record.checkpoint, record.dataset, "loss 4.00 → 1.00", "validation mean return −30.50 → −10.25",
        "100 in 20 s, 5 a second", "adapt.episodes 5 (protocol: 20)", "method.context_length 200 (protocol: none)",
        "tokens_seen 2,000", "collect", "environment steps", "oracle", "random",
    ):  # fmt: skip
        assert words in flat


def test_what_is_not_known_is_said(make_record):
    stream = io.StringIO()
    print_run(make_record(), None, "not known: no plugin", Console(file=stream, width=100, color_system=None))
    assert "the checkpoint is not in this home folder" in stream.getvalue()
    assert "not known: no plugin" in stream.getvalue()


def test_the_fold_out_of_the_report(make_record, tmp_path):
    record, other = make_record(), make_record("ad-dt")
    log = TrainingLog.from_manifest(MANIFEST)
    write_report([record, other], tmp_path, trainings={record.run_id: log})
    page = (tmp_path / "index.html").read_text()
    assert page.count('<table class="training">') == 1
    assert "Training: 100 updates in 20 s, 5 updates a second" in page
    cells = page.partition("validation mean return")[2].partition("</tr>")[0]
    assert [each.partition("<")[0] for each in cells.split("<td>")[1:]] == ["−30.5", "−10.25", "−30.5", "−10.25"]
    assert str(trend_mark(log.series()[0])) in page
    assert 'points="2.0,2.0 60.0,11.3 118.0,16.0"' in page  # 4, 2, 1: from the top to the bottom
    assert json.dumps(MANIFEST["curve"]) not in page


def test_a_run_ends_with_the_rise_of_its_returns_as_a_line():
    """Two seeds of two tasks: the mean of each episode, from the first to the last, and blocks that rise with it."""
    first = SimpleNamespace(returns=[[0.0, 1.0, 2.0, 6.0], [2.0, 3.0, 6.0, 8.0]])
    second = SimpleNamespace(returns=[[1.0, 1.0, 2.0, 6.0], [1.0, 3.0, 6.0, 8.0]])
    stream = io.StringIO()
    print_rise([first, second], Console(file=stream, width=60, color_system=None))
    heading, line = stream.getvalue().strip().splitlines()
    assert heading == "Return by episode, 1 to 4, mean of 2 unseen tasks:"
    assert line.split() == ["1.00", "→", "7.00", "▁▂▅█"]
    narrow = io.StringIO()
    print_rise([first], Console(file=narrow, width=30, color_system=None))
    assert max(map(len, narrow.getvalue().splitlines())) <= 30
