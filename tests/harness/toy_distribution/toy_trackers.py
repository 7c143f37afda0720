"""A tracker that writes down what it is told, and that can be told to fail."""

from __future__ import annotations

import json
import os

from icrl_registry.onlookers.trackers import Tracker


class Notes(Tracker):
    def __init__(self, folder) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "notes.jsonl"

    def numbers(self, run_id, axis, place, values):
        self.note("numbers", run_id, axis, place, dict(values))

    def result(self, run_id, record):
        self.note("result", run_id, record["method"], record["config"]["method"]["updates"])

    def close(self):
        self.note("close")

    def note(self, *what):
        if os.environ.get("TOY_TRACKER_FAILS") == what[0]:
            raise OSError(f"no disk left for {what}")
        with self.path.open("a") as file:
            file.write(json.dumps(what) + "\n")
