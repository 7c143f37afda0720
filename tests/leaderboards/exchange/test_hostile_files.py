"""Whatever somebody puts into a file of a run, reading it ends soon, in words, with nothing recorded."""

from __future__ import annotations

import json
import os
import re
import time

import pytest

from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.exchange import reading
from icrl_leaderboards.exchange.document import to_bytes
from icrl_leaderboards.exchange.importing import find_files, import_files
from icrl_leaderboards.exchange.reading import PublishedRunError, read_published
from icrl_registry.errors import EXIT_VERIFICATION

#: Bytes that are no run, with a word of what must be said.
NO_RUNS = {
    "empty": (b"", "not a run in JSON"),
    "text": (b"hello", "not a run in JSON"),
    "cut short": (b'{"format": "icrl-bench/run"', "not a run in JSON"),
    "list": (b"[]", "does not call itself"),
    "null": (b"null", "does not call itself"),
    "number": (b"1", "does not call itself"),
    "other format": (b'{"format": "other"}', "does not call itself"),
    "no version": (b'{"format": "icrl-bench/run"}', "form None"),
    "version zero": (b'{"format": "icrl-bench/run", "version": 0}', "form 0"),
    "version true": (b'{"format": "icrl-bench/run", "version": true}', "form True"),
    "version text": (b'{"format": "icrl-bench/run", "version": "1"}', "form '1'"),
    "nothing else": (b'{"format": "icrl-bench/run", "version": 1}', "'aggregates' is missing"),
    "brackets": (b"[" * 1_000_000, "nested more than"),
    "objects": (b'{"a":' * 200_000, "nested more than"),
    "closed brackets": (b"[" * 100 + b"]" * 100, "nested more than"),
    "huge integer": (b'{"format": ' + b"9" * 1_000_000 + b"}", "not a run in JSON"),
    "utf-16": ('{"format": "icrl-bench/run"}'.encode("utf-16"), "not a run in JSON"),
    "byte order mark": (b"\xef\xbb\xbf{}", "not a run in JSON"),
    "not utf-8": (b'{"format": "\xff\xfe"}', "not a run in JSON"),
    "nul": (b"\x00" * 1000, "not a run in JSON"),
    "open string": (b'"' + b"\\" * 1_000_001, "not a run in JSON"),
    "twice": (b'{"format": "icrl-bench/run", "format": "icrl-bench/run"}', "stands there twice"),
    "not a number": (b'{"format": NaN}', "no finite number"),
    "pickle": (b"\x80\x04\x95\x1a\x00\x00\x00", "not a run in JSON"),
}

DEEP = {"a": 1}
for _ in range(70):
    DEEP = {"a": DEEP}

#: Values that no field of that name has, with a word of what must be said.
FIELDS = [
    ("run_id", "", "run_id"),
    ("run_id", "x" * 256, "run_id"),
    ("run_id", None, "run_id"),
    ("method", 3, "method"),
    ("method", "\ud800", "surrogate"),
    ("backbone", [], "backbone"),
    ("seed", -1, "seed"),
    ("seed", 1.0, "seed"),
    ("seed", True, "seed"),
    ("seed", 2**63, "seed"),
    ("parameters", "1", "parameters"),
    ("returns", [], "returns"),
    ("returns", [[]], "returns"),
    ("returns", [[1.0], [1.0, 2.0]], "returns"),
    ("returns", [[1.0, "2"], [1.0, 2.0]], "returns"),
    ("returns", [[1.0, None], [1.0, 2.0]], "returns"),
    ("returns", [[1.0, [2.0]], [1.0, 2.0]], "returns"),
    ("returns", [[True, False], [True, True]], "returns"),
    ("returns", [[1.0, 10**400], [1.0, 2.0]], "returns"),
    ("returns", {"0": [1.0]}, "returns"),
    ("returns", "ab", "returns"),
    ("episode_lengths", [[1, 2], [3, -4]], "episode_lengths"),
    ("episode_lengths", [[1, 2], [3, 4.5]], "episode_lengths"),
    ("episode_lengths", [[1, 2], [3, 2**31]], "episode_lengths"),
    ("episode_lengths", [[1], [2]], "episode_lengths"),
    ("task_labels", ["a"], "task_labels"),
    ("task_labels", [1, 2], "task_labels"),
    ("random", [1.0], "random"),
    ("random", [1.0, None], "random"),
    ("oracle", [1.0, "x"], "oracle"),
    ("source_curves", [[1.0]], "source_curves"),
    ("source_curves", [[1.0], [None]], "source_curves"),
    ("source_curves", ["ab", "cd"], "source_curves"),
    ("seconds", [1.0], "run record"),
    ("seconds", {"x": "1"}, "seconds"),
    ("seconds", {"x" * 256: 1.0}, "seconds"),
    ("diagnostics", {"x": None}, "diagnostics"),
    ("config", [], "config"),
    ("config", DEEP, "deep"),
    ("variant", None, "variant"),
    ("provenance", "x", "provenance"),
    ("plugins", {}, None),
    ("plugins", [1], "run record"),
    ("plugins", [{"kind": "x"}], "run record"),
    ("plugins", [{"kind": 1, "name": "", "distribution": "", "version": "", "content_hash": ""}], "plugin kind"),
    ("created_at", "yesterday", "created_at"),
    ("created_at", "2026-01-31T12:00:00", "created_at"),
    ("created_at", 5, "created_at"),
    ("unknown", 1, "unknown field 'unknown'"),
    ("__class__", "os", "unknown field '__class__'"),
]


