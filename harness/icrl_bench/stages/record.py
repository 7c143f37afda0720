"""Stage 4: one row in the leaderboard, with everything that it takes to recompute and rerun it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from icrl_bench.checkpoints import KIND as CHECKPOINTS
from icrl_bench.histories import dataset_kind, learning_curve, load_history
from icrl_bench.plan import STAGE_VERSIONS, Plan
from icrl_bench.provenance import collect_provenance
from icrl_bench.stages.adapt import Adaptation
from icrl_bench.store import Store
from icrl_leaderboards.runs.record import PluginUse, RunRecord
from icrl_registry.contracts import Task


def make_record(
    store: Store, plan: Plan, seed: int, floors: dict[str, list[float]], adaptation: Adaptation, collect_seconds: float
) -> RunRecord:
    """The row of one run, from its artefacts."""
    tasks = plan.tasks["test"]
    checkpoint = store.manifest(CHECKPOINTS, plan.checkpoint_address(seed))
    histories = {task: _history_manifest(store, plan, task) for task in (*plan.tasks["train"], *tasks)}
    given = sum(int(histories[task]["steps"]) for task in plan.tasks["train"])
    uses_histories = plan.method.plugin.component.training_data == "histories"
    return RunRecord(
        run_id=plan.run_address(seed),
        method=plan.request.method,
        backbone=plan.backbone.plugin.entry.name if plan.backbone else None,
        environment=plan.environment_id,
        protocol=plan.protocol_label,
        track=plan.request.track,
        seed=seed,
        variant=plan.variant,
        config=plan.config,
        parameters=int(checkpoint["parameters"]),
        task_parameters=[list(task.parameters) for task in tasks],
        task_labels=[task.label for task in tasks],
        returns=adaptation.returns,
        episode_lengths=adaptation.lengths,
        random=floors["random"],
        zero_action=floors["zero_action"],
        oracle=[histories[task]["final_return"] for task in tasks],
        oracle_greedy=[histories[task]["statistics"].get("greedy_return") for task in tasks],
        source_curves=[learning_curve(load_history(store, plan.dataset_address, task)).tolist() for task in tasks],
        train_env_steps=int(checkpoint["online_env_steps"]) + (given if uses_histories else 0),
        adapt_env_steps=adaptation.env_steps,
        collect_env_steps=sum(int(manifest["steps"]) for manifest in histories.values()),
        seconds={
            "collect": collect_seconds,
            "train": float(checkpoint["seconds"]),
            "adapt": adaptation.seconds,
        },
        checkpoint=plan.checkpoint_address(seed),
        dataset=plan.dataset_address,
        plugins=[
            PluginUse(
                plugin.entry.kind,
                plugin.entry.name,
                plugin.entry.distribution,
                plugin.entry.distribution_version,
                plugin.content_hash,
            )
            for plugin in plan.plugins
        ],
        provenance={
            **collect_provenance(plan.request.device, _kernel(plan)),
            "stage_versions": dict(STAGE_VERSIONS),
            "protocol_sha256": plan.request.protocol.sha256,
            "validation_env_steps": int(checkpoint["validation_env_steps"]),
        },
        diagnostics=adaptation.diagnostics,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _history_manifest(store: Store, plan: Plan, task: Task) -> dict[str, Any]:
    return store.manifest(dataset_kind(plan.dataset_address), task.label)


def _kernel(plan: Plan) -> str:
    """Which implementation computes the backbone on this device; empty for methods without a backbone."""
    if plan.backbone is None:
        return ""
    backbone = plan.backbone.plugin.component(plan.backbone.config, context_length=1)
    return str(getattr(backbone.to(plan.request.device), "kernel", "torch"))
