"""Adapt: a trained method meets the test tasks."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icrl_bench.artefacts.store import Store
from icrl_bench.machine.provenance import collect_provenance
from icrl_bench.planning import Plan
from icrl_bench.seeding import agent_seed, reset_seed
from icrl_bench.stages.floors import Floors
from icrl_bench.stages.rollout import Meter, MeteredBatch, rollout
from icrl_bench.stages.source_runs import replay_source_runs
from icrl_bench.stages.stage import Context, Stage
from icrl_bench.stages.switching import SwitchingBatch, first_tasks
from icrl_bench.stages.train import Train
from icrl_registry.contracts import AdaptationSetting, BatchedEnvironment, Environment, Task
from icrl_registry.errors import DamagedArtefactError
from icrl_registry.protocols.model import AdaptConfig

FILE = "returns.json"
PROVENANCE = "provenance"  # in the manifest


@dataclass(frozen=True)
class AdaptationResult:
    """What one run achieved on its test tasks."""

    returns: list[list[float]]  # (K, E)
    lengths: list[list[int]]  # (K, E)
    env_steps: int
    seconds: float
    diagnostics: dict[str, float]
    success: list[list[float]] | None = None  # (K, E) in [0, 1]; None where it isn't measured
    step_rewards: list[list[float]] | None = None  # (3 or fewer, H), mean over the tasks; None in older adaptations


class Adapt(Stage[AdaptationResult]):
    """The returns of every episode on every test task. Its address is the run's id: an equal plan replaces its earlier row.

    An interrupted adaptation starts anew and ends with the same returns.
    """

    kind, folder = "adapt", "adaptations"
    there = "the returns are there"

    def __init__(self, plan: Plan, seed: int, train: Train | None = None) -> None:
        super().__init__(plan, seed)
        self.seed: int = seed
        self.train = train or Train(plan, seed)
        self.floors = Floors(plan)

    @property
    def inputs(self) -> tuple[Stage[Any], ...]:
        reads_histories = self.plan.replays_source or self.plan.request.track == "offline"
        return (*((self.train.collect,) if reads_histories else ()), self.train)

    def determinants(self) -> dict[str, Any]:
        return {
            "checkpoint": self.train.address,
            "floors": self.floors.address,
            "protocol": self.plan.protocol_label,
            "adapt": self.plan.adapt.model_dump(mode="json"),
            "track": self.plan.request.track,
            "seed": self.seed,
        }

    def make(self, context: Context) -> None:
        adaptation = self.run(context)
        about = {"checkpoint": self.train.address, "seed": self.seed, PROVENANCE: provenance_of(self.plan)}
        with context.store.write(self.folder, self.address, about) as folder:
            (folder / FILE).write_text(json.dumps(asdict(adaptation), allow_nan=False) + "\n", encoding="utf-8")

    def read(self, store: Store) -> AdaptationResult:
        return read_adaptation(store, self.address)

    def run(self, context: Context) -> AdaptationResult:
        """Lets the method of the checkpoint adapt; keeps nothing. Equal arguments give equal returns."""
        return self._replay(context) if self.plan.replays_source else self._adapt(context)

    def _adapt(self, context: Context) -> AdaptationResult:
        plan, tasks = self.plan, self.plan.tasks["test"]
        environment, method = plan.make_environment(), plan.make_method()
        agent = method.agent(self.train.read(context.store), environment.spec, plan.request.device)
        offline = None
        if plan.request.track == "offline":
            offline = [self.train.collect.read(context.store).history(task) for task in tasks]
        setting = AdaptationSetting(len(tasks), plan.adapt.episodes, plan.request.track, agent_seed(self.seed), offline)
        meter = Meter()
        batch = MeteredBatch(_trial(environment, tasks, plan.adapt), meter)
        data_seed = plan.request.protocol.data_seed
        started = time.monotonic()
        total = len(tasks) * plan.adapt.episodes * environment.spec.horizon
        try:
            with context.progress.stage(self.name, total, "env steps") as stage:
                result = rollout(
                    agent,
                    batch,
                    environment.spec,
                    tasks,
                    setting,
                    lambda task, episode: reset_seed(data_seed, task, episode),
                    plan.adapt.rewards,
                    stage.advance,
                )
        finally:
            batch.close()
        return AdaptationResult(
            returns=result.returns.tolist(),
            lengths=result.lengths.tolist(),
            env_steps=meter.steps,
            seconds=round(time.monotonic() - started, 3),
            diagnostics={name: float(value) for name, value in agent.diagnostics().items()},
            success=None if np.isnan(result.successes).any() else result.successes.tolist(),
            step_rewards=_shortened(result.step_rewards),
        )

    def _replay(self, context: Context) -> AdaptationResult:
        """The source's recorded runs on the test tasks; the seconds are those of reading, as collecting has its own."""
        started = time.monotonic()
        histories = self.train.collect.read(context.store)
        runs = replay_source_runs([histories.history(task) for task in self.plan.tasks["test"]])
        context.progress.skip(self.name, "the source's own runs on the test tasks, from their histories")
        return AdaptationResult(
            returns=runs.result.returns.tolist(),
            lengths=runs.result.lengths.tolist(),
            env_steps=runs.env_steps,
            seconds=round(time.monotonic() - started, 3),
            diagnostics=runs.diagnostics,
        )


def provenance_of(plan: Plan) -> dict[str, Any]:
    """What this process computes a plan with: versions, hardware, revision, and the kernel of the backbone."""
    return collect_provenance(plan.request.device, _kernel(plan))


def kept_provenance(store: Store, run_id: str) -> dict[str, Any] | None:
    """With what an adaptation was made, maybe on another machine; None of one that was made before this was noted."""
    found = store.manifest(Adapt.folder, run_id).get(PROVENANCE)
    return dict(found) if isinstance(found, dict) else None


def _kernel(plan: Plan) -> str:
    """Which implementation computes the backbone on this device; empty for methods without a backbone."""
    if plan.backbone is None:
        return ""
    backbone = plan.backbone.plugin.component(plan.backbone.config, context_length=1)
    return str(getattr(backbone.to(plan.request.device), "kernel", "torch"))


def _shortened(numbers: NDArray[np.float64] | None) -> list[list[float]] | None:
    """Six significant digits: what a curve needs, in a third of the bytes."""
    return None if numbers is None else [[float(f"{value:.6g}") for value in row] for row in numbers]


def _trial(environment: Environment, tasks: Sequence[Task], adapt: AdaptConfig) -> BatchedEnvironment:
    """The test tasks as the agent meets them."""
    batch = environment.make_batch(tasks)
    if not adapt.switch_task:
        return batch
    return SwitchingBatch(environment.make_batch(first_tasks(tasks)), batch, adapt.episodes // 2)


def has_adaptation(store: Store, run_id: str) -> bool:
    """Whether a run's adaptation is in the store, whatever plan it was made by."""
    return store.exists(Adapt.folder, run_id)


def read_adaptation(store: Store, run_id: str) -> AdaptationResult:
    """The adaptation of a run that is kept in the store.

    Raises:
        DamagedArtefactError: it is missing, damaged, or not readable.
    """
    store.check(Adapt.folder, run_id)
    path = store.path(Adapt.folder, run_id)
    try:
        return AdaptationResult(**json.loads((path / FILE).read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedArtefactError(
            f"cannot read {path / FILE}: {error}", f"delete {path}; the same run command then makes it again"
        ) from error
