"""A run record is finite, rectangular and printable as JSON from the moment it exists."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from icrl_leaderboards.runs.record import REFERENCES, PluginUse, RunRecord
from icrl_leaderboards.runs.types import RecordError
from icrl_registry.errors import BenchError, NumericalError


def test_numpy_values_become_plain_ones(make_record):
    record = make_record(
        seed=np.int64(2),
        returns=np.arange(500, dtype=np.float32).reshape(10, 50),
        config={"method": {"sizes": (64, np.int32(32)), "rate": np.float32(0.5)}},
        seconds={"train": np.float64(3)},
    )
    assert type(record.seed) is int
    assert type(record.returns[0][0]) is float
    assert record.config == {"method": {"sizes": [64, 32], "rate": 0.5}}
    assert RunRecord.from_json(json.loads(json.dumps(record.as_json(), allow_nan=False))) == record


def test_created_at_is_brought_to_utc(make_record):
    assert make_record(created_at="2026-01-31T13:30:00+01:30").created_at == "2026-01-31T12:00:00+00:00"


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"returns": [[0.0] * 50] * 3 + [[0.0] * 7 + [math.nan] + [0.0] * 42] + [[0.0] * 50] * 6}, "returns[3][7]"),
        ({"random": [0.0] * 9 + [math.inf]}, "random[9]"),
        ({"oracle": [None] * 9 + [math.nan]}, "oracle[9]"),
        ({"seconds": {"train": math.nan}}, "seconds.train"),
        ({"diagnostics": {"loss": math.inf}}, "diagnostics.loss"),
        ({"config": {"method": {"rates": [0.1, math.nan]}}}, "config.method.rates[1]"),
    ],
)
def test_what_is_not_finite_is_named(make_record, changes, place):
    with pytest.raises(NumericalError) as caught:
        make_record(**changes)
    assert place in caught.value.message


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"returns": [[0.0] * 50] * 9}, "episode_lengths"),
        ({"returns": [[0.0] * 50] * 9 + [[0.0] * 49]}, "returns[9]"),
        ({"returns": []}, "returns"),
        ({"returns": [["1.5"] * 50] * 10}, "returns"),
        ({"returns": ["abc"] * 10}, "returns[0]"),
        ({"episode_lengths": [[50] * 50] * 9 + [[50] * 49 + [2.5]]}, "episode_lengths[9][49]"),
        ({"episode_lengths": [[-1] * 50] * 10}, "episode_lengths[0][0]"),
        ({"random": [0.0] * 9}, "random has 9 entries for 10 tasks"),
        ({"task_labels": ["a"] * 9 + [3]}, "task_labels[9]"),
        ({"oracle": [0.0] * 9 + ["high"]}, "oracle[9]"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"parameters": 1.5}, "parameters"),
        ({"train_env_steps": 2**63}, "train_env_steps"),
        ({"method": None}, "method"),
        ({"method": "\ud800"}, "method"),
        ({"run_id": ""}, "run_id"),
        ({"run_id": "x" * 256}, "run_id"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"created_at": "2026-01-31T12:00:00"}, "time zone"),
        ({"variant": [1]}, "variant"),
        ({"config": {1: 2}}, "config"),
        ({"config": {"x": object()}}, "config.x"),
        ({"config": {"x": 10**400}}, "config.x"),
        ({"provenance": {"x" * 256: 1}}, "provenance"),
        ({"plugins": ["ad"]}, "plugins[0]"),
        ({"success": [[0.5] * 50] * 9}, "success has shape (9, 50), returns (10, 50)"),
        ({"success": [[0.5] * 50] * 9 + [[0.5] * 49 + [1.5]]}, "success[9][49] is 1.5"),
        ({"blind_ceiling": [0.0] * 9}, "blind_ceiling has 9 entries for 10 tasks"),
        ({"protocol_content": 3}, "protocol_content"),
    ],
)
def test_a_broken_form_is_named(make_record, changes, place):
    with pytest.raises(RecordError) as caught:
        dataclasses.replace(make_record(), **changes)
    assert place in caught.value.message
    assert caught.value.hint


def test_endless_nesting_is_refused(make_record):
    nested: dict = {}
    nested["self"] = nested
    with pytest.raises(RecordError, match="levels deep"):
        make_record(config=nested)


def test_an_unknown_or_missing_field_is_refused(make_record):
    document = make_record().as_json()
    with pytest.raises(RecordError, match="unknown field 'sed'"):
        RunRecord.from_json({**document, "sed": 1})
    del document["seed"]
    with pytest.raises(RecordError, match="field 'seed' is missing"):
        RunRecord.from_json(document)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(RunRecord)])
@pytest.mark.parametrize("value", [None, 3, "text", [[]], {"a": 1}, [None]], ids=repr)
def test_any_wrong_type_is_an_error_in_words(make_record, field, value):
    document = make_record().as_json()
    try:
        RunRecord.from_json({**document, field: value})
    except BenchError:
        return
    assert RunRecord.from_json({**document, field: value}) is not None  # some values fit some fields


def test_what_is_not_known_has_no_entry(make_record):
    assert not {"success", "blind_ceiling", "protocol_content"} & set(make_record().as_json())
    known = make_record(num_tasks=1, num_episodes=2, success=[[0, 0.5]], blind_ceiling=[-3], protocol_content="id = 1")
    assert known.as_json()["success"] == [[0.0, 0.5]]
    assert RunRecord.from_json(known.as_json()) == known
    with pytest.raises(RecordError, match="success is null"):
        RunRecord.from_json({**known.as_json(), "success": None})


def test_references_are_what_returns_are_measured_against():
    assert REFERENCES == ("random", "zero_action", "oracle", "oracle_greedy", "blind_ceiling")


def test_plugins_keep_what_they_were():
    use = PluginUse("method", "ad", "icrl-bench", "0.1", "ab")
    assert use == PluginUse("method", "ad", "icrl-bench", "0.1", "ab")
    with pytest.raises(RecordError, match="plugin version"):
        PluginUse("method", "ad", "icrl-bench", 1, "ab")  # type: ignore[arg-type]
