"""What a source promises, tried on a toy: whole and true histories, reproducible per task, nothing global touched.

The toy's dynamics and rewards are known in closed form, so a history that was scaled, clipped, shifted by one step or cut
at the wrong place is found out whatever the algorithm does.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence

import numpy as np

from icrl_registry.contracts import Array, SourceRun, Task
from icrl_registry.testing.given_world import world_of
from icrl_registry.testing.method_trials import Interrupted, MemoryStore
from icrl_registry.testing.toy import ToyPoint
from icrl_registry.testing.toy_grid import ToyGrid
from icrl_registry.testing.trial import (
    Check,
    Trial,
    require,
    require_action_kinds,
    require_array,
    require_equal,
    require_equal_tensors,
    unchanged_global_randomness,
)

TOLERANCE = 1e-5  # of float32 rewards and positions
COLUMNS = ("observations", "actions", "rewards", "next_observations", "terminated", "truncated")


def declares_its_actions(trial: Trial) -> None:
    """`action_kinds` are kinds that the harness knows."""
    require_action_kinds(trial)


def collects_whole_histories(trial: Trial) -> None:
    """One run a task, in order; arrays (S, T, …) of float32, as many steps as `total_steps` and `report_steps` say."""
    environment, tasks, runs, reported = _collected(trial)
    require(len(runs) == len(tasks), f"{len(runs)} runs for {len(tasks)} tasks")
    sizes = environment.spec.observation_size, environment.spec.action_size
    for task, run in zip(tasks, runs, strict=True):
        history = run.history
        require(history.task == task, f"the run at the place of {task} belongs to {history.task}")
        streams, steps = np.asarray(history.rewards).shape
        for name, size in zip(("observations", "actions", "next_observations"), (*sizes, sizes[0]), strict=True):
            require_array(name, np.asarray(getattr(history, name)), (streams, steps, size), np.float32)
        require_array("rewards", np.asarray(history.rewards), (streams, steps), np.float32)
        for name in ("terminated", "truncated"):
            require_array(name, np.asarray(getattr(history, name)), (streams, steps), np.bool_)
        if history.policy_means is not None:
            require_array("policy_means", np.asarray(history.policy_means), (streams, steps, sizes[1]), np.float32)
        promised = trial.make().total_steps()
        require(history.num_steps == promised, f"{history.num_steps} steps, but total_steps() is {promised}")
        require(history.num_steps >= environment.config.horizon, "not one whole episode; give it more total_steps")
    total = sum(run.history.num_steps for run in runs)
    require(reported == total, f"report_steps was told {reported} steps, {total} were taken")


def keeps_actions_in_range(trial: Trial) -> None:
    """The actions are those executed, in [-1, 1] or one-hot."""
    environment, _, runs, _ = _collected(trial)
    for run in runs:
        actions = np.asarray(run.history.actions)
        largest = float(np.abs(actions).max())
        require(largest <= 1.0, f"an action of {largest:.3g}: record what was executed, after clipping")
        require(float(actions.std()) > 0, "all actions are equal")
        _require_one_hot(environment, "the recorded actions", actions)


def records_true_successors(trial: Trial) -> None:
    """`next_observations` follow from observation and action, also where an episode ended, and are the next observations."""
    environment, _, runs, _ = _collected(trial)
    for run in runs:
        history = run.history
        ended = history.terminated | history.truncated
        if environment.has_closed_form:
            expected = environment.successors(history.observations, history.actions)
            gap = np.abs(expected - history.next_observations).max(axis=-1)  # (S, T)
            inside, at_ends = gap[~ended].max(initial=0), gap[ended].max(initial=0)
            require(inside <= TOLERANCE, f"next_observations are off by {inside:.3g}: not what the action led to")
            require(at_ends <= TOLERANCE, f"at an episode's end they are off by {at_ends:.3g}: is it the next reset?")
        same_episode = ~ended[:, :-1]
        steps = history.next_observations[:, :-1][same_episode], history.observations[:, 1:][same_episode]
        require_equal("the next observation", *steps, "from the observation that follows it")


def records_true_rewards(trial: Trial) -> str | None:
    """The rewards are the environment's own, neither scaled nor normalised nor clipped."""
    environment, _, runs, _ = _collected(trial)
    if not environment.has_closed_form:
        return f"{environment.spec.id} is not known in closed form: leave --env out to compare them on a toy"
    for run in runs:
        expected = environment.rewards(run.history.next_observations, np.asarray(run.history.task.parameters))
        gap = float(np.abs(expected - run.history.rewards).max())
        require(gap <= TOLERANCE, f"rewards are off by {gap:.3g} from the environment's")
    return None


