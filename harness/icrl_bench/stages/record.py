"""Record: one row in the leaderboard, with everything that it takes to recompute and rerun it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from icrl_bench.artefacts.histories import learning_curve
from icrl_bench.artefacts.store import Store
from icrl_bench.planning import Plan
from icrl_bench.stages.adapt import Adapt, kept_provenance, provenance_of
from icrl_bench.stages.certify import Certify
from icrl_bench.stages.stage import Context, Stage, in_order
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.runs.record import PluginUse, RunRecord
from icrl_registry.protocols.loading import list_protocols
from icrl_registry.protocols.model import Protocol

#: What must be equal for a row to say the same: all but when and where it was made.
CIRCUMSTANCES = ("created_at", "provenance", "seconds")


class Record(Stage[RunRecord]):
    """The row of one run, from its artefacts: the last stage of a plan, without an artefact of its own."""

    kind, folder = "record", "rows"
    there = "the row is there"
    is_shown = False
    needs_leaderboard = True

    def __init__(self, plan: Plan, seed: int) -> None:
        super().__init__(plan, seed)
        self.seed: int = seed
        self.adapt = Adapt(plan, seed)

    @property
    def inputs(self) -> tuple[Stage[Any], ...]:
        train = self.adapt.train
        return train.collect, self.adapt.floors, train, self.adapt

    def determinants(self) -> Mapping[str, Any]:
        return {"adapt": self.adapt.address}

    @property
    def run_id(self) -> str:
        """Names the run: the same plan gives the same id and replaces its earlier row."""
        return self.adapt.address

    def done(self, store: Store) -> bool:
        """Never: writing the row again is cheap, and it may be wanted in another leaderboard."""
        return False

    def make(self, context: Context) -> None:
        """Records the row unless one is there that says the same: that keeps its date and how it came about."""
        from icrl_leaderboards.analysis.summary import summarise_run

        assert context.leaderboard is not None
        record = self.read(context.store)
        recorded = _recorded(context.leaderboard, record)
        if recorded is None:
            context.leaderboard.record(record)
        record = recorded or record
        if context.hooks is not None:
            context.hooks.result({**summarise_run(record), "config": record.config})
        context.records.append(record)

    def ensure(self, context: Context) -> None:
        self.make(context)

    def read(self, store: Store) -> RunRecord:
        """The row, from the run's artefacts."""
        plan, train, adaptation = self.plan, self.adapt.train, self.adapt.read(store)
        floors, checkpoint = self.adapt.floors.read(store), train.manifest(store)
        return RunRecord(
            run_id=self.run_id,
            method=plan.request.method,
            backbone=plan.backbone.plugin.entry.name if plan.backbone else None,
            environment=plan.environment_id,
            protocol=plan.protocol_label,
            track=plan.request.track,
            seed=self.seed,
            variant=plan.variant,
            config=plan.config,
            parameters=int(checkpoint["parameters"]),
            task_parameters=[list(task.parameters) for task in plan.tasks["test"]],
            task_labels=[task.label for task in plan.tasks["test"]],
            returns=adaptation.returns,
            episode_lengths=adaptation.lengths,
            random=floors["random"],
            zero_action=floors["zero_action"],
            **self._histories(store),
            train_env_steps=int(checkpoint["online_env_steps"]) + self._given_steps(store),
            adapt_env_steps=adaptation.env_steps,
            seconds={
                "collect": train.collect.read(store).seconds,
                "train": float(checkpoint["seconds"]),
                "adapt": adaptation.seconds,
            },
            checkpoint=train.address,
            dataset=train.collect.address,
            plugins=plugins_used(plan),
            provenance=self._provenance(store, checkpoint),
            diagnostics=adaptation.diagnostics,
            success=adaptation.success,
            step_rewards=adaptation.step_rewards,
            blind_ceiling=self._blind_ceiling(store),
            protocol_content=_carried(plan.request.protocol),
            created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )

    def _histories(self, store: Store) -> dict[str, Any]:
        """The oracle's part of the row, and what collecting the row's histories cost."""
        dataset, tasks = self.adapt.train.collect.read(store), self.plan.tasks["test"]
        manifests = [dataset.manifest(task) for task in tasks]
        steps = sum(int(manifest["steps"]) for manifest in manifests)
        return {
            "oracle": [manifest["final_return"] for manifest in manifests],
            "oracle_greedy": [manifest["statistics"].get("greedy_return") for manifest in manifests],
            "source_curves": [learning_curve(dataset.history(task)).tolist() for task in tasks],
            "collect_env_steps": steps + self._given_steps(store),
        }

    def _blind_ceiling(self, store: Store) -> list[float] | None:
        """From the environment's certificate, if it was made: a row doesn't wait for one."""
        if not self.plan.request.protocol.certificate.demands_anything:
            return None
        certify = Certify(self.plan)
        return list(certify.read(store).blind_ceiling) if certify.done(store) else None

    def _given_steps(self, store: Store) -> int:
        """Environment steps in the histories that the method was given."""
        if not self.plan.trains_on_histories:
            return 0
        dataset = self.adapt.train.collect.read(store)
        return sum(int(dataset.manifest(task)["steps"]) for task in self.plan.meta_training_tasks)

    def _provenance(self, store: Store, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **(kept_provenance(store, self.run_id) or provenance_of(self.plan)),
            "stage_versions": stage_versions(self),
            "protocol_sha256": self.plan.request.protocol.sha256,
            "validation_env_steps": int(checkpoint["validation_env_steps"]),
        }


def stage_versions(record: Record) -> dict[str, int]:
    """Versions of the stages behind a row, by kind."""
    return {stage.kind: stage.version for stage in in_order([record]) if stage is not record}


def versions_in_the_id(record: Record) -> dict[str, int]:
    """Those of the stages whose addresses a row's id is made from: a stage that only looks on is not among them."""
    return {stage.kind: stage.version for stage in in_order([record.adapt])}


def _carried(protocol: Protocol) -> str | None:
    """The text of a protocol that doesn't come with the package, so that a colleague can verify the row without its file."""
    return protocol.text if protocol.text and protocol.id not in list_protocols() else None


def plugins_used(plan: Plan) -> list[PluginUse]:
    """The plan's plugins as a row names them."""
    return [
        PluginUse(
            plugin.entry.kind,
            plugin.entry.name,
            plugin.entry.distribution,
            plugin.entry.distribution_version,
            plugin.content_hash,
        )
        for plugin in plan.plugins
    ]


def _recorded(leaderboard: Leaderboard, record: RunRecord) -> RunRecord | None:
    """The row that is recorded already, if it says the same."""
    for recorded in leaderboard.runs(run_ids=[record.run_id]):
        if replace(recorded, **{name: getattr(record, name) for name in CIRCUMSTANCES}) == record:
            return recorded
    return None
