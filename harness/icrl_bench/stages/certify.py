"""Certify: whether an environment under a protocol tests learning in context, measured on its test tasks.

It stands beside the rows, not among what they wait for: it belongs to (environment, source, tasks), whatever the method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from icrl_bench.artefacts.histories import load_policy
from icrl_bench.artefacts.store import Store
from icrl_bench.certification.mixture import TaskMixture
from icrl_bench.certification.playing import Played, Policy, play, steps_to_tell_apart
from icrl_bench.planning import Plan, make_plan
from icrl_bench.seeding import mixture_seed
from icrl_bench.stages.collect import Collect
from icrl_bench.stages.floors import Floors
from icrl_bench.stages.stage import Context, Stage
from icrl_bench.stages.train import Train
from icrl_leaderboards.runs.certificates import Certificate
from icrl_registry.contracts import AdaptationSetting, Environment, FloatArray, Source, Task
from icrl_registry.errors import DamagedArtefactError, UsageError

FILE = "certificate.json"
CLONED = "task-blind"  # the method that clones all training tasks into one policy


class Certify(Stage[Certificate]):
    """The certificate of a plan's environment; the plan's method and seed don't enter it."""

    kind, folder = "certify", "certificates"
    there = "it is there"

    def __init__(self, plan: Plan) -> None:
        """`plan` may be of any method; the cloned policy comes from a plan of `task-blind` on the same data."""
        super().__init__(make_plan(replace(plan.request, method=CLONED, track="online", overrides=_shared(plan))))
        self.collect, self.floors, self.clone = Collect(self.plan), Floors(self.plan), Train(self.plan, 0)

    @property
    def inputs(self) -> tuple[Stage[Any], ...]:
        return self.collect, self.floors, self.clone

    def determinants(self) -> dict[str, Any]:
        return {
            "dataset": self.collect.address,
            "floors": self.floors.address,
            "clone": self.clone.address,
            "mixture": self._demanded.mixture_learners,
            "episodes": self._demanded.episodes,
        }

    def make(self, context: Context) -> None:
        certificate = self._measure(context)
        about = {"environment": self.plan.environment_id, "protocol": self.plan.protocol_label}
        with context.store.write(self.folder, self.address, about) as folder:
            (folder / FILE).write_text(certificate.model_dump_json(indent=1) + "\n", encoding="utf-8")

    def read(self, store: Store) -> Certificate:
        store.check(self.folder, self.address)
        path = store.path(self.folder, self.address) / FILE
        try:
            return Certificate.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise DamagedArtefactError(
                f"cannot read {path}: {error}", f"delete {path.parent}; the same command then makes it again"
            ) from error

    @property
    def _demanded(self) -> Any:
        return self.plan.request.protocol.certificate

    def _measure(self, context: Context) -> Certificate:
        plan, tasks = self.plan, self.plan.tasks["test"]
        environment, source = plan.make_environment(), plan.make_source()
        dataset = self.collect.read(context.store)
        learners, episodes = self._demanded.mixture_learners, self._demanded.episodes
        mixture_steps = learners * source.total_steps()
        played_steps = environment.spec.horizon * episodes * len(tasks) * (len(tasks) + 1 + learners)
        with context.progress.stage(self.name, mixture_steps + played_steps, "env steps") as stage:
            steps = 0

            def advance(count: int) -> None:
                nonlocal steps
                steps += count
                stage.advance(count)

            def played(policies: list[Policy], where: tuple[Task, ...] = tasks) -> Played:
                return play(environment, where, policies, episodes, plan.request.protocol.data_seed, advance)

            oracles = [
                greedy_policy(source, load_policy(context.store, self.collect.address, task), environment)
                for task in tasks
            ]
            greedy = played(oracles)
            blind = {"zero_action": list(self.floors.read(context.store)["zero_action"])}
            blind["cloned"] = _means(played([self._cloned(context.store, environment, len(tasks))] * len(tasks)))
            for index, policy in enumerate(self._mixture(source, environment, learners, advance)):
                blind[f"mixture {index}"] = _means(played([policy] * len(tasks)))
            bound = getattr(environment, "blind_return", lambda _: None)(tasks)  # those that don't inherit may lack it
            if bound is not None:
                blind["closed_form"] = [float(value) for value in bound]
            by_oracle = _by_oracle(
                greedy, [played(oracles[shift:] + oracles[:shift]) for shift in range(1, len(tasks))]
            )
            blind["one oracle"] = by_oracle[by_oracle.mean(axis=1).argmax()].tolist()
            own = np.eye(len(tasks), dtype=np.bool_)
            apart = steps_to_tell_apart(environment, tasks, plan.request.protocol.data_seed)
        return Certificate(
            environment=plan.environment_id,
            protocol=plan.protocol_label,
            source=plan.source.plugin.entry.name,
            task_labels=tuple(task.label for task in tasks),
            random=tuple(self.floors.read(context.store)["random"]),
            oracle=tuple(float(dataset.manifest(task)["final_return"]) for task in tasks),
            oracle_greedy=tuple(_means(greedy)),
            success=None if greedy.successes is None else tuple(greedy.successes.mean(axis=1).tolist()),
            blind={name: tuple(values) for name, values in blind.items()},
            wrong_task=tuple(np.nanmean(np.where(own, np.nan, by_oracle), axis=0).tolist()),
            steps_to_tell_apart=float(np.median(apart)),
            horizon=environment.spec.horizon,
            env_steps=steps,
        )

    def _cloned(self, store: Store, environment: Environment, num_tasks: int) -> Policy:
        """The policy of `task-blind`, which sees an observation and nothing else."""
        agent = self.plan.make_method().agent(self.clone.read(store), environment.spec, self.plan.request.device)
        agent.begin(AdaptationSetting(num_tasks, 1, "online", np.random.SeedSequence(0)))
        return agent.act

    def _mixture(
        self, source: Source, environment: Environment, learners: int, advance: Callable[[int], None]
    ) -> list[Policy]:
        """The plan's own source, trained on a task that is drawn anew at each reset."""
        data_seed = self.plan.request.protocol.data_seed
        mixture = TaskMixture(environment, self.plan.tasks["train"])
        policies = []
        for first in range(0, learners, source.group_size()):
            group = range(first, min(first + source.group_size(), learners))
            named = [Task((0.0,), "train", index) for index in group]
            seeds = [mixture_seed(data_seed, index) for index in group]
            policies += [
                greedy_policy(source, run.policy, environment) for run in source.collect(mixture, named, seeds, advance)
            ]
        return policies