def marks_the_ends_of_episodes(trial: Trial) -> None:
    """On the toy each episode is truncated after H steps and none is terminated; elsewhere none is longer than H."""
    environment, _, runs, _ = _collected(trial)
    horizon = environment.config.horizon
    for run in runs:
        if not environment.has_closed_form:
            bounds = [each for stream in range(run.history.num_streams) for each in run.history.episode_bounds(stream)]
            longest = max((end - start for start, end in bounds), default=0)
            require(0 < longest <= horizon, f"the longest episode has {longest} steps, the horizon is {horizon}")
            continue
        streams, steps = run.history.rewards.shape
        expected = np.tile(np.arange(1, steps + 1) % horizon == 0, (streams, 1))
        require_equal("truncated", run.history.truncated, expected, f"from one cut every {horizon} steps")
        require(not run.history.terminated.any(), "terminated, though the toy never ends: a time limit is truncation")


def keeps_its_policy(trial: Trial) -> None:
    """The last policy is a mapping from names to finite arrays, and the statistics are finite numbers."""
    for run in _collected(trial)[2]:
        for name, tensor in run.policy.items():
            require_array(f"the policy's '{name}'", np.asarray(tensor), np.asarray(tensor).shape)
        for name, value in run.statistics.items():
            require(bool(np.isfinite(value)), f"the statistic '{name}' is {value}")


def gives_its_policy_back(trial: Trial) -> str | None:
    """If `greedy_policy` gives one: a function of its tensors and of each observation alone, with actions in [-1, 1]."""
    environment, _, runs, _ = _collected(trial)
    generator = np.random.default_rng(5)
    drawn = [generator.integers(environment.spec.observation_values) for _ in range(6)]
    if not environment.spec.observation_values:
        drawn = list(np.random.default_rng(5).uniform(-1, 1, (6, environment.spec.observation_size)))
    observations = np.array(drawn, dtype=np.float32)
    for run in runs:
        rebuild = getattr(trial.make(), "greedy_policy", None)
        with unchanged_global_randomness():
            policy = None if rebuild is None else rebuild(run.policy, environment.spec)
            if policy is None:
                return "its policies cannot label actions: greedy_policy gives none"
            actions = np.array(policy(observations))
        require_array("the greedy policy's actions", actions, (6, environment.spec.action_size), np.float32)
        _require_one_hot(environment, "the greedy policy's actions", actions)
        largest = float(np.abs(actions).max())
        require(largest <= 1.0, f"the greedy policy's actions reach {largest:.3g}, expected [-1, 1]")
        require_equal("the greedy policy's actions", actions, policy(observations), "from one call to the next")
        alone = np.concatenate([policy(observations[row : row + 1]) for row in range(len(observations))])
        apart = float(np.abs(alone - actions).max())
        require(apart <= TOLERANCE, f"an observation by itself gets another action than among others, by {apart:.3g}")
    return None


def depends_on_task_and_seed_alone(trial: Trial) -> None:
    """In another place and company, a task with the same seed gets the same history to the last bit."""
    second, again = _collected(trial)[2][1], _collected_again(trial)[0]
    for name in COLUMNS:
        why = "when the same task and seed are collected in another order"
        require_equal(name, getattr(second.history, name), getattr(again.history, name), why)


def obeys_its_seed(trial: Trial) -> str | None:
    """Another seed gives another history of the same task, unless the histories were recorded elsewhere."""
    if getattr(trial.component, "is_recorded", False):
        return "its histories were recorded elsewhere: no seed enters them"
    first, other = _collected(trial)[2][0], _collected_again(trial)[1]
    same = np.array_equal(first.history.actions, other.history.actions)
    require(not same, "two seeds gave the same actions on one task: the seed is not used")
    return None


