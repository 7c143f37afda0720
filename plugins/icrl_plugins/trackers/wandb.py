"""Weights & Biases: one run there a run here. Offline unless `WANDB_MODE` says otherwise; `wandb sync` sends it later."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from icrl_plugins.trackers.naming import run_name, scores_of, settings_of
from icrl_registry.onlookers.trackers import StepAxis, Tracker


class WeightsAndBiases(Tracker):
    """Curves against their own axis, configuration as the run's config, measures in its summary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: dict[str, Any] = {}

    def numbers(self, run_id: str, axis: StepAxis, place: int, values: Mapping[str, float]) -> None:
        self._run(run_id).log({**values, axis: place})

    def result(self, run_id: str, record: Mapping[str, Any]) -> None:
        run = self._run(run_id)
        run.name = run_name(record)
        run.config.update(settings_of(record), allow_val_change=True)
        run.summary.update(scores_of(record))
        run.finish()
        del self.runs[run_id]

    def close(self) -> None:
        for run in self.runs.values():
            run.finish(exit_code=1)  # it was not recorded

    def _run(self, run_id: str) -> Any:
        if run_id not in self.runs:
            self.folder.mkdir(parents=True, exist_ok=True)
            mode: Any = os.environ.get("WANDB_MODE", "offline")
            run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "icrl-bench"), id=run_id, dir=str(self.folder), mode=mode,
                reinit="create_new", resume=None if mode == "offline" else "allow",
                settings=wandb.Settings(console="off", silent=True),
            )  # fmt: skip
            for axis, names in (("updates", ("train/*", "validation/*")), ("episode", ("adaptation/*",))):
                run.define_metric(axis, hidden=True)
                for name in names:
                    run.define_metric(name, step_metric=axis)
            self.runs[run_id] = run
        return self.runs[run_id]
