"""What the page shows of a single run: its provenance and its full configuration."""

from __future__ import annotations

from typing import Any

from icrl_leaderboards.report.marks import trend_mark
from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.runs.training import TrainingLog
from icrl_leaderboards.wording.formatting import count, duration

_STAGES = ("collect", "train", "adapt")
_DOCUMENTS = ("variant", "config", "provenance", "diagnostics")


def run_view(record: RunRecord, log: TrainingLog | None = None, settings: str | None = None) -> dict[str, Any]:
    """The fold-out of one run, as text and small drawings.

    `log` says how its training went, `settings` in what it differs from its protocol, where either is known.
    """
    facts = {
        "run": record.run_id,
        "method": record.method,
        "backbone": record.backbone or "none",
        "environment": record.environment,
        "protocol": f"{record.protocol}, {record.track}",
        "seed": str(record.seed),
        "recorded": record.created_at,
        "parameters": f"{record.parameters:,} ({count(record.parameters)})",
        "environment steps": ", ".join(
            f"{stage} {getattr(record, f'{stage}_env_steps'):,}" for stage in ("collect", "train", "adapt")
        ),
        "time": ", ".join(f"{name} {duration(record.seconds[name])}" for name in sorted(record.seconds, key=_stage)),
        "checkpoint": record.checkpoint,
        "dataset": record.dataset,
        **({} if settings is None else {"settings": settings}),
    }
    variant = ", ".join(f"{key}={value}" for key, value in sorted(record.variant.items()))
    return {
        "summary": f"{record.method}{f' ({variant})' if variant else ''}, seed {record.seed}",
        "run_id": record.run_id,
        "facts": facts,
        "plugins": record.plugins,
        "training": training_view(record, log) if log is not None else None,
        "documents": [(name, getattr(record, name)) for name in _DOCUMENTS if getattr(record, name)],
    }


def training_view(record: RunRecord, log: TrainingLog) -> dict[str, Any]:
    """What a training took, and every quantity that it reported: first and last value, range, and a line of its course."""
    facts = [f"{log.updates:,} updates in {duration(log.seconds)}"]
    if log.updates_per_second is not None:
        facts.append(f"{log.updates_per_second:.3g} updates a second")
    steps = log.steps_per_second(record.config)
    if steps is not None:
        facts.append(f"{count(steps)} environment steps of contexts a second")
    lines = []
    for series in log.series():
        values = series.values
        cells = [f"{value:.4g}".replace("-", "−") for value in (values[0], values[-1], min(values), max(values))]
        lines.append({"name": series.name.replace("_", " "), "cells": cells, "mark": trend_mark(series)})
    return {"summary": ", ".join(facts), "lines": lines}


def _stage(name: str) -> tuple[int, str]:
    """Stages as they follow each other, then any others by name."""
    return (_STAGES.index(name) if name in _STAGES else len(_STAGES)), name
