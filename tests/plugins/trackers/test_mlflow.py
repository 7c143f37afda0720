"""MLflow's own client finds what was tracked, in a folder. Needs the extra `mlflow`."""

from __future__ import annotations

import pytest

pytest.importorskip("mlflow")


def test_a_run_in_a_folder(follow, tmp_path, monkeypatch):
    from mlflow.tracking import MlflowClient

    from icrl_plugins.trackers.mlflow import MLflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracker = MLflow(tmp_path)
    follow(tracker)
    client: MlflowClient = tracker.client
    runs = {run.data.tags["icrl_bench.run_id"]: run for run in client.search_runs([tracker.experiment])}
    run, other = runs["0123456789abcdef"], runs["other"]
    assert (run.info.status, other.info.status) == ("FINISHED", "KILLED")
    assert run.info.run_name == "ad-mamba reacher-goal-v1 laptop-v2 seed 3"
    assert run.data.params["method.head"] == "linear"
    assert run.data.metrics["result/normalised_score"] == 0.75
    history = client.get_metric_history(run.info.run_id, "adaptation/return")
    assert sorted((each.step, each.value) for each in history) == [(1, -9.0), (2, -3.0)]
    assert MLflow(tmp_path).experiment == tracker.experiment
