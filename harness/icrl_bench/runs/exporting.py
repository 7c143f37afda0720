"""The trained agent behind a recorded row: its plan and its checkpoint, to be played again or taken away."""

from __future__ import annotations

from pathlib import Path

from icrl_bench.artefacts.checkpoints import FILE
from icrl_bench.artefacts.store import Store
from icrl_bench.planning import Component, Plan
from icrl_bench.runs.verification import VerifiedPart, Verifier
from icrl_bench.seeding import agent_seed
from icrl_bench.stages.train import Train
from icrl_leaderboards.runs.record import RunRecord
from icrl_registry.errors import BenchError, UsageError
from icrl_registry.policies import Part, PolicyDescription, write_policy


def plan_of_agent(record: RunRecord, protocol: str | None = None) -> Plan:
    """The plan of a row in which an agent acts; `protocol` is a file to use in place of the one that the row names.

    Raises:
        BenchError: the plan cannot be made here. UsageError: no agent acts in the row.
    """
    plan = Verifier(protocol).plan(record)
    if isinstance(plan, VerifiedPart):
        raise BenchError(
            f"the plan of run {record.run_id} cannot be made here: {plan.detail}", "name its protocol file with -p"
        )
    if plan.replays_source:
        raise UsageError(
            f"{record.method} is the source's own recorded runs: no agent adapts in them",
            "choose a row of a method, such as dpt-mamba",
        )
    return plan


def checkpoint_of(store: Store, plan: Plan, record: RunRecord) -> Train:
    """The training that made the row's checkpoint, which is in the store.

    Raises:
        BenchError: it is not; the hint has the command that trains it.
    """
    train = Train(plan, record.seed, address=record.checkpoint)
    if not train.done(store):
        command = (
            f"icrl-bench run -m {record.method} -e {record.environment} -p {record.protocol} --seeds {record.seed}"
        )
        raise BenchError(f"the checkpoint {record.checkpoint} is not in {store.root}", f"`{command}` trains it")
    return train


def export_policy(store: Store, record: RunRecord, folder: Path, protocol: str | None = None) -> None:
    """Writes the row's trained agent into a new folder.

    Raises:
        BenchError: the plan or the checkpoint is not here. UsageError: no agent acts in the row, or the folder is taken.
    """
    plan = plan_of_agent(record, protocol)
    train = checkpoint_of(store, plan, record)
    train.read(store)  # whole, or it says so
    about = PolicyDescription(
        run_id=record.run_id,
        method_name=record.method,
        method=_part(plan.method),
        backbone=_part(plan.backbone) if plan.backbone is not None else None,
        spec=plan.make_environment().spec,
        num_episodes=plan.adapt.episodes,
        seed=agent_seed(record.seed),
    )
    write_policy(folder, about, (store.path(train.folder, train.address) / FILE).read_bytes())


def _part(component: Component) -> Part:
    return Part.of(component.plugin, component.config.model_dump(mode="json"))
