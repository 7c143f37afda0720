"""A leaderboard of every past schema opens, with its rows, and takes new ones; a newer schema is refused with words.

`schemas/vN.sql` is a database as the version with schema N wrote it, `schemas/vN.json` the records that it was given.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from icrl_leaderboards.database import migrations
from icrl_leaderboards.database.connections import LeaderboardError
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.database.schema import (
    ARTEFACT_FIELDS,
    EPISODE_FIELDS,
    NAMED_FIELDS,
    RUN_FIELDS,
    SCHEMA_VERSION,
    TASK_FIELDS,
    EpisodesRow,
    TaskRow,
)
from icrl_leaderboards.database.studies import Study, StudyRun
from icrl_leaderboards.runs.record import RunRecord
from icrl_registry.errors import BenchError

FOLDER = Path(__file__).parent / "schemas"
#: What records of later versions hold and earlier ones did not.
ADDED_FIELDS = {1: {"source_curves": []}}
PAST_STUDIES = {2: ["width"], 3: ["width"]}
PAST = range(1, SCHEMA_VERSION)


def open_past(version: int, path: Path) -> Path:
    with sqlite3.connect(path) as connection:
        connection.executescript((FOLDER / f"v{version}.sql").read_text(encoding="utf-8"))
    connection.close()
    return path


def past_records(version: int) -> list[RunRecord]:
    documents = json.loads((FOLDER / f"v{version}.json").read_text(encoding="utf-8"))
    added = {
        name: value for since, fields in ADDED_FIELDS.items() if since >= version for name, value in fields.items()
    }
    return [RunRecord.from_json({**document, **added}) for document in documents]


def structure(path: Path) -> dict[str, object]:
    """Tables, columns, types, nullability, keys and constraints as the database itself tells them."""
    engine = create_engine(f"sqlite:///{path}")
    inspector = inspect(engine)
    found = {
        name: (
            sorted((column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)),
            inspector.get_pk_constraint(name)["constrained_columns"],
            [
                (key["constrained_columns"], key["referred_table"], key["options"])
                for key in inspector.get_foreign_keys(name)
            ],
            [key["column_names"] for key in inspector.get_unique_constraints(name)],
        )
        for name in inspector.get_table_names()
    }
    engine.dispose()
    return found


def test_every_past_schema_is_kept():
    assert [path.stem for path in sorted(FOLDER.glob("*.sql"))] == [f"v{version}" for version in PAST]
    assert sorted(migrations.STEPS) == list(PAST)


@pytest.mark.parametrize("version", PAST)
def test_rows_of_a_past_schema_are_read_and_written(version, tmp_path, make_record):
    path = open_past(version, tmp_path / "old.sqlite")
    expected = past_records(version)
    assert Leaderboard(path).runs() == expected  # reading alone brings it up to date
    with Leaderboard(path) as board:
        new = make_record(method="zz-new", source_curves=[[1.0, 2.0]] * 10)
        board.record(new)
        assert board.runs() == sorted([*expected, new], key=lambda run: run.run_id)
        studies = board.studies()
        assert [each.name for each in studies] == PAST_STUDIES.get(version, [])
        study = Study("s", "m", "e", "p", "online", {"method.x": [1]}, [StudyRun("r", 0, {"method.x": 1})], "now")
        board.record_study(study)
        assert board.studies() == [study, *studies]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(SCHEMA_VERSION,)]
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


@pytest.mark.parametrize("version", PAST)
def test_a_past_schema_ends_as_a_new_one_begins(version, tmp_path, make_record):
    path = open_past(version, tmp_path / "old.sqlite")
    Leaderboard(path).runs()
    Leaderboard(tmp_path / "new.sqlite").record(make_record())
    assert structure(path) == structure(tmp_path / "new.sqlite")


def test_a_failing_step_leaves_the_old_database(tmp_path, monkeypatch):
    path = open_past(1, tmp_path / "old.sqlite")
    before = structure(path)
    whole = migrations.STEPS[1]

    def fail_at_the_end(connection):
        whole(connection)
        raise BenchError("power cut")

    monkeypatch.setitem(migrations.STEPS, 1, fail_at_the_end)
    with pytest.raises(BenchError, match="power cut"):
        Leaderboard(path).runs()
    assert structure(path) == before
    monkeypatch.setitem(migrations.STEPS, 1, whole)
    assert Leaderboard(path).runs() == past_records(1)


def test_a_read_only_past_schema_says_what_to_do(tmp_path):
    path = open_past(1, tmp_path / "old.sqlite")
    with pytest.raises(LeaderboardError, match=r"older icrl-bench \(schema 1\) and is read-only") as caught:
        Leaderboard(f"sqlite:///file:{path}?mode=ro&uri=true").runs()
    assert "copy" in caught.value.hint


def test_every_field_of_a_record_lies_in_one_place():
    lists = (RUN_FIELDS, TASK_FIELDS, EPISODE_FIELDS, NAMED_FIELDS, ARTEFACT_FIELDS, ("plugins",))
    assert sorted(name for each in lists for name in each) == sorted(each.name for each in fields(RunRecord))
    assert set(TASK_FIELDS.values()) < set(TaskRow.__table__.c.keys())
    assert set(EPISODE_FIELDS.values()) < set(EpisodesRow.__table__.c.keys())
