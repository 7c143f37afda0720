"""The adaptation behind a recorded row, played again from its checkpoint so that episodes of it can be filmed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from icrl_bench.artefacts.store import Store
from icrl_bench.runs.exporting import checkpoint_of, plan_of_agent
from icrl_bench.seeding import agent_seed, reset_seed
from icrl_bench.stages.rollout import rollout
from icrl_bench.watching.drawing import make_renderer
from icrl_bench.watching.filming import Filmed, FilmedBatch, Shot
from icrl_leaderboards.runs.record import RunRecord
from icrl_registry.contracts import AdaptationSetting, Task
from icrl_registry.errors import UsageError, unknown_name


@dataclass(frozen=True)
class Film:
    """What was filmed of one task, and what it takes to write it down."""

    record: RunRecord
    task: Task
    parameter_names: tuple[str, ...]  # with units
    horizon: int
    seconds_per_step: float  # of the simulated world
    shots: list[Shot]
    difference: float  # largest |return − recorded return| over the episodes that were played again, 0 if none differs

    @property
    def row(self) -> int:
        """The task's place among the row's test tasks."""
        return self.record.task_labels.index(self.task.label)


@dataclass(frozen=True)
class Wish:
    """What shall be filmed, and how large."""

    task: str | None = None  # its label; None: the task of median gain
    episodes: Sequence[int] | None = None  # counted from 1; None: the first, one after a quarter, the last
    size: int = 240  # pixels, width and height of one picture
    frames_per_second: float = 12.5
    shortest: float = 4.0  # seconds; shorter episodes are shown in slow motion


def chosen_episodes(wish: Wish, record: RunRecord) -> list[int]:
    """The episodes, in order.

    Raises:
        UsageError: one that the row does not have.
    """
    count = len(record.returns[0])
    if wish.episodes is None:
        return sorted({1, max(1, round(count / 4)), count})
    if not wish.episodes or min(wish.episodes) < 1 or max(wish.episodes) > count:
        given = ",".join(map(str, wish.episodes))
        raise UsageError(f"--episodes {given}: the row has the episodes 1 to {count}", f"such as --episodes 1,{count}")
    return sorted(set(wish.episodes))


def chosen_task(wish: Wish, record: RunRecord, episodes: Sequence[int]) -> int:
    """Its place among the row's tasks: the one that was asked for, or the one whose gain from the first to the last of the
    episodes is the median: neither the best nor the worst picture of the method.

    Raises:
        UnknownNameError: no such task.
    """
    if wish.task is not None:
        if wish.task not in record.task_labels:
            raise unknown_name("test task", wish.task, record.task_labels)
        return record.task_labels.index(wish.task)
    returns = np.asarray(record.returns)  # (K, E)
    first = returns[:, episodes[0] - 1] if len(episodes) > 1 else np.zeros(len(returns))
    gains = returns[:, episodes[-1] - 1] - first  # (K,)
    return int(np.argsort(gains, kind="stable")[(len(gains) - 1) // 2])


def film(
    store: Store, record: RunRecord, wish: Wish, report_steps: Callable[[int], None], protocol: str | None = None
) -> Film:
    """Plays the row's adaptation up to the last chosen episode and films it.

    Raises:
        UsageError: the row, the task or the episode cannot be watched; the hint says what can.
        BenchError: the plan or the checkpoint is not there.
    """
    plan = plan_of_agent(record, protocol)
    if plan.adapt.switch_task:
        raise UsageError(
            "the row changes its task half-way, which is not filmed", "watch a row without adapt.switch_task"
        )
    episodes = chosen_episodes(wish, record)
    row = chosen_task(wish, record, episodes)
    train = checkpoint_of(store, plan, record)
    environment, tasks = plan.make_environment(), plan.tasks["test"]
    task, spec = tasks[row], environment.spec
    env, renderer = make_renderer(environment, plan.environment_id, task, wish.size, wish.size)
    seconds = 1.0 / float(env.metadata.get("render_fps") or 30)
    batch = FilmedBatch(
        environment.make_batch(tasks), row, episodes, env, renderer, _stride(wish, seconds, spec.horizon)
    )
    offline = None
    if record.track == "offline":
        offline = [train.collect.read(store).history(each) for each in tasks]
    count = len(record.returns[0])
    setting = AdaptationSetting(len(tasks), count, plan.request.track, agent_seed(record.seed), offline)
    data_seed = plan.request.protocol.data_seed
    _compute_as_recorded(record)
    try:
        agent = plan.make_method().agent(train.read(store), spec, plan.request.device)
        rollout(
            agent, batch, spec, tasks, setting, lambda each, episode: reset_seed(data_seed, each, episode),
            plan.adapt.rewards, report_steps,
        )  # fmt: skip
    except Filmed:
        pass
    finally:
        batch.close()
    recorded = record.returns[row][: len(batch.returns)]
    difference = float(np.max(np.abs(np.subtract(batch.returns, recorded)), initial=0.0))
    return Film(record, task, environment.task_parameter_names, spec.horizon, seconds, batch.shots, difference)


def steps_to_play(record: RunRecord, wish: Wish) -> int:
    """Environment steps of all tasks up to the end of the last chosen episode, for a progress bar."""
    last = chosen_episodes(wish, record)[-1]
    return int(np.asarray(record.episode_lengths)[:, :last].sum())


def _stride(wish: Wish, seconds: float, horizon: int) -> int:
    """Steps from picture to picture: real time, or slower where an episode would be over in a moment."""
    speed = min(1.0, horizon * seconds / wish.shortest)
    return max(1, round(speed / (seconds * wish.frames_per_second)))


def _compute_as_recorded(record: RunRecord) -> None:
    """As many threads as the run had: sums in another order round otherwise, and bodies that touch things tell."""
    import torch

    hardware = record.provenance.get("hardware")
    threads = hardware.get("threads") if isinstance(hardware, dict) else None
    if isinstance(threads, int) and threads > 0:
        torch.set_num_threads(threads)
