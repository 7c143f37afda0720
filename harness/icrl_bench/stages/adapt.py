"""Stage 3: a trained method meets the test tasks."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

from icrl_bench.artefacts.checkpoints import load_final
from icrl_bench.artefacts.histories import load_history
from icrl_bench.artefacts.store import Store
from icrl_bench.machine.progress import Progress
from icrl_bench.plan import Plan
from icrl_bench.seeding import agent_seed, reset_seed
from icrl_bench.stages.rollout import Meter, MeteredBatch, rollout
from icrl_bench.stages.source_runs import replay_source_runs
from icrl_registry.contracts import AdaptationSetting
from icrl_registry.errors import DamagedArtefactError

KIND = "adaptations"
FILE = "returns.json"


@dataclass(frozen=True)
class Adaptation:
    """What one run achieved on its test tasks."""

    returns: list[list[float]]  # (K, E)
    lengths: list[list[int]]  # (K, E)
    env_steps: int
    seconds: float
    diagnostics: dict[str, float]


def adapt_to_test_tasks(store: Store, plan: Plan, seed: int, progress: Progress) -> Adaptation:
    """Runs the adaptation unless it is there; an interrupted one starts anew and ends with the same returns."""
    name = plan.run_address(seed)
    with store.lock(KIND, name, progress.message):
        if store.exists(KIND, name):
            progress.skip(_stage(seed), "the returns are there")
        else:
            adaptation = run_adaptation(store, plan, seed, plan.checkpoint_address(seed), progress)
            with store.write(KIND, name, {"checkpoint": plan.checkpoint_address(seed), "seed": seed}) as folder:
                (folder / FILE).write_text(json.dumps(asdict(adaptation), allow_nan=False) + "\n", encoding="utf-8")
    return read_adaptation(store, name)


def read_adaptation(store: Store, name: str) -> Adaptation:
    """The adaptation of a run that is kept in the store.

    Raises:
        DamagedArtefactError: it is missing, damaged, or not readable.
    """
    store.check(KIND, name)
    try:
        return Adaptation(**json.loads((store.path(KIND, name) / FILE).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        path = store.path(KIND, name)
        raise DamagedArtefactError(
            f"cannot read {path / FILE}: {error}", f"delete {path}; the same run command then makes it again"
        ) from error


def _stage(seed: int) -> str:
    return f"adapt seed {seed}"


def run_adaptation(store: Store, plan: Plan, seed: int, checkpoint: str, progress: Progress) -> Adaptation:
    """Lets the method of a checkpoint adapt to the test tasks; keeps nothing. Equal arguments give equal returns."""
    if plan.replays_source:
        return _replay(store, plan, seed, progress)
    environment, method, tasks = plan.make_environment(), plan.make_method(), plan.tasks["test"]
    agent = method.agent(load_final(store, checkpoint), environment.spec, plan.request.device)
    offline = None
    if plan.request.track == "offline":
        offline = [load_history(store, plan.dataset_address, task) for task in tasks]
    setting = AdaptationSetting(len(tasks), plan.adapt.episodes, plan.request.track, agent_seed(seed), offline)
    meter = Meter()
    batch = MeteredBatch(environment.make_batch(tasks), meter)
    data_seed = plan.request.protocol.data_seed
    started = time.monotonic()
    total = len(tasks) * plan.adapt.episodes * environment.spec.horizon
    try:
        with progress.stage(_stage(seed), total, "env steps") as stage:
            outcome = rollout(
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
    return Adaptation(
        returns=outcome.returns.tolist(),
        lengths=outcome.lengths.tolist(),
        env_steps=meter.steps,
        seconds=round(time.monotonic() - started, 3),
        diagnostics={name: float(value) for name, value in agent.diagnostics().items()},
    )


def _replay(store: Store, plan: Plan, seed: int, progress: Progress) -> Adaptation:
    """The source's recorded runs on the test tasks; the seconds are those of reading, as collecting has its own."""
    started = time.monotonic()
    runs = replay_source_runs(store, plan)
    progress.skip(_stage(seed), "the source's own runs on the test tasks, from their histories")
    return Adaptation(
        returns=runs.outcome.returns.tolist(),
        lengths=runs.outcome.lengths.tolist(),
        env_steps=runs.env_steps,
        seconds=round(time.monotonic() - started, 3),
        diagnostics=runs.diagnostics,
    )
