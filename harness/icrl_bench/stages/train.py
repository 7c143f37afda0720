"""Train: the method meta-trains, on the training tasks' histories or online on metered training tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from icrl_bench.artefacts.checkpoints import KIND as CHECKPOINTS
from icrl_bench.artefacts.checkpoints import KeptProgress, load_final, save_final
from icrl_bench.artefacts.histories import load_policy
from icrl_bench.artefacts.store import Store
from icrl_bench.planning import Plan
from icrl_bench.seeding import reset_seed, train_seed, validation_agent_seed
from icrl_bench.stages.collect import Collect
from icrl_bench.stages.rollout import Meter, MeteredBatch, RolloutResult, rollout
from icrl_bench.stages.stage import Context, Stage
from icrl_registry.contracts import (
    AdaptationSetting,
    Agent,
    Array,
    BatchedEnvironment,
    Checkpoint,
    Environment,
    EnvironmentSpec,
    ExpertActions,
    FloatArray,
    GreedyPolicy,
    Method,
    Source,
    Task,
    TrainingJob,
    TrainingTasks,
)
from icrl_registry.errors import BenchError, UsageError

ReportUpdates = Callable[[int, int, Mapping[str, float]], None]  # updates done, updates in all, metrics


class MeteredTrainingTasks(TrainingTasks):
    """The training tasks for a method that meta-trains online, on the run's meter."""

    def __init__(self, environment: Environment, tasks: Sequence[Task], meter: Meter) -> None:
        self.environment = environment
        self.tasks = tasks
        self.meter = meter

    def make_batch(self, indices: Sequence[int]) -> BatchedEnvironment:
        return MeteredBatch(self.environment.make_batch([self.tasks[index] for index in indices]), self.meter)


class Train(Stage[Checkpoint]):
    """The checkpoint that agents are made from; training continues from kept progress after an interruption."""

    kind, folder = "train", CHECKPOINTS
    there = "the checkpoint is there"

    def __init__(self, plan: Plan, seed: int, address: str | None = None) -> None:
        """`address` names a checkpoint of an earlier plan, to stand in the place of this plan's own."""
        super().__init__(plan, seed)
        self.seed: int = seed
        self.collect = Collect(plan)
        if address is not None:
            self.address = address

    @property
    def inputs(self) -> tuple[Stage[Any], ...]:
        return (self.collect,) if self.plan.trains_on_histories else ()

    def determinants(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "dataset": self.collect.address,
            "method": plan.method.determinants,
            "backbone": plan.backbone.determinants if plan.backbone else None,
            "validation_episodes": plan.adapt.validation_episodes,
            "device": plan.request.device.split(":")[0],
            "seed": self.seed,
            **({"tasks": len(plan.meta_training_tasks)} if plan.train.tasks is not None else {}),
        }

    def make(self, context: Context) -> None:
        plan, store = self.plan, context.store
        kept = KeptProgress(store, self.address)
        environment, method = plan.make_environment(), plan.make_method()
        with context.progress.stage(self.name, 1, "updates", done=None) as stage:

            def report(done: int, total: int, metrics: Mapping[str, float]) -> None:
                stage.total, stage.first = total, kept.updates_before
                stage.set(done, metrics=kept.note(done, total, metrics))

            checkpoint = method.train(self._job(store, environment, method, kept, report))
        about = {
            "method": plan.request.method,
            "environment": plan.environment_id,
            "dataset": self.collect.address,
            "seed": self.seed,
            "device": plan.request.device,
            "config": plan.config,
            "seconds": round(kept.seconds, 3),
            "parameters": method.parameter_count(checkpoint),
            "online_env_steps": kept.counters.get("online", 0),
            "validation_env_steps": kept.counters.get("validation", 0),
            "curve": kept.curve,
        }
        save_final(store, self.address, checkpoint, about)
        kept.discard()

    def read(self, store: Store) -> Checkpoint:
        return load_final(store, self.address)

    def manifest(self, store: Store) -> dict[str, Any]:
        """What the training cost, and its curve."""
        return store.manifest(self.folder, self.address)

    def _experts(self, store: Store, environment: Environment) -> ExpertActions | None:
        """The final policies behind the training histories; None if the source cannot rebuild them."""
        source, tasks, dataset = self.plan.make_source(), self.plan.meta_training_tasks, self.collect.address
        experts = Experts(source, environment.spec, tasks, lambda task: load_policy(store, dataset, task))
        first = source.greedy_policy(experts.load(tasks[0]), environment.spec)
        if first is None:
            return None
        experts.policies[0] = first
        return experts

    def _job(
        self, store: Store, environment: Environment, method: Method, kept: KeptProgress, report: ReportUpdates
    ) -> TrainingJob:
        plan, wants, tasks = self.plan, method.training_data, self.plan.meta_training_tasks
        online = Meter(kept.counters, "online")
        histories = self.collect.read(store)

        def validate(agent: Agent) -> Mapping[str, float]:
            result = _validate(plan, self.seed, environment, agent, Meter(kept.counters, "validation"))
            return _validation_metrics(result)

        return TrainingJob(
            spec=environment.spec,
            histories=[histories.history(task) for task in tasks] if wants == "histories" else [],
            expert_actions=self._experts(store, environment) if wants == "histories" else None,
            tasks=MeteredTrainingTasks(environment, tasks, online) if wants == "tasks" else None,
            seed=train_seed(self.seed),
            device=plan.request.device,
            checkpoints=kept,
            validate=validate,
            report=report,
        )


@dataclass
class Experts:
    """The sources' final policies on the training tasks, each rebuilt when it is first asked for."""

    source: Source
    spec: EnvironmentSpec
    tasks: Sequence[Task]
    load: Callable[[Task], Mapping[str, Array]]  # a training task → its policy's tensors
    policies: dict[int, GreedyPolicy] = field(default_factory=dict)

    def __call__(self, index: int, observations: FloatArray) -> FloatArray:
        """What the final policy of `tasks[index]` does without exploration in `observations`, (N, O) → (N, A)."""
        if index not in self.policies:
            task = self.tasks[index]
            policy = self.source.greedy_policy(self.load(task), self.spec)
            if policy is None:
                raise UsageError(
                    f"the source left no expert for {task.label}, though it left one for others",
                    "bring expert_actions for all training tasks, or take a method without experts: ad",
                )
            self.policies[index] = policy
        return self.policies[index](observations)


def _validate(plan: Plan, seed: int, environment: Environment, agent: Agent, meter: Meter) -> RolloutResult:
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


def _validation_metrics(result: RolloutResult) -> dict[str, float]:
    episodes = result.returns.shape[1]
    last = max(1, episodes // 10)
    if not np.isfinite(result.returns).all():
        raise BenchError("a validation return is not finite", "`icrl-bench plugins check` on the environment")
    return {
        "first_episode": float(result.returns[:, 0].mean()),
        "last_episodes": float(result.returns[:, -last:].mean()),
        "mean_return": float(result.returns.mean()),
    }
