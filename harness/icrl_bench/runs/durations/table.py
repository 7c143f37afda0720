"""The speeds that come with the package: those of published rows, which were made on a machine of two cores."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from icrl_bench.runs.durations.own import SECTIONS, updates_of
from icrl_bench.runs.durations.speeds import Speed, Subject, costly_settings
from icrl_leaderboards.runs.record import RunRecord

FILE = "speeds.json"


@dataclass(frozen=True)
class SpeedTable:
    """Speeds of a machine that is not this one."""

    cores: int  # that collected side by side
    rounds_per_second: float  # of the calibration, on that machine
    speeds: tuple[Speed, ...]

    def as_json(self) -> dict[str, Any]:
        """As the file has it."""
        speeds = [{**asdict(speed.of), "seconds": float(f"{speed.seconds:.3g}")} for speed in self.speeds]
        return {"cores": self.cores, "rounds_per_second": self.rounds_per_second, "speeds": speeds}


@cache
def shipped_table() -> SpeedTable:
    """The table of this version of the package."""
    document = json.loads((files("icrl_bench.runs.durations") / FILE).read_text(encoding="utf-8"))
    speeds = []
    for line in document["speeds"]:
        seconds = line.pop("seconds")
        speeds.append(Speed(Subject(**line), seconds))
    return SpeedTable(document["cores"], document["rounds_per_second"], tuple(speeds))


def speeds_of(records: Iterable[RunRecord]) -> list[Speed]:
    """What the stages of recorded runs took; of several of one kind the fastest, which was disturbed least."""
    fastest: dict[str, Speed] = {}
    for record in records:
        for speed in _of_record(record):
            key = json.dumps(asdict(speed.of), sort_keys=True)
            if key not in fastest or speed.seconds < fastest[key].seconds:
                fastest[key] = speed
    return [fastest[key] for key in sorted(fastest)]


def _of_record(record: RunRecord) -> Iterable[Speed]:
    device = str(record.provenance.get("hardware", {}).get("device", "cpu"))
    source = next((use.name for use in record.plugins if use.kind == "source"), "")
    if source and record.collect_env_steps and record.seconds.get("collect", 0.0) > 0:
        settings = costly_settings(record.config, ["source"])
        of = Subject("collect", source, record.environment, settings=settings)
        yield Speed(of, record.seconds["collect"] / record.collect_env_steps)
    if record.method == "source":
        return  # its own runs, replayed
    settings = costly_settings(record.config, SECTIONS)
    if record.seconds.get("train", 0.0) > 0:
        of = Subject("train", record.method, record.environment, device, settings)
        yield Speed(of, record.seconds["train"] / updates_of(record.config))
    if record.seconds.get("adapt", 0.0) > 0 and record.adapt_env_steps:
        of = Subject("adapt", record.method, record.environment, device, settings)
        yield Speed(of, record.seconds["adapt"] / record.adapt_env_steps)
