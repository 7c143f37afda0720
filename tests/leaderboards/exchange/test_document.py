"""A run has exactly one file: canonical bytes, aggregates that follow from its episodes, a schema that it meets."""

from __future__ import annotations

import dataclasses
import json
import re
from importlib.resources import files

import jsonschema
import numpy as np
import pytest

from icrl_leaderboards.analysis import statistics
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.exchange.aggregates import aggregates
from icrl_leaderboards.exchange.document import VERSIONS, file_name, schema_file, to_bytes, to_document
from icrl_leaderboards.exchange.reading import PublishedRunError, read_published
from icrl_leaderboards.exchange.schema import schema_text
from icrl_leaderboards.runs.record import RunRecord

OPTIONAL_FIELDS = {
    "success": [[0.0, 0.5, 1.0]] * 2,
    "blind_ceiling": [-9.0, -8.5],
    "protocol_content": 'id = "é"',
    "step_rewards": [[-1.0, -0.5, 0.0], [-0.25, 0.125, 0.0]],
}
BROUGHT_BY = {"success": 2, "blind_ceiling": 2, "protocol_content": 2, "step_rewards": 3}


def published_schema(version):
    return files("icrl_leaderboards.exchange").joinpath(schema_file(version)).read_text(encoding="utf-8")


@pytest.fixture
def schema():
    return json.loads(published_schema(1))


def test_a_run_has_one_file(make_record, tmp_path):
    record = make_record(variant={"b": 1, "a": 2}, config={"method": {"y": 1, "x": 2}, "backbone": {}})
    other_order = dataclasses.replace(
        record, variant={"a": 2, "b": 1}, config={"backbone": {}, "method": {"x": 2, "y": 1}}
    )
    assert to_bytes(record) == to_bytes(other_order)
    with Leaderboard(tmp_path / "board.sqlite") as board:
        board.record(record)
        assert to_bytes(board.runs()[0]) == to_bytes(record)
    assert to_bytes(RunRecord.from_json(json.loads(to_bytes(record))["run"])) == to_bytes(record)


def test_hostile_names_come_back_from_their_file(make_record, hostile_name, tmp_path):
    record = make_record(method=hostile_name, variant={hostile_name: hostile_name}, num_tasks=1, num_episodes=1)
    path = tmp_path / "run.json"
    path.write_bytes(to_bytes(record))
    assert re.fullmatch(rb"[\n\x20-\x7e]*", path.read_bytes())  # nothing in it can turn a terminal or an editor around
    published = read_published(path)
    assert published.record == record
    assert not any(published.mismatches().values())


@pytest.mark.parametrize("version", VERSIONS)
def test_the_published_schema_is_that_of_the_record(version):
    said = "`python -m icrl_leaderboards.exchange.schema` writes it"
    assert published_schema(version) == schema_text(version), said
    optional = {name for name, form in BROUGHT_BY.items() if form <= version}
    fields = {field.name for field in dataclasses.fields(RunRecord)} - set(OPTIONAL_FIELDS)
    run = json.loads(published_schema(version))["properties"]["run"]
    assert set(run["properties"]) == fields | optional
    assert set(run["required"]) == fields


@pytest.mark.parametrize("name", OPTIONAL_FIELDS)
def test_a_run_with_an_optional_field_is_of_the_form_that_brought_it(make_record, tmp_path, name):
    form = BROUGHT_BY[name]
    record = make_record(num_tasks=2, num_episodes=3, **{name: OPTIONAL_FIELDS[name]})
    document = to_document(record)
    assert document["version"] == form
    jsonschema.validate(document, json.loads(published_schema(form)))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "version": form - 1}, json.loads(published_schema(form - 1)))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "run": {**document["run"], name: None}}, json.loads(published_schema(form)))
    path = tmp_path / "run.json"
    path.write_bytes(to_bytes(record))
    published = read_published(path)
    assert published.record == record
    assert not any(published.mismatches().values())
    path.write_bytes(to_bytes(record).replace(b'"version": %d' % form, b'"version": 1'))
    assert read_published(path).mismatches()["form"]