@pytest.fixture
def good(make_record):
    return make_record(num_tasks=2, num_episodes=2)


def refused(path, tmp_path):
    """Imports the file into an empty leaderboard; says why it was refused."""
    with Leaderboard(tmp_path / "board.sqlite") as board:
        outcomes = list(import_files(board, [path]))
        assert [outcome.verdict for outcome in outcomes] == ["refused"]
        assert board.runs() == []
    return outcomes[0].detail


@pytest.mark.parametrize("name", NO_RUNS)
def test_what_is_no_run(name, tmp_path):
    data, words = NO_RUNS[name]
    path = tmp_path / "file.json"
    path.write_bytes(data)
    started = time.monotonic()
    said = refused(path, tmp_path)
    assert time.monotonic() - started < 5
    assert words in said
    assert str(path) in said
    with pytest.raises(PublishedRunError) as caught:
        read_published(path)
    assert caught.value.exit_code == EXIT_VERIFICATION
    assert caught.value.hint


@pytest.mark.parametrize(
    ("field", "value", "words"), FIELDS, ids=[f"{name}-{i}" for i, (name, *_) in enumerate(FIELDS)]
)
def test_fields_that_no_run_has(field, value, words, good, tmp_path):
    document = json.loads(to_bytes(good))
    document["run"][field] = value
    path = tmp_path / "file.json"
    path.write_text(json.dumps(document))
    said = refused(path, tmp_path)
    assert words is None or words in said


@pytest.mark.parametrize("field", ["run", "aggregates", "sha256"])
@pytest.mark.parametrize("value", [None, 1, "x", [], {}], ids=repr)
def test_parts_of_another_kind(field, value, good, tmp_path):
    document = json.loads(to_bytes(good))
    document[field] = value
    path = tmp_path / "file.json"
    path.write_text(json.dumps(document))
    assert refused(path, tmp_path)


@pytest.mark.parametrize("missing", ["run_id", "returns", "plugins", "source_curves"])
def test_a_missing_field_is_named(missing, good, tmp_path):
    document = json.loads(to_bytes(good))
    del document["run"][missing]
    path = tmp_path / "file.json"
    path.write_text(json.dumps(document))
    assert f"'{missing}' is missing" in refused(path, tmp_path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_not_finite(number, good, tmp_path):
    path = tmp_path / "file.json"
    text = to_bytes(good).decode()
    path.write_text(re.sub(r'"random": \[\s*-12.5', f'"random": [{number}', text))
    assert path.read_text() != text
    assert refused(path, tmp_path)


def test_every_changed_digit_of_the_episodes_is_found(make_record, tmp_path):
    text = to_bytes(make_record(num_tasks=2, num_episodes=12)).decode()
    start, end = text.index('"returns"'), text.index('"run_id"')
    path = tmp_path / "file.json"
    changed = 0
    for place in range(start, end):
        if not text[place].isdigit():
            continue
        digit = str((int(text[place]) + 1) % 10)
        path.write_text(text[:place] + digit + text[place + 1 :])
        try:
            wrong = read_published(path).mismatches()
        except PublishedRunError:
            changed += 1
            continue
        assert wrong["form"] or wrong["checksums"], text[place - 20 : place + 5]
        changed += 1
    assert changed > 300


def test_a_changed_digit_is_named(good, tmp_path):
    text = to_bytes(good).decode()
    path = tmp_path / "file.json"
    first = str(good.returns[0][0])
    head, returns = text[: text.index('"returns"')], text[text.index('"returns"') :]
    path.write_text(head + returns.replace(f"[{first},", f"[{first[:-1]}{(int(first[-1]) + 5) % 10},", 1))
    said = refused(path, tmp_path)
    assert "first_episode.tasks[0]" in said
    assert "the episodes differ from their sha256" in said


def test_stated_aggregates_must_follow_from_the_episodes(good, tmp_path):
    document = json.loads(to_bytes(good))
    document["aggregates"]["last_episodes"]["mean"] += 1e-9
    path = tmp_path / "file.json"
    path.write_text(json.dumps(document))
    assert "last_episodes.mean: the file says" in refused(path, tmp_path)


def test_another_spelling_of_the_same_run_is_refused(good, tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(to_bytes(good).replace(b"\n", b"\r\n"))
    assert "line 1 is not as" in refused(path, tmp_path)


def test_a_file_without_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LARGEST_FILE", 1000)
    path = tmp_path / "file.json"
    path.write_bytes(b" " * 1001)
    assert "is larger than" in refused(path, tmp_path)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.json").mkdir()
    for name in ("pipe.json", "gone.json", "missing.json", "x\x00y.json"):
        assert refused(tmp_path / name, tmp_path), name
    assert tmp_path / "pipe.json" in find_files([tmp_path])
