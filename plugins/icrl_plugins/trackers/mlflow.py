"""MLflow: a run there for each run here, in one experiment. `MLFLOW_TRACKING_URI` names a server, or a file is used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient
from mlflow.utils.time import get_current_time_millis

from icrl_plugins.trackers.naming import run_name, scores_of, settings_of
from icrl_registry.onlookers.trackers import StepAxis, Tracker

LONGEST_VALUE = 500  # characters of a parameter, which MLflow limits
MOST_PARAMETERS = 100  # in one call


class MLflow(Tracker):
    """Curves as metrics by step, configuration as parameters, measures as metrics, the run's id as a tag."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(
            os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.absolute() / 'mlflow.db'}"
        )
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "icrl-bench")
        found = self.client.get_experiment_by_name(name)
        self.experiment = found.experiment_id if found is not None else self.client.create_experiment(name)
        self.runs: dict[str, str] = {}  # our run id -> MLflow's

    def numbers(self, run_id: str, axis: StepAxis, place: int, values: Mapping[str, float]) -> None:
        now = get_current_time_millis()
        metrics = [Metric(name, value, now, place) for name, value in values.items()]
        self.client.log_batch(self._run(run_id), metrics=metrics)

    def result(self, run_id: str, record: Mapping[str, Any]) -> None:
        run, now = self._run(run_id), get_current_time_millis()
        settings = [Param(name, str(value)[:LONGEST_VALUE]) for name, value in settings_of(record).items()]
        for start in range(0, len(settings), MOST_PARAMETERS):
            self.client.log_batch(run, params=settings[start : start + MOST_PARAMETERS])
        scores = [Metric(f"result/{name}", value, now, 0) for name, value in scores_of(record).items()]
        self.client.log_batch(run, metrics=scores, tags=[RunTag("mlflow.runName", run_name(record))])
        self.client.set_terminated(run)
        del self.runs[run_id]

    def close(self) -> None:
        for run in self.runs.values():
            self.client.set_terminated(run, "KILLED")

    def _run(self, run_id: str) -> str:
        if run_id not in self.runs:
            run = self.client.create_run(self.experiment, tags={"icrl_bench.run_id": run_id})
            self.runs[run_id] = run.info.run_id
        return self.runs[run_id]
