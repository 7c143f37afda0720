"""What the user sees: rates and times that are true, resumed work as such, no flood without a terminal."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from icrl_bench.machine import progress as progress_module
from icrl_bench.machine.progress import Progress, StageProgress, format_seconds

NAMES = ["collect", "floors", "train seed 0", "adapt seed 0", "train seed 1", "adapt seed 1"]


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(clock: Clock, stage: StageProgress, seconds: float, units_per_second: float, start: float = 0.0) -> None:
    """Reports four times a second."""
    for tick in range(1, int(seconds * 4) + 1):
        clock.now += 0.25
        stage.set(int(start + tick * units_per_second / 4))


def test_without_a_terminal_there_is_a_line_every_ten_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]):
    with Progress(NAMES) as progress, progress.stage("collect", 10_000, "env steps") as stage:
        work(clock, stage, 95, 100)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "collect: 1,000/10,000 env steps, 100 env steps/s, ETA 1 min 30 s"
    assert lines[-1] == "collect: done, 9,500 env steps in 1 min 35 s"


def test_before_the_first_units_nothing_is_pretended(clock: Clock, capsys: pytest.CaptureFixture[str]):
    with Progress(NAMES) as progress, progress.stage("collect", 100, "env steps") as stage:
        work(clock, stage, 11, 0)
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "collect: 0/100 env steps, starting"


def test_a_resumed_stage_counts_its_own_work(clock: Clock, capsys: pytest.CaptureFixture[str]):
    with Progress(NAMES) as progress, progress.stage("collect", 10_000, "env steps", done=8_000) as stage:
        work(clock, stage, 10.5, 100, start=8_000)
        assert stage.rate == pytest.approx(100, rel=0.01)
        assert stage.remaining == pytest.approx(9.5, rel=0.02)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("collect: 9,000/10,000 env steps, 100 env steps/s, ETA 10.0 s")
    assert lines[-1] == "collect: done, 1,050 env steps in 10.5 s (8,000 were there before)"


def test_a_stage_of_unknown_beginning_measures_from_its_first_report(clock: Clock):
    """A training that goes on from kept progress reports the first update as number 501."""
    with Progress(NAMES, quiet=True) as progress, progress.stage("train seed 0", 1, "updates", done=None) as stage:
        clock.now += 30  # reading, compiling
        stage.total = 1000
        stage.set(501)
        assert stage.rate == 0
        assert stage.remaining is None
        clock.now += 10
        stage.set(521)
        assert stage.rate == pytest.approx(2)
        assert stage.remaining == pytest.approx(479 / 2)


def test_the_rate_is_that_of_the_last_minutes(clock: Clock):
    with Progress(NAMES, quiet=True) as progress, progress.stage("collect", 10**6, "env steps") as stage:
        work(clock, stage, 600, 10)
        work(clock, stage, 300, 100, start=6000)
        assert stage.rate == pytest.approx(100, rel=0.05)


def test_stages_that_are_there_are_said_and_counted(clock: Clock, capsys: pytest.CaptureFixture[str]):
    events: list[dict[str, Any]] = []
    with Progress(NAMES, on_event=events.append) as progress:
        progress.skip("collect", "all 21 histories are there")
    assert capsys.readouterr().err == "collect: all 21 histories are there\n"
    assert progress.finished == ["collect"]
    assert events == []


def test_a_stage_that_fails_is_not_called_done(clock: Clock, capsys: pytest.CaptureFixture[str]):
    events: list[dict[str, Any]] = []
    progress = Progress(NAMES, on_event=events.append)

    def fail() -> None:
        with progress, progress.stage("collect", 10, "env steps") as stage:
            stage.set(4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert capsys.readouterr().err == "collect: stopped, 4 env steps in 0.0 s\n"
    assert progress.finished == []
    assert [event["event"] for event in events] == ["stage_started", "stage_progress"]


def test_events_carry_what_the_hooks_promise(clock: Clock):
    events: list[dict[str, Any]] = []
    with Progress(NAMES, quiet=True, on_event=events.append) as progress:
        progress.run_id, progress.about = "abc", {"method": "ad-gru", "seed": 1}
        with progress.stage("train seed 1", 1, "updates", done=None) as stage:
            stage.total = 10
            work(clock, stage, 2, 5)
            stage.set(10, metrics={"loss": 0.5})
    first, *between, last = events
    common = {"run_id": "abc", "method": "ad-gru", "seed": 1, "stage": "train", "name": "train seed 1"}
    assert first == {"event": "stage_started", **common, "total": 1, "unit": "updates"}
    assert last == {"event": "stage_finished", **common, "seconds": 2.0}
    assert between[-1] == {
        "event": "stage_progress",
        **common,
        "done": 10,
        "total": 10,
        "unit": "updates",
        "metrics": {"loss": 0.5},
    }


def test_no_report_is_kept_from_the_hooks(clock: Clock):
    """However fast they come: a bar may skip some, a tracker's curve may not."""
    events: list[dict[str, Any]] = []
    with (
        Progress(NAMES, quiet=True, on_event=events.append) as progress,
        progress.stage("train", 50, "updates") as stage,
    ):
        for update in range(1, 51):
            stage.set(update, metrics={"loss": 1 / update})
    reports = [event for event in events if event["event"] == "stage_progress"]
    assert [report["done"] for report in reports] == list(range(1, 51))
    assert [report["metrics"]["loss"] for report in reports] == [1 / update for update in range(1, 51)]


def test_quiet_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]):
    with Progress(NAMES, quiet=True) as progress, progress.stage("collect", 100, "env steps") as stage:
        work(clock, stage, 60, 1)
        progress.message("hello")
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_a_terminal_shows_two_bars(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with Progress(NAMES) as progress, progress.stage("collect", 10_000, "env steps") as stage:
        work(clock, stage, 20, 100)
        clock.now += 1
        stage.set(2_100, "3/21 tasks")
        progress.display.refresh()
    text = terminal.getvalue()
    assert "whole run" in text
    assert "stage 1 of 6" in text
    assert "2,100/10,000 env steps" in text
    assert "100 env steps/s, 3/21 tasks" in text
    assert "ETA 1 min 19 s" in text
    assert "ETA > 1 min 19 s" in text  # no training was seen yet, so the whole run takes longer
    assert "collect: done, 2,100 env steps" in text


def test_the_whole_runs_time_is_known_once_each_kind_of_stage_was_seen(clock: Clock):
    progress = Progress(NAMES, quiet=True)
    assert progress._whole_eta(None) == ""
    for name, seconds in [("collect", 100), ("floors", 5), ("train seed 0", 60), ("adapt seed 0", 20)]:
        with progress.stage(name, 1, "units"):
            clock.now += seconds
    assert progress._whole_eta(10.0) == "ETA 30.0 s"  # ten of this training, twenty of the last adaptation
    assert Progress(NAMES, quiet=True)._whole_eta(10.0) == "ETA > 10.0 s"
    assert Progress(["collect"], quiet=True)._whole_eta(10.0) == "ETA 10.0 s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.96, "10.0 s"),
        (59.9, "59.9 s"),
        (59.99, "1 min 0 s"),
        (75, "1 min 15 s"),
        (3599.6, "1 h 0 min"),
        (7325, "2 h 2 min"),
    ],
)
def test_seconds_in_words(seconds: float, text: str):
    assert format_seconds(seconds) == text