@pytest.mark.parametrize("oracle", [[-2.0, -1.0], [None, None]])
def test_a_file_meets_the_schema(schema, make_record, oracle):
    jsonschema.Draft202012Validator.check_schema(schema)
    document = json.loads(to_bytes(make_record(num_tasks=2, oracle=oracle, source_curves=[[1.0], [2.0]])))
    jsonschema.validate(document, schema)
    for place, value in (("run", {**document["run"], "extra": 1}), ("version", 2), ("format", "other")):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**document, place: value}, schema)


def test_numbers_keep_every_bit(make_record, tmp_path):
    extreme = [[-0.0, 5e-324, 0.1 + 0.2, 1.7976931348623157e308, -1 / 3, 1e16, 123456789.123456789]]
    record = make_record(num_tasks=1, returns=extreme, episode_lengths=[[1] * 7])
    path = tmp_path / "run.json"
    path.write_bytes(to_bytes(record))
    read = read_published(path).record.returns
    assert np.array(read).tobytes() == np.array(extreme).tobytes()


def test_aggregates_of_two_by_three(make_record):
    found = aggregates(
        make_record(
            num_tasks=2,
            num_episodes=3,
            returns=[[-10.0, -4.0, -1.0], [-8.0, -6.0, -4.0]],
            episode_lengths=[[5] * 3] * 2,
            random=[-11.0, -8.0],
            oracle=[-1.0, None],
        )
    )
    assert found == {
        "first_episode": {"mean": -9.0, "tasks": [-10.0, -8.0]},
        "last_episodes": {"mean": -2.5, "tasks": [-1.0, -4.0]},
        "improvement": {"mean": 6.5, "tasks": [9.0, 4.0]},
        "area_under_curve": {"mean": -5.5, "tasks": [-5.0, -6.0]},
        "normalised_score": {"mean": 1.0, "tasks": [1.0, None]},
    }


@pytest.mark.parametrize("name", ["first_episode", "last_episodes", "improvement", "area_under_curve"])
def test_aggregates_are_those_of_the_statistics(make_record, name):
    record = make_record(num_tasks=7, num_episodes=53)
    np.testing.assert_allclose(
        aggregates(record)[name]["tasks"], getattr(statistics, name)(np.array(record.returns)), rtol=1e-13
    )


def test_file_names_are_harmless_and_differ(make_record, hostile_names):
    names = [*hostile_names, "../../etc/passwd", "/etc/passwd", "C:\\x", "a/b", "a_b", "con", ".hidden", "-rf", "~root"]
    paths = {str(file_name(make_record(run_id=name[:255] or "r", method=name, protocol=name))) for name in names}
    assert len(paths) == len(names)
    for path in paths:
        assert re.fullmatch(r"[A-Za-z0-9_+~][A-Za-z0-9._+~-]*/[A-Za-z0-9_+][A-Za-z0-9._+~-]*\.json", path), path
        assert max(map(len, path.split("/"))) < 255
    record = make_record(run_id="0cf0e0182f25ea84", protocol="laptop-v0+6be555", seed=2)
    assert str(file_name(record)) == "laptop-v0+6be555/reacher-goal-v1-ad-mamba-seed2-0cf0e0182f25ea84.json"


def test_the_checksum_is_computed_as_the_schema_says(make_record):
    import hashlib
    import struct

    record = make_record(num_tasks=2, num_episodes=3)
    data = b"2 3\n" + b"".join(struct.pack("<3d", *row) for row in record.returns)
    data += b"".join(struct.pack("<3i", *row) for row in record.episode_lengths)
    document = to_document(record)
    assert document["sha256"]["episodes"] == hashlib.sha256(data).hexdigest()
    compact = json.dumps(record.as_json(), sort_keys=True, separators=(",", ":"))
    assert document["sha256"]["run"] == hashlib.sha256(compact.encode("ascii")).hexdigest()


def test_a_newer_form_is_refused_with_words(make_record, tmp_path):
    path = tmp_path / "run.json"
    path.write_bytes(to_bytes(make_record()).replace(b'"version": 1', b'"version": 4'))
    with pytest.raises(PublishedRunError, match="newer icrl-bench") as caught:
        read_published(path)
    assert "upgrade" in caught.value.hint