def greedy_policy(source: Source, tensors: Any, environment: Environment) -> Policy:
    """A source's trained policy without exploration.

    Raises:
        UsageError: the source cannot rebuild its policies.
    """
    rebuild = getattr(source, "greedy_policy", None)
    if rebuild is None:
        raise UsageError(
            f"{type(source).__name__} cannot play its trained policies",
            "a source whose environments are to be certified needs `greedy_policy(tensors, spec)`",
        )
    return cast(Callable[[FloatArray], FloatArray], rebuild(tensors, environment.spec))


def _shared(plan: Plan) -> dict[str, Any]:
    """The overrides that all methods share: those of the plan's own method and backbone stay out."""
    return {name: table for name, table in plan.request.overrides.items() if name not in ("method", "backbone")}


def _by_oracle(greedy: Played, shifted: Sequence[Played]) -> NDArray[np.float64]:
    """Mean return of the oracle of task i in task j, (K, K): `shifted[s − 1]` has the oracle of task j + s in task j."""
    count = len(greedy.returns)
    found = np.diag(greedy.returns.mean(axis=1))
    for shift, played in enumerate(shifted, 1):
        for task, value in enumerate(_means(played)):
            found[(task + shift) % count, task] = value
    return found


def _means(played: Played) -> list[float]:
    return [float(value) for value in played.returns.mean(axis=1)]
