"""What a tracked run is called and which of its facts are shown beside its curves, the same in all trackers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FACTS = (
    "method",
    "env",
    "protocol",
    "track",
    "seed",
    "run_id",
    "parameters",
    "checkpoint",
    "dataset",
    "device",
    "kernel",
)
SCORES = ("normalised_score", "first_episode", "last_episodes", "improvement", "best_episode")


def run_name(record: Mapping[str, Any]) -> str:
    """`dpt-mamba pusher-goal-v2 laptop-v2 seed 0`."""
    return f"{record.get('method')} {record.get('env')} {record.get('protocol')} seed {record.get('seed')}"


def settings_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of the run and its whole configuration, by dotted key."""
    found = {name: record[name] for name in FACTS if record.get(name) is not None}
    for section, settings in (record.get("config") or {}).items():
        found |= {f"{section}.{key}": value for key, value in settings.items()}
    return found


def scores_of(record: Mapping[str, Any]) -> dict[str, float]:
    """The run's measures that are numbers."""
    return {name: float(record[name]) for name in SCORES if isinstance(record.get(name), int | float)}
