"""What a process of its own finds out about a file that SQLite called damaged."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.database.second_look import look_again


@pytest.fixture
def path(tmp_path, make_record) -> Path:
    """A leaderboard whose name has what a URL would take for something else."""
    path = tmp_path / "a?b#c%2F" / "leaderboard.sqlite"
    with Leaderboard(path) as board:
        board.record(make_record(num_tasks=2, num_episodes=3))
    return path


def test_a_whole_file(path):
    assert look_again(path) is True


@pytest.mark.parametrize("damage", ["cut", "no database", "zeros in the middle"])
def test_a_damaged_file(damage, path):
    content = path.read_bytes()
    middle = len(content) // 2 // 4096 * 4096
    zeros = content[:middle] + bytes(8192) + content[middle + 8192 :]
    path.write_bytes({"cut": content[: middle + 100], "no database": b"x" * 5000, "zeros in the middle": zeros}[damage])
    assert look_again(path) is False


@pytest.mark.parametrize("which", ["", "-wal"])
def test_what_cannot_be_read_is_told_as_the_system_does(which, path):
    """A process's memory has no page at address 0: reading it is an input/output error on every Linux."""
    unreadable = Path(f"{path}{which}")
    unreadable.unlink(missing_ok=True)
    unreadable.symlink_to("/proc/self/mem")
    found = look_again(path)
    assert isinstance(found, OSError)
    assert (found.errno, found.filename) == (errno.EIO, str(unreadable))


def test_a_look_that_fails_says_nothing(path, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.executable", str(tmp_path / "nowhere"))
    assert look_again(path) is None


def test_the_file_stays_as_it_is(path):
    before = path.read_bytes()
    look_again(path)
    assert path.read_bytes() == before
