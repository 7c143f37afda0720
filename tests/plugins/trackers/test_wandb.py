"""Weights & Biases offline: its own reader finds what was tracked. Needs the extra `wandb`."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("wandb")


BLOCK, FILE_HEADER, HEADER = 32768, 7, 7  # bytes; the file is a log of LevelDB behind a header of its own


def messages(content):
    """The protocol buffers of an offline run's file: pieces of type 1 are whole, 2, 3 and 4 begin, go on and end."""
    position, parts = FILE_HEADER, []
    while position + HEADER <= len(content):
        if BLOCK - position % BLOCK < HEADER:
            position += BLOCK - position % BLOCK
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        parts.append(content[position + HEADER : position + HEADER + length])
        position += HEADER + length
        if kind in (1, 4):
            yield b"".join(parts)
            parts = []


def records(folder):
    """History rows, configuration and summary of one offline run, as its file has them."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("*.wandb")
    history, found = [], {"config": {}, "summary": {}}
    for data in messages(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            history.append(values(record.history.item))
        for part in found:
            if kind == part:
                found[part] |= values(getattr(record, part).update)
    return history, found["config"], found["summary"]


def values(items):
    return {each.key or "/".join(each.nested_key): json.loads(each.value_json) for each in items}


def test_an_offline_run(follow, tmp_path, monkeypatch):
    from icrl_plugins.trackers.wandb import WeightsAndBiases

    monkeypatch.setenv("WANDB_MODE", "offline")
    follow(WeightsAndBiases(tmp_path))
    (folder,) = (tmp_path / "wandb").glob("offline-run-*-0123456789abcdef")
    history, config, summary = records(folder)
    assert [(row["updates"], row["train/loss"]) for row in history if "train/loss" in row] == [(1, 4.0), (2, 0.5)]
    assert [(row["episode"], row["adaptation/return"]) for row in history if "adaptation/return" in row] == [
        (1, -9.0), (2, -3.0),
    ]  # fmt: skip
    assert config["method.head"] == "linear"
    assert config["seed"] == 3
    assert summary["normalised_score"] == 0.75
    assert list((tmp_path / "wandb").glob("offline-run-*-other"))