def continues_from_kept_progress(trial: Trial) -> str | None:
    """If it keeps progress: killed after a save and called again, it yields the same bytes, and steps only the rest."""
    environment = world_of(trial)
    tasks = environment.tasks(2)
    counting = MemoryStore()
    whole, total = _collect(trial, environment, tasks, [0, 1], counting)
    if counting.saves == 0:
        return "keeps no progress: a task is trained whole or anew"
    store = MemoryStore(interrupt_after=(counting.saves + 1) // 2)
    before: list[int] = []
    with contextlib.suppress(Interrupted):
        _collect(trial, environment, tasks, [0, 1], store, before)
    resumed, after = _collect(trial, environment, tasks, [0, 1], store)
    require(len(resumed) == len(whole), f"{len(resumed)} runs after a kill, {len(whole)} without")
    for first, second in zip(whole, resumed, strict=True):
        for name in (*COLUMNS, "policy_means"):
            why = "from that of a run that was never killed"
            require_equal(name, getattr(first.history, name), getattr(second.history, name), why)
        require_equal_tensors(dict(first.policy), dict(second.policy), "between a killed and a whole run")
        require(dict(first.statistics) == dict(second.statistics), "the statistics differ after a kill")
    steps = sum(before) + after
    require(steps == total, f"report_steps was told {sum(before)} steps before a kill and {after} after it, of {total}")
    return None


def leaves_global_generators_alone(trial: Trial) -> None:
    """`random`, NumPy's and torch's global generators are left as they were."""
    _collected(trial)  # what is imported on the way may draw numbers once
    _collected_again.cache_clear()
    with unchanged_global_randomness():
        _collected_again(trial)


def _collect(
    trial: Trial,
    environment: ToyPoint,
    tasks: Sequence[Task],
    seeds: Sequence[int],
    store: MemoryStore | None = None,
    reported: list[int] | None = None,
) -> tuple[list[SourceRun], int]:
    """The runs, and how many steps were reported."""
    reported = [] if reported is None else reported
    sequences = [np.random.SeedSequence(entropy=11, spawn_key=(seed,)) for seed in seeds]
    runs = list(trial.make().collect(environment, tasks, sequences, reported.append, store))
    return runs, sum(reported)


@functools.lru_cache(maxsize=1)
def _collected(trial: Trial) -> tuple[ToyPoint, list[Task], list[SourceRun], int]:
    """The runs of two tasks, which the checks share: trainings are what takes time."""
    environment = world_of(trial)
    tasks = environment.tasks(2)
    runs, reported = _collect(trial, environment, tasks, [0, 1])
    return environment, tasks, runs, reported


@functools.lru_cache(maxsize=1)
def _collected_again(trial: Trial) -> list[SourceRun]:
    """The second task again, now in the first place, and the first one with another seed."""
    environment = world_of(trial)
    first, second = environment.tasks(2)
    return _collect(trial, environment, [second, first], [1, 2])[0]


def learns_both_kinds_of_actions(trial: Trial) -> str | None:
    """Where it says that it learns discrete actions beside continuous ones, its histories of them are true as well."""
    if set(trial.component.action_kinds) != {"continuous", "discrete"}:
        return f"its actions are {', '.join(trial.component.action_kinds)}"
    if getattr(trial.component, "is_recorded", False):
        return "its histories were recorded elsewhere: it learns nothing"
    if trial.environment is not None:
        return f"tried in {trial.environment.spec.id} alone"
    environment = ToyGrid()
    (run,), _ = _collect(trial, environment, environment.tasks(1), [0])
    history = run.history
    _require_one_hot(environment, "the recorded actions", np.asarray(history.actions))
    expected = environment.successors(history.observations, history.actions)
    require_equal("next_observations", history.next_observations, expected, "from what the recorded actions lead to")
    paid = environment.rewards(history.next_observations, np.asarray(history.task.parameters))
    require_equal("rewards", history.rewards, paid.astype(np.float32), "from the environment's")
    return None


def _require_one_hot(environment: ToyPoint, what: str, actions: Array) -> None:
    """Of an environment with discrete actions: rows (…, A) with one 1 and zeros."""
    if environment.spec.actions == "discrete":
        one = bool((((actions == 0) | (actions == 1)).all(axis=-1) & (actions.sum(axis=-1) == 1)).all())
        require(one, f"{what} are not one-hot, such as {actions.reshape(-1, actions.shape[-1])[0].tolist()}")


SOURCE_CHECKS: tuple[Check, ...] = (
    declares_its_actions,
    collects_whole_histories,
    keeps_actions_in_range,
    records_true_successors,
    records_true_rewards,
    marks_the_ends_of_episodes,
    keeps_its_policy,
    gives_its_policy_back,
    leaves_global_generators_alone,
    continues_from_kept_progress,
    depends_on_task_and_seed_alone,
    obeys_its_seed,
    learns_both_kinds_of_actions,
)
