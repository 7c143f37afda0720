"""Every command at 60, 80 and 200 columns, in a pipe and without colours: no word is cut."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from icrl_bench.cli.main import app
from icrl_bench.machine import progress as progress_module
from icrl_bench.runs.durations import estimate

Run = Callable[..., Any]
WIDTHS = (60, 80, 200)
#: Headings of first columns, for which a list of blocks has no line.
FIRST_COLUMNS = {"environment", "run", "kind", "setting", "address", "task"}
#: Commands that only look, after one recorded run.
LOOKING = (
    ["runs", "list"], ["runs", "show", "latest"], ["leaderboard", "show"], ["leaderboard", "studies"], ["data", "list"],
    ["data", "show"], ["plugins", "list", "--no-load"], ["plugins", "show", "ppo"], ["plugins", "show", "toy-source"],
    ["protocols", "list"], ["protocols", "diff", "laptop-v1", "laptop-v2"], ["tasks", "pusher-goal"],
    ["leaderboard", "compare", "toy-method", "toy-online"], ["claims"], ["claims", "--format", "markdown"],
    ["run", "-m", "ad-mamba", "-e", "dark-room", "-p", "smoke", "--dry-run"],
    ["sweep", "-m", "ad-mamba", "-e", "dark-room", "-p", "smoke", "--vary", "method.updates=10,20", "--dry-run"],
)  # fmt: skip


def paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in sorted(getattr(command, "commands", {}).items()):
        yield from paths(below, (*path, name))


def words(text: str) -> set[str]:
    """What a reader copies: everything between blanks. Lines of blocks, rules and bars are no words."""
    text = re.sub(r"(?<=\w)-\n\s+", "-", text)  # prose may go on in the next line behind a hyphen
    return {word for word in text.split() if not re.fullmatch(r"[─━▁-█|│·-]+", word)}


def at_widths(cli: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], widths: Sequence[int]) -> dict[int, str]:
    texts = {}
    for width in widths:
        monkeypatch.setenv("COLUMNS", str(width))
        output = cli(*arguments)
        assert output.code == 0, output.err
        assert "\x1b" not in output.out
        texts[width] = output.out
    return texts


def assert_nothing_is_cut(texts: dict[int, str]) -> None:
    for width, text in texts.items():
        missing = words(texts[200]) - words(text) - FIRST_COLUMNS
        assert not missing, f"at {width} columns: {sorted(missing)}"
        assert text.count("…") <= texts[200].count("…"), width


def test_the_help_of_every_command(cli: Run, monkeypatch: pytest.MonkeyPatch):
    found = list(paths(typer.main.get_command(app)))
    assert len(found) > 25
    for path in found:
        assert_nothing_is_cut(at_widths(cli, monkeypatch, [*path, "--help"], WIDTHS))


def test_what_commands_print(run: Run, cli: Run, monkeypatch: pytest.MonkeyPatch):
    for method in ("toy-method", "toy-online"):
        assert run("--json", method=method).code == 0
    # What is measured differs each time.
    monkeypatch.setattr(estimate, "steps_per_second", lambda environment, task: 1000.0)
    monkeypatch.setattr(estimate, "rounds_per_second", lambda: 10_000.0)
    for arguments in LOOKING:
        widths = WIDTHS if arguments[0] in ("data", "plugins") else (60, 200)
        assert_nothing_is_cut(at_widths(cli, monkeypatch, arguments, widths))


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_bars_say_what_there_is_room_for(monkeypatch: pytest.MonkeyPatch, width: int):
    stream = io.StringIO()

    class Terminal(Console):
        def __init__(self, **given: Any) -> None:
            super().__init__(file=stream, width=width, force_terminal=True, color_system=None, legacy_windows=False)

    monkeypatch.setattr("rich.console.Console", Terminal)
    display = progress_module._make_display()
    display.add_task("whole run", total=4, completed=1, count="stage 2 of 4", note="", eta="ETA > 12 min 30 s")
    rates = "9.09 updates/s, loss 0.04217, learning_rate 0.0013, validation_mean_return -81.79"
    display.add_task(
        "train seed 0", total=1500, completed=1500, count="700/1,500 updates", note=rates, eta="ETA 1 min 28 s"
    )
    lines = display.console.render_lines(display.get_renderable(), pad=False)
    texts = ["".join(segment.text for segment in line).rstrip() for line in lines]
    assert len(texts) == 2
    assert all(len(text) <= width for text in texts)
    assert texts[0].startswith("whole run")
    assert "ETA > 12 min 30 s" in texts[0]
    assert "ETA 1 min 28 s" in texts[1]
    assert ("700/1,500 updates" in texts[1]) == (width >= progress_module.MEDIUM)
    assert ("100 %" in texts[1]) == (width < progress_module.MEDIUM)
    assert ("9.09 updates/s" in texts[1]) == (width >= progress_module.WIDE)
    assert texts[1].count("━") >= 8


def test_completion(cli: Run, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """As bash asks: commands, environments, methods, protocols, run ids."""
    from icrl_bench.cli import completion

    monkeypatch.setattr(completion, "cache_file", lambda: tmp_path / "cache" / "methods.json")
    made = run("--json").document["runs"][0]
    monkeypatch.setenv("_ICRL_BENCH_COMPLETE", "complete_bash")

    def offered(*typed: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", " ".join(("icrl-bench", *typed)))
        monkeypatch.setenv("COMP_CWORD", str(len(typed)))
        output = cli()
        assert (output.code, output.err) == (0, "")
        return output.out.split()

    assert offered("ru") == ["run", "runs"]
    assert offered("run", "--env", "toy-p") == ["toy-point", "toy-point-v1"]
    assert offered("run", "--method", "ad-") == sorted(
        f"ad-{point.name}" for point in entry_points(group="icrl_bench.backbones")
    )
    assert offered("grid", "--methods", "macaw,mq") == ["macaw,mql"]
    assert (tmp_path / "cache" / "methods.json").exists()
    assert offered("tasks", "pusher") == ["pusher-goal", "pusher-goal-v1", "pusher-goal-v2"]
    assert "laptop-v2" in offered("run", "-p", "lap")
    assert offered("watch", made["run_id"][:4]) == [made["run_id"]]
    assert offered("watch", "la") == ["latest"]
    assert offered("run", "--tracker", "tens") == ["tensorboard"]
    monkeypatch.delenv("_ICRL_BENCH_COMPLETE")
    assert cli("--show-completion").code in (0, 1)  # 1 where no shell is known; never an internal error
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    output = cli("--show-completion", "bash")
    assert output.code == 0
    assert "_ICRL_BENCH_COMPLETE=complete_bash" in output.out
