"""Stage 2: the method meta-trains, on the training tasks' histories or online on metered training tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from icrl_bench.artefacts.checkpoints import KIND, TrainingProgress, save_final
from icrl_bench.artefacts.histories import load_history
from icrl_bench.artefacts.store import Store
from icrl_bench.machine.progress import Progress
from icrl_bench.plan import Plan
from icrl_bench.seeding import reset_seed, train_seed, validation_agent_seed
from icrl_bench.stages.rollout import Meter, MeteredBatch, Outcome, rollout
from icrl_registry.contracts import (
    AdaptationSetting,
    Agent,
    BatchedEnvironment,
    Environment,
    Method,
    Task,
    TrainingJob,
    TrainingTasks,
)
from icrl_registry.errors import BenchError


class MeteredTrainingTasks(TrainingTasks):
    """The training tasks for a method that meta-trains online, on the run's meter."""

    def __init__(self, environment: Environment, tasks: Sequence[Task], meter: Meter) -> None:
        self.environment = environment
        self.tasks = tasks
        self.meter = meter

    def make_batch(self, indices: Sequence[int]) -> BatchedEnvironment:
        return MeteredBatch(self.environment.make_batch([self.tasks[index] for index in indices]), self.meter)


def train_method(store: Store, plan: Plan, seed: int, progress: Progress) -> None:
    """Trains unless the checkpoint is there; continues from kept progress after an interruption."""
    address = plan.checkpoint_address(seed)
    name = f"train seed {seed}"
    with store.lock(KIND, address, progress.message):
        if store.exists(KIND, address):
            progress.skip(name, "the checkpoint is there")
            return
        kept = TrainingProgress(store, address)
        environment, method = plan.make_environment(), plan.make_method()
        with progress.stage(name, 1, "updates", done=None) as stage:

            def report(done: int, total: int, metrics: Mapping[str, float]) -> None:
                stage.total, stage.first = total, kept.updates_before
                kept.updates = done
                numbers = {name: float(value) for name, value in metrics.items() if np.isfinite(value)}
                if not kept.curve or done == total or done >= kept.curve[-1]["updates"] + max(1, total // 200):
                    kept.curve.append({"updates": float(done), **numbers})
                stage.set(done, metrics=numbers)

            checkpoint = method.train(_job(store, plan, seed, environment, method, kept, report))
        save_final(
            store,
            address,
            checkpoint,
            {
                "method": plan.request.method,
                "environment": plan.environment_id,
                "dataset": plan.dataset_address,
                "seed": seed,
                "config": plan.config,
                "seconds": round(kept.seconds, 3),
                "parameters": method.parameter_count(checkpoint),
                "online_env_steps": kept.counters.get("online", 0),
                "validation_env_steps": kept.counters.get("validation", 0),
                "curve": kept.curve,
            },
        )
        kept.discard()


def _job(
    store: Store,
    plan: Plan,
    seed: int,
    environment: Environment,
    method: Method,
    kept: TrainingProgress,
    report: Any,
) -> TrainingJob:
    wants = method.training_data
    online = Meter(kept.counters, "online")
    histories = (
        [load_history(store, plan.dataset_address, task) for task in plan.tasks["train"]]
        if wants == "histories"
        else []
    )

    def validate(agent: Agent) -> Mapping[str, float]:
        outcome = _validate(plan, seed, environment, agent, Meter(kept.counters, "validation"))
        return _validation_metrics(outcome)

    return TrainingJob(
        spec=environment.spec,
        histories=histories,
        tasks=MeteredTrainingTasks(environment, plan.tasks["train"], online) if wants == "tasks" else None,
        seed=train_seed(seed),
        device=plan.request.device,
        checkpoints=kept,
        validate=validate,
        report=report,
    )


def _validate(plan: Plan, seed: int, environment: Environment, agent: Agent, meter: Meter) -> Outcome:
    tasks = plan.tasks["validation"]
    setting = AdaptationSetting(len(tasks), plan.adapt.validation_episodes, "online", validation_agent_seed(seed))
    batch = MeteredBatch(environment.make_batch(tasks), meter)
    try:
        data_seed = plan.request.protocol.data_seed
        return rollout(
            agent, batch, environment.spec, tasks, setting, lambda task, episode: reset_seed(data_seed, task, episode)
        )
    finally:
        batch.close()


def _validation_metrics(outcome: Outcome) -> dict[str, float]:
    episodes = outcome.returns.shape[1]
    last = max(1, episodes // 10)
    if not np.isfinite(outcome.returns).all():
        raise BenchError("a validation return is not finite", "`icrl-bench plugins check` on the environment")
    return {
        "first_episode": float(outcome.returns[:, 0].mean()),
        "last_episodes": float(outcome.returns[:, -last:].mean()),
        "mean_return": float(outcome.returns.mean()),
    }
