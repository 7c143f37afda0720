"""What may not be written can be read: another account's home, a share mounted read-only, with or without a log beside it.

Each test reads in a process that has lost root's right to write everywhere, if it ever had it.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_registry.errors import UsageError

READ = """
import sys
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_registry.errors import UsageError
with Leaderboard(sys.argv[1]) as board:
    print([run.run_id for run in board.runs()], [study.name for study in board.studies()])
"""
WRITE = """
import sys
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_registry.errors import UsageError
from icrl_registry.errors import BenchError
try:
    Leaderboard(sys.argv[1]).delete("x")
except BenchError as error:
    print(error.message)
"""
COMMAND = "import sys; from icrl_bench.cli.main import main; sys.exit(main())"
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2


def lose_rights_over_permissions():
    libc = ctypes.CDLL(None)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def call(*command):
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        preexec_fn=lose_rights_over_permissions,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def home(tmp_path, make_record):
    """A home with one run that nobody may write; its name has what a URL would take for something else."""
    folder = tmp_path / "job%2Fmain?a#b c"
    with Leaderboard(folder / "leaderboard.sqlite") as board:
        board.record(make_record(num_tasks=2, num_episodes=3))
    yield folder
    folder.chmod(0o755)


def lock(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)


def leave_a_log(path: Path, record) -> None:
    """A second run that stands in the log alone, as a killed writer leaves it."""
    kept = path.with_name("kept")
    kept.mkdir()
    with Leaderboard(path) as board:
        board.record(record)
        for each in (path, Path(f"{path}-wal")):
            shutil.copy(each, kept)
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()
    for each in kept.iterdir():
        each.rename(path.parent / each.name)
    kept.rmdir()
    assert Path(f"{path}-wal").stat().st_size > 0


def test_a_finished_leaderboard(home, make_record):
    lock(home)
    before = sorted(home.iterdir())
    assert call("-c", READ, home / "leaderboard.sqlite") == f"{[make_record().run_id]} []\n"
    assert sorted(home.iterdir()) == before
    assert "read-only" in call("-c", WRITE, home / "leaderboard.sqlite")


def test_one_with_a_log_that_a_killed_writer_left(home, make_record):
    other = make_record(seed=1, num_tasks=2, num_episodes=3)
    leave_a_log(home / "leaderboard.sqlite", other)
    lock(home)
    expected = [make_record().run_id, other.run_id]
    assert call("-c", READ, home / "leaderboard.sqlite") == f"{expected} []\n"


def test_one_that_somebody_else_is_writing(home, make_record):
    """Its index lies beside it and can be read, so a reader sees each commit."""
    with Leaderboard(home / "leaderboard.sqlite") as board:
        board.record(make_record(seed=1, num_tasks=2, num_episodes=3))
        for path in home.iterdir():
            path.chmod(0o444)
        home.chmod(0o555)
        assert call("-c", READ, home / "leaderboard.sqlite").count("reacher") == 2
        home.chmod(0o755)


def test_a_file_alone_that_may_not_be_written(home):
    (home / "leaderboard.sqlite").chmod(0o444)
    assert call("-c", READ, home / "leaderboard.sqlite").count("reacher") == 1


def test_the_reading_commands(home, tmp_path, make_record):
    leave_a_log(home / "leaderboard.sqlite", make_record(seed=1, num_tasks=2, num_episodes=3))
    lock(home)
    shown = json.loads(call("-c", COMMAND, "leaderboard", "show", "--home", home, "--json"))
    assert sum(len(row.get("run_ids", [])) for row in shown["rows"]) == 2
    exported = call("-c", COMMAND, "leaderboard", "export", "--home", home)
    assert len(exported.splitlines()) == 1 + 2 * 2 * 3
    call("-c", COMMAND, "leaderboard", "report", "--home", home, "--out", tmp_path / "report")
    assert (tmp_path / "report" / "index.html").stat().st_size > 1000


@pytest.mark.parametrize("names", [("lab?a", "lab?b"), ("job%2Fmain", "job/main"), ("lab#1", "lab"), ("a&b=c", "a")])
def test_homes_are_told_apart_by_every_character(names, tmp_path, monkeypatch, make_record):
    from icrl_bench.cli.options import LeaderboardPlace

    for seed, name in enumerate(names):
        with LeaderboardPlace(home=tmp_path / name).open() as board:
            assert board.place == str(tmp_path / name / "leaderboard.sqlite")
            board.record(make_record(seed=seed, num_tasks=1, num_episodes=1))
    for seed, name in enumerate(names):
        path = tmp_path / name / "leaderboard.sqlite"
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT seed FROM runs").fetchall() == [(seed,)]
        connection.close()


def test_a_path_object_is_never_a_url(tmp_path, monkeypatch, make_record):
    monkeypatch.chdir(tmp_path)
    with Leaderboard(Path("sqlite://x?y")) as board:
        board.record(make_record(num_tasks=1, num_episodes=1))
    assert (tmp_path / "sqlite:" / "x?y").is_file()


def test_a_folder_is_no_leaderboard(tmp_path, make_record):
    with Leaderboard(tmp_path) as board:
        for use in (board.runs, lambda: board.record(make_record())):
            with pytest.raises(UsageError, match="is a folder"):
                use()
