"""Every format gives the same rows: one an episode, every number to the last bit, names as text."""

from __future__ import annotations

import csv
import io
import json
import sys

import pyarrow.parquet
import pytest

from icrl_leaderboards.exchange.exporting import COLUMNS, csv_text, write_csv, write_json, write_parquet
from icrl_registry.errors import UsageError


@pytest.fixture
def records(make_record):
    return [
        make_record(num_tasks=2, num_episodes=3, variant={"method.x": [1, "a"]}),
        make_record(seed=1, backbone=None, num_tasks=1, num_episodes=1, returns=[[0.1 + 0.2]], oracle=[None]),
    ]


def as_json(records):
    out = io.StringIO()
    number = write_json(records, out)
    rows = json.loads(out.getvalue())["episodes"]
    assert len(rows) == number
    return rows


def as_csv(records):
    out = io.StringIO()
    number = write_csv(records, out)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert len(rows) == number
    return rows


def test_rows_of_json(records):
    rows = as_json(records)
    assert len(rows) == 7
    assert all(tuple(row) == COLUMNS for row in rows)
    row = rows[4]  # second task, second episode of the first run
    first = records[0]
    assert (row["run_id"], row["task"], row["episode"]) == (first.run_id, "test-001", 2)
    assert (row["return"], row["length"]) == (first.returns[1][1], 50)
    assert json.loads(row["variant"]) == {"method.x": [1, "a"]}
    assert rows[6]["return"] == 0.1 + 0.2
    assert rows[6]["oracle"] is None
    assert rows[6]["backbone"] is None


def test_csv_and_parquet_hold_the_same(records, tmp_path):
    expected = as_json(records)
    assert write_parquet(records, tmp_path / "x.parquet") == 7
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist() == expected
    for row, same in zip(as_csv(records), expected, strict=True):
        for name in COLUMNS:
            value = same[name]
            assert row[name] == ("" if value is None else str(value)), name


def test_nothing_recorded(tmp_path):
    assert as_json([]) == []
    assert as_csv([]) == []
    assert write_parquet([], tmp_path / "x.parquet") == 0
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet").column_names == list(COLUMNS)


def test_hostile_names_stay_whole_in_json_and_parquet(make_record, hostile_name, tmp_path):
    record = make_record(method=hostile_name, num_tasks=1, num_episodes=1, task_labels=[hostile_name])
    (row,) = as_json([record])
    assert (row["method"], row["task"]) == (hostile_name, hostile_name)
    write_parquet([record], tmp_path / "x.parquet")
    (row,) = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert (row["method"], row["task"]) == (hostile_name, hostile_name)


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "|calc",
    "%0",
    "＝1",
    "  =1",
    "\t=1",
    "\r=1",
    "\n=1",
    "'=1",
    "'",
    '=HYPERLINK("x")',
]


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_is_a_formula(make_record, name):
    record = make_record(method=name, backbone=name, num_tasks=1, num_episodes=1, task_labels=[name])
    (row,) = as_csv([record])
    for column in ("method", "backbone", "task"):
        assert row[column][0] == "'" or row[column].startswith("\\x")  # a control character is shown by its code
        assert row[column].lstrip("'") != row[column] or row[column][0] == "\\"


def test_hostile_names_are_one_cell_of_csv(make_record, hostile_name):
    record = make_record(method=hostile_name, run_id=hostile_name[:255] or "x", num_tasks=1, num_episodes=2)
    rows = as_csv([record])
    assert [row["method"] for row in rows] == [csv_text(hostile_name)] * 2
    assert [row["episode"] for row in rows] == ["1", "2"]
    assert all(None not in row for row in rows)


def test_negative_numbers_stay_numbers(make_record):
    (row,) = as_csv([make_record(num_tasks=1, num_episodes=1, returns=[[-1.5]])])
    assert row["return"] == "-1.5"
    assert row["random"] == "-12.5"


def test_without_pyarrow_the_extra_is_named(records, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="pyarrow") as caught:
        write_parquet(records, tmp_path / "x.parquet")
    assert "icrl-bench[parquet]" in caught.value.hint
