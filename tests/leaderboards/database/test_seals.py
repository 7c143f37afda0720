"""A run that is not as it was recorded is found, whatever was changed and whoever reads it."""

from __future__ import annotations

import sqlite3

import pytest

from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_registry.errors import DamagedArtefactError

#: What a flipped bit or an editor may do to a run's rows: each is still a run of the right form.
CHANGES = {
    "a return": "UPDATE episodes SET returns = CAST(x'0000000000000040' || substr(returns, 9) AS BLOB) WHERE task = 1",
    "a reference": "UPDATE tasks SET oracle = oracle + 1 WHERE task = 0",
    "the method": "UPDATE runs SET method = 'ad-mambb'",
    "the budget": "UPDATE runs SET train_env_steps = train_env_steps + 1",
    "a plugin": "UPDATE plugins SET content_hash = 'x' WHERE position = 0",
    "the label of a task": "UPDATE tasks SET label = 'else' WHERE task = 0",
    "the seconds": "UPDATE stages SET seconds = seconds + 1",
}
#: What only whole records have.
UNSEEN_BY_SCORES = {
    "a length": "UPDATE episodes SET lengths = CAST(x'01000000' || substr(lengths, 5) AS BLOB) WHERE task = 1",
    "the address of the data": "UPDATE artefacts SET address = '0' WHERE kind = 'dataset'",
    "a setting": "UPDATE runs SET config = '{}'",
    "a fact": "UPDATE provenance SET value = '1'",
    "a task": "UPDATE tasks SET parameters = '[1.0]'",
}


@pytest.fixture
def board(tmp_path, make_record):
    """Two runs; the first is to be changed."""
    with Leaderboard(tmp_path / "board.sqlite") as board:
        board.record(make_record(num_tasks=2, num_episodes=3))
        yield board


def change(board: Leaderboard, statement: str) -> None:
    with sqlite3.connect(str(board.url.database)) as connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()


@pytest.mark.parametrize("what", CHANGES)
def test_scores_are_as_they_were_recorded(what, board):
    change(board, CHANGES[what])
    with pytest.raises(
        DamagedArtefactError, match=rf"{board.url.database} is damaged: run .* differs from its checksum"
    ) as caught:
        board.scores()
    assert "leaderboard rm" in caught.value.hint


@pytest.mark.parametrize("what", [*CHANGES, *UNSEEN_BY_SCORES])
def test_records_are_as_they_were_recorded(what, board, make_record):
    change(board, {**CHANGES, **UNSEEN_BY_SCORES}[what])
    with pytest.raises(DamagedArtefactError, match="differs from its checksum"):
        board.runs()
    assert board.delete(board.run_ids()[0])
    board.record(make_record(num_tasks=2, num_episodes=3))
    assert len(board.runs()) == 1


def test_rows_of_before_have_no_checksum(board):
    change(board, "UPDATE runs SET scores_sha256 = NULL, record_sha256 = NULL")
    change(board, CHANGES["a reference"])
    assert len(board.scores()) == len(board.runs()) == 1


def test_whole_numbers_come_back_as_fractions_and_that_is_no_change(tmp_path, make_record):
    integers = make_record(num_tasks=2, num_episodes=3, seconds={"adapt": 3}, diagnostics={"tokens": 7}, random=[0, 1])
    with Leaderboard(tmp_path / "board.sqlite") as board:
        board.record(integers)
        assert board.runs() == [integers]
        assert len(board.scores()) == 1
