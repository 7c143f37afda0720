"""The store gives back what it was given, refuses what it cannot read, and says what to do about it."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from icrl_leaderboards.database import connections
from icrl_leaderboards.database.connections import LeaderboardError, parse_location
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.database.schema import SCHEMA_VERSION
from icrl_leaderboards.runs.record import PluginUse, RunRecord
from icrl_leaderboards.runs.scores import RunScores
from icrl_registry.errors import BenchError, DamagedArtefactError, UnknownNameError, UsageError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "leaderboard.sqlite"


@pytest.fixture
def board(path):
    with Leaderboard(path) as board:
        yield board


def test_a_run_comes_back_equal(board, make_record):
    record = make_record(
        returns=np.random.default_rng(0).normal(scale=1e5, size=(10, 50)).tolist(),
        oracle=[None, *range(9)],
        oracle_greedy=[None] * 10,
        backbone=None,
        variant={"method.sizes": [64, 32], "method.dropout": 0.1, "method.window": None},
        provenance={"git": None, "dirty": True, "nested": {"a": [1, 2.0, "x", {}]}},
        seconds={},
        plugins=[],
    )
    board.record(record)
    assert board.runs() == [record]


numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda each: st.lists(each, max_size=2) | st.dictionaries(texts, each, max_size=2),
    max_leaves=3,
)
documents = st.dictionaries(texts, values, max_size=2)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_run_comes_back_equal(tmp_path_factory, data):
    tasks, episodes = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))

    def table(elements, width):
        return data.draw(st.lists(st.lists(elements, min_size=width, max_size=width), min_size=tasks, max_size=tasks))

    def column(elements):
        return data.draw(st.lists(elements, min_size=tasks, max_size=tasks))

    counts = st.integers(0, 2**63 - 1)
    record = RunRecord(
        run_id=data.draw(texts.filter(bool)),
        **{name: data.draw(texts) for name in ("method", "environment", "protocol", "track", "checkpoint", "dataset")},
        **{
            name: data.draw(counts)
            for name in ("seed", "parameters", "train_env_steps", "adapt_env_steps", "collect_env_steps")
        },
        backbone=data.draw(st.none() | texts),
        task_parameters=table(numbers, 2),
        task_labels=column(texts),
        returns=table(numbers, episodes),
        episode_lengths=table(st.integers(0, 2**31 - 1), episodes),
        random=column(numbers),
        zero_action=column(numbers),
        oracle=column(st.none() | numbers),
        oracle_greedy=column(st.none() | numbers),
        seconds=data.draw(st.dictionaries(texts, numbers, max_size=2)),
        diagnostics=data.draw(st.dictionaries(texts, numbers, max_size=2)),
        **{name: data.draw(documents) for name in ("variant", "config", "provenance")},
        plugins=[PluginUse(*data.draw(st.tuples(*[texts] * 5)))],
        created_at="2026-01-31T12:00:00+00:00",
        success=table(st.floats(0, 1), episodes) if data.draw(st.booleans()) else None,
        blind_ceiling=column(numbers) if data.draw(st.booleans()) else None,
        protocol_content=data.draw(st.none() | texts),
    )
    with Leaderboard(tmp_path_factory.mktemp("store") / "x.sqlite") as board:
        board.record(record)
        board.record(record)
        assert board.runs() == [record]


def test_recording_again_replaces(board, make_record):
    first, second = make_record(seed=0), make_record(seed=1)
    board.record(first)
    board.record(second)
    changed = dataclasses.replace(first, returns=[[0.0] * 3] * 10, episode_lengths=[[1] * 3] * 10)
    board.record(changed)
    assert board.runs() == sorted([changed, second], key=lambda run: run.run_id)


def test_deleting_leaves_nothing_behind(board, path, make_record):
    board.record(make_record(seed=0))
    board.record(make_record(seed=1))
    assert board.delete(make_record(seed=0).run_id)
    assert not board.delete(make_record(seed=0).run_id)
    assert board.runs() == [make_record(seed=1)]
    with sqlite3.connect(path) as connection:
        for table in ("tasks", "episodes", "stages", "artefacts", "plugins", "provenance", "diagnostics"):
            assert connection.execute(f"SELECT count(DISTINCT run) FROM {table}").fetchone() == (1,), table


def test_filters(board, make_record):
    for environment in ("reacher-goal-v1", "reacher-goal-v2", "ant-dir-v1"):
        for seed in range(2):
            board.record(make_record(environment=environment, seed=seed, num_tasks=2, num_episodes=3))
    changed = make_record(protocol="laptop-v0+1a2b3c", environment="ant-dir-v1", num_tasks=2, num_episodes=3)
    board.record(changed)
    assert len(board.runs()) == 7
    assert {run.environment for run in board.runs(environment="reacher-goal")} == {"reacher-goal-v1", "reacher-goal-v2"}
    assert len(board.runs(environment="reacher-goal-v1", seed=1)) == 1
    assert len(board.runs(protocol="laptop")) == 7
    assert len(board.runs(protocol="laptop-v0")) == 6
    assert board.runs(run_ids=[changed.run_id]) == [changed]
    assert board.runs(run_ids=[]) == []
    assert board.runs(method="ad-dt") == []
    assert board.runs(environment="reacher-goal-v%") == []


def test_unknown_names_are_refused_with_the_nearest(board, make_record):
    board.require_names(environment="anything")  # an empty leaderboard knows no names to compare with
    board.record(make_record())
    board.require_names(environment="reacher-goal", method="ad-mamba", protocol=None)
    with pytest.raises(UnknownNameError) as caught:
        board.require_names(method="ad-manba")
    assert "ad-mamba" in caught.value.hint


def test_scores_are_those_of_the_records(board, make_record):
    board.record(make_record(seed=0, oracle=[None, *[-2.0] * 9]))
    board.record(make_record(seed=1, num_tasks=3, num_episodes=2))
    for scores, record in zip(board.scores(), board.runs(), strict=True):
        expected = RunScores.from_record(record)
        for field in dataclasses.fields(RunScores):
            if field.name != "references":
                found = getattr(scores, field.name)
                np.testing.assert_array_equal(found, getattr(expected, field.name), err_msg=field.name)
        assert scores.references.keys() == expected.references.keys()
        for name, values in scores.references.items():
            np.testing.assert_array_equal(values, expected.references[name], err_msg=name)


def test_reading_costs_as_many_queries_for_many_runs_as_for_one(board, make_record):
    statements = []
    board.record(make_record(seed=0, num_tasks=2, num_episodes=2))
    event.listen(board._engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    board.runs()
    few = len(statements)
    for seed in range(1, 8):
        board.record(make_record(seed=seed, num_tasks=2, num_episodes=2))
    statements.clear()
    assert len(board.runs()) == 8
    assert len(statements) == few


def test_hostile_names_are_data(board, make_record, hostile_names):
    records = [
        make_record(run_id=f"{index}{name[:100]}", method=name, task_labels=[name] * 10, provenance={name[:255]: name})
        for index, name in enumerate(hostile_names)
    ]
    for record in records:
        board.record(record)
    assert board.runs() == sorted(records, key=lambda run: run.run_id.encode())
    for record in records:
        assert record in board.runs(method=record.method)


# --- Where it is ---------------------------------------------------------------------------------------------------------


def test_reading_makes_no_file(board, path):
    assert board.runs() == []
    assert board.scores() == []
    assert not board.delete("x")
    assert not path.parent.exists()


def test_a_path_and_its_url_are_one_place(path, make_record):
    with Leaderboard(str(path)) as by_path, Leaderboard(f"sqlite:///{path}") as by_url:
        by_path.record(make_record())
        assert by_url.runs() == [make_record()]
        assert by_url.place == by_path.place == str(path)


def test_a_leaderboard_in_memory(make_record):
    with Leaderboard("sqlite://") as board:
        assert board.runs() == []
        board.record(make_record())
        assert board.runs() == [make_record()]


@pytest.mark.parametrize(
    ("location", "hint"),
    [
        ("", "give --leaderboard"),
        ("nosuch://host/name", "sqlite:///PATH"),
        ("postgresql+nosuchdriver://host/name", ""),
        ("http://[broken", "postgresql"),
        ("\x00", "give --leaderboard"),
    ],
)
def test_a_location_that_is_none(location, hint):
    with pytest.raises(UsageError) as caught:
        Leaderboard(location)
    assert hint in caught.value.hint


def test_passwords_are_never_shown(monkeypatch):
    url = parse_location("postgresql://me:secret@localhost:1/name")
    with pytest.raises(BenchError) as caught, connections.readable_errors(url):
        raise connections.exc.OperationalError("SELECT 1", {}, Exception("connection refused"))
    assert "secret" not in str(caught.value.as_json())
    assert "connection refused" in caught.value.message


def test_a_folder_is_refused(tmp_path, make_record):
    with pytest.raises(UsageError, match="is a folder"):
        Leaderboard(tmp_path).record(make_record())
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot make the folder"):
        Leaderboard(tmp_path / "file" / "leaderboard.sqlite").record(make_record())


# --- What can be wrong with it -------------------------------------------------------------------------------------------


def test_write_ahead_logging_and_foreign_keys_are_on(board, path, make_record):
    board.record(make_record())
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with connections.transaction(board._engine, write=False) as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == connections.BUSY_TIMEOUT_MS


def test_something_that_is_no_database(board, path, make_record):
    path.parent.mkdir()
    path.write_text("these are not the runs you are looking for" * 100)
    for operation in (board.runs, lambda: board.record(make_record())):
        with pytest.raises(DamagedArtefactError) as caught:
            operation()
        assert f"mv {path}" in caught.value.hint
        assert caught.value.exit_code == 5


def test_a_damaged_page(board, path, make_record):
    for seed in range(8):
        board.record(make_record(seed=seed))
    board.close()
    content = bytearray(path.read_bytes())
    content[8192:-4096] = b"\xff" * (len(content) - 12288)
    path.write_bytes(content)
    with pytest.raises(DamagedArtefactError):
        board.runs()


def test_episodes_that_were_cut_short(board, path, make_record):
    board.record(make_record())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE episodes SET returns = substr(returns, 1, 16) WHERE task = 3")
    for operation in (board.runs, board.scores):
        with pytest.raises(DamagedArtefactError, match=f"{path} is damaged: .* cut short"):
            operation()


def test_a_lost_task(board, path, make_record):
    board.record(make_record())
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM tasks WHERE task = 3")
    with pytest.raises(DamagedArtefactError, match=f"{path} is damaged: .* has 9 tasks, not 10"):
        board.runs()


def test_a_value_that_no_run_has(board, path, make_record):
    board.record(make_record())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE runs SET created_at = 'yesterday'")
    with pytest.raises(DamagedArtefactError, match="created_at"):
        board.runs()


@pytest.mark.parametrize("position", [0, *range(18, 60)])  # the magic string's first byte, and what has a meaning
def test_whatever_happens_to_the_header_the_rows_are_the_same_or_the_hint_says_to_move_it(
    board, path, make_record, position
):
    board.record(make_record(seed=0))
    board.close()
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)
    failed = None
    try:
        with Leaderboard(path) as found:
            found.record(make_record(seed=1))
            assert found.runs() == [make_record(seed=0), make_record(seed=1)]
    except (LeaderboardError, DamagedArtefactError) as error:
        failed = error
    assert failed is None or f"mv {path}" in failed.hint


def test_a_newer_schema_is_refused_with_words(board, path, make_record):
    board.record(make_record())
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE schema_version SET version = {SCHEMA_VERSION + 1}")
    for operation in (board.runs, lambda: Leaderboard(path).record(make_record())):
        with pytest.raises(LeaderboardError, match=r"newer icrl-bench \(schema \d+; this one reads up to") as caught:
            operation()
        assert caught.value.hint == "pip install --upgrade icrl-bench"


def test_another_programs_database_is_left_alone(board, path, make_record):
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (name TEXT)")
    before = path.read_bytes()
    for operation in (board.runs, lambda: board.record(make_record())):
        with pytest.raises(LeaderboardError, match="table 'runs' of another program"):
            operation()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("runs",)]
    assert len(path.read_bytes()) == len(before)


def test_a_full_disk(board, path, make_record):
    board.record(make_record(seed=0))
    board.close()  # the next connection is a new one
    event.listen(board._engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count = 1"))
    large = make_record(seed=1, num_episodes=5000)  # does not fit into pages that are there already
    with pytest.raises(LeaderboardError, match="no space left"):
        board.record(large)
    assert make_record(seed=0) in Leaderboard(path).runs()


def test_a_read_only_database(board, path, make_record):
    board.record(make_record(seed=0))
    board.close()  # the next connection is a new one
    event.listen(board._engine, "connect", lambda raw, _: raw.execute("PRAGMA query_only = ON"))
    with pytest.raises(LeaderboardError, match="read-only") as caught:
        board.record(make_record(seed=1))
    assert f"chmod u+w {path}" in caught.value.hint
    assert board.runs() == [make_record(seed=0)]


def test_a_writer_waits_for_the_lock(board, path, make_record):
    board.record(make_record(seed=0))
    holder = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, holder.rollback)
    release.start()
    begin = time.monotonic()
    board.record(make_record(seed=1))
    assert time.monotonic() - begin > 0.2
    release.join()
    holder.close()
    assert len(board.runs()) == 2


def test_a_lock_that_is_never_released(board, path, make_record, monkeypatch):
    monkeypatch.setattr(connections, "BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr(connections, "PATIENCE", 0.1)
    board.record(make_record(seed=0))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(LeaderboardError, match="held by another process"):
        board.record(make_record(seed=1))
    assert board.runs() == [make_record(seed=0)]  # readers are not kept out
    holder.close()


def test_a_leaderboard_that_was_moved_aside_is_begun_anew(board, path, make_record):
    board.record(make_record(seed=0))
    path.rename(path.with_name("aside.sqlite"))
    for log in path.parent.glob(f"{path.name}-*"):
        log.rename(path.with_name(log.name.replace(path.name, "aside.sqlite")))
    assert board.runs() == []
    board.record(make_record(seed=1))
    assert board.runs() == [make_record(seed=1)]
    assert Leaderboard(path.with_name("aside.sqlite")).runs() == [make_record(seed=0)]
