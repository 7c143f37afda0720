"""`icrl-bench watch`: the file that comes out, what it says of the run, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icrl_leaderboards.database.leaderboard import Leaderboard

Run = Callable[..., Any]
SIZE = 64


@pytest.fixture
def made(run: Run) -> dict[str, Any]:
    """A recorded toy run, as `run --json` prints it."""
    return run("--json").document["runs"][0]


def pictures(path: Path) -> list[np.ndarray]:
    with Image.open(path) as image:
        frames = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB")).astype(int))
        return frames


def test_a_gif_of_the_recorded_adaptation(cli: Run, made: dict[str, Any], tmp_path: Path):
    out = tmp_path / "below" / "adapt.gif"
    document = cli("watch", "latest", "--out", out, "--size", SIZE, "--task", "test-001", "--json").document
    assert document["largest_difference"] == 0.0
    assert document["run_id"] == made["run_id"]
    assert document["task"] == "test-001"
    returns = made["returns"][1]
    assert [(each["episode"], each["return"]) for each in document["episodes"]] == [
        (number, pytest.approx(returns[number - 1])) for number in (1, 3)
    ]
    frames = pictures(out)
    assert document["bytes"] == out.stat().st_size
    assert len(frames) == document["frames"] == 11  # a horizon of ten steps, each drawn, and the reset
    assert list(out.parent.iterdir()) == [out]


def test_where_the_goal_and_the_point_are(cli: Run, made: dict[str, Any], tmp_path: Path):
    """The plugin's picture lies unscaled in the whole one; what the agent is not told is in it and in words."""
    out = tmp_path / "a.png"
    document = cli("watch", made["run_id"][:6], "-o", out, "--size", 300, "--episodes", "2", "--json").document
    goal = [float(part.split()[2].replace("−", "-")) for part in document["hidden"].split(" · ")]
    (frame,) = pictures(out)
    frame = frame[: len(frame) // 3]  # the first of three moments
    top, left = np.argwhere((frame == 128).all(axis=-1)).min(axis=0)
    for colour, (x, y) in (([0, 255, 0], goal), ([255, 0, 0], (0.0, 0.0))):  # the point starts in the middle, or nearly
        row, column = np.argwhere((frame == colour).all(axis=-1)).mean(axis=0)
        tolerance = 1.5 if colour[1] else 16
        assert (row - top, column - left) == pytest.approx(((1 - y) / 2 * 299, (x + 1) / 2 * 299), abs=tolerance)


def test_mp4_and_png(cli: Run, made: dict[str, Any], tmp_path: Path):
    import imageio_ffmpeg

    assert cli("watch", "latest", "--out", tmp_path / "a.mp4", "--size", SIZE).code == 0
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "a.mp4"))
    assert frames == 11 + 20
    assert seconds == pytest.approx(31 / 12.5, abs=0.1)
    assert cli("watch", "latest", "--out", tmp_path / "a.png", "--size", SIZE).code == 0
    (still,) = pictures(tmp_path / "a.png")
    assert cli("watch", "latest", "--out", tmp_path / "a.gif", "--size", SIZE).code == 0
    moving = pictures(tmp_path / "a.gif")
    assert still.shape == (3 * moving[0].shape[0], *moving[0].shape[1:])


def test_the_words(cli: Run, made: dict[str, Any], tmp_path: Path):
    output = cli("watch", "latest", "--out", tmp_path / "a.gif", "--size", SIZE)
    assert output.code == 0
    assert "toy-method on test-00" in output.out
    assert "the returns are those of the recorded run, to the last bit" in output.out


def test_returns_that_are_others_are_said_to_be(cli: Run, made: dict[str, Any], tmp_path: Path):
    with Leaderboard(tmp_path / "home" / "leaderboard.sqlite") as board:
        (record,) = board.runs()
        board.record(replace(record, returns=[[value - 0.5 for value in task] for task in record.returns]))
    output = cli("watch", "latest", "--out", tmp_path / "a.gif", "--size", SIZE)
    assert output.code == 0
    assert "differ from the recorded ones by up to 0.5" in output.out


def test_what_cannot_be_watched(cli: Run, made: dict[str, Any]):
    for arguments, words, hint in (
        (["--episodes", "1,9"], "the row has the episodes 1 to 3", "1,3"),
        (["--episodes", "first"], "cannot read --episodes", "1,5,20"),
        (["--task", "test-9"], "test-9", "test-00"),
        (["--out", "adapt.webm"], "adapt.webm", ".gif"),
    ):
        error = cli("watch", "latest", *arguments, "--json").error
        assert words in error["message"]
        assert hint in error["hint"]


def test_a_run_that_is_not_there(cli: Run, run: Run, tmp_path: Path):
    assert "no run is recorded" in cli("watch", "latest", "--json").error["message"]
    made = run("--json").document["runs"][0]
    assert "abc" in cli("watch", "abc", "--json").error["message"]
    for file in (tmp_path / "home" / "checkpoints" / made["checkpoint"]).iterdir():
        file.unlink()
    (tmp_path / "home" / "checkpoints" / made["checkpoint"]).rmdir()
    error = cli("watch", "latest", "--json").error
    assert made["checkpoint"] in error["message"]
    assert "icrl-bench run -m toy-method" in error["hint"]


def test_the_sources_own_runs_have_no_agent(cli: Run, run: Run):
    run("--json", method="source")
    assert "no agent adapts" in cli("watch", "latest", "--json").error["message"]


def test_an_environment_without_pictures(cli: Run, run: Run):
    assert run("--json", env="toy-measured").code == 0
    error = cli("watch", "latest", "--json").error
    assert "toy-measured-v1 has no picture" in error["message"]
    assert "icrl_bench.renderers" in error["hint"]


def test_a_backend_that_does_not_draw_says_why():
    from icrl_bench.watching import opengl

    assert "nonsense" in opengl.try_backend("nonsense")
