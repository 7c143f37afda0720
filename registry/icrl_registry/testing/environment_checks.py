"""What an environment promises: spaces, seeding, a hidden task, finite rewards, a horizon, and an equal batch.

A class whose episodes all start alike sets `deterministic_start = True`; otherwise two seeds must give two beginnings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from icrl_registry.contracts import Array, BatchedEnvironment, BatchedStep, Environment, Task
from icrl_registry.testing.trial import Check, Trial, require, require_array, require_equal

NUM_TASKS = 8
HIDDEN_STEPS = 3  # how long the tasks must look alike; later, contact with a hidden object may tell them apart


class Trajectory(NamedTuple):
    """One episode: T steps, or fewer if it ended."""

    observations: Array  # (T + 1, O), that of the reset first
    rewards: Array  # (T,)
    terminated: Array  # (T,)
    truncated: Array  # (T,)
    infos: list[dict[str, Any]]  # T + 1


def names_itself(trial: Trial) -> None:
    """`id`, `spec.id` and the entry point's name are the same, and carry a version."""
    environment = trial.make()
    require(environment.id == trial.name, f"its id is '{environment.id}' but its entry point '{trial.name}'")
    require(environment.spec.id == environment.id, f"spec.id is '{environment.spec.id}', expected '{environment.id}'")
    require(
        trial.name.rpartition("-v")[2].isdigit(),
        f"'{trial.name}' has no version; name it '{trial.name}-v1', since results are tied to its behaviour",
    )


def samples_tasks_by_its_generator(trial: Trial) -> None:
    """The same generator gives the same tasks, of the size that `task_parameter_names` says."""
    environment = trial.make()
    size = len(environment.task_parameter_names)
    first, second = (environment.sample_task_parameters(np.random.default_rng(1)) for _ in range(2))
    require_array("sample_task_parameters", np.asarray(first), (size,))
    require_equal("sample_task_parameters", first, second, "from one call to the next with equal generators")
    many = [environment.sample_training_parameters(5, np.random.default_rng(2)) for _ in range(2)]
    require_array("sample_training_parameters(5)", np.asarray(many[0]), (5, size))
    require_equal("sample_training_parameters", many[0], many[1], "from one call to the next with equal generators")


def samples_distinct_tasks(trial: Trial) -> None:
    """Tasks differ from one another, and the distance between them is a distance."""
    environment = trial.make()
    tasks = [np.asarray(task.parameters) for task in _tasks(environment)]
    for position, first in enumerate(tasks):
        require(environment.task_distance(first, first) == 0, "task_distance of a task to itself is not 0")
        for second in tasks[:position]:
            there, back = environment.task_distance(first, second), environment.task_distance(second, first)
            require(
                there > 0, f"two draws gave one task, {first.tolist()}: the family is too small or the draw ignores"
            )
            require(bool(np.isclose(there, back)), f"task_distance is {there} one way and {back} the other")


def has_the_spaces_of_its_spec(trial: Trial) -> None:
    """Observations `Box(O,)` of float32, actions `Box(-1, 1, (A,))`."""
    from gymnasium.spaces import Box

    environment = trial.make()
    spec, single = environment.spec, environment.make(_tasks(environment)[0])
    seen, acted = single.observation_space, single.action_space
    single.close()
    require(isinstance(seen, Box), f"the observation space is {seen}, expected a Box")
    require(seen.shape == (spec.observation_size,), f"observations have shape {seen.shape}, spec says {spec}")
    require(seen.dtype == np.float32, f"the observation space is {seen.dtype}, expected float32")
    require(isinstance(acted, Box), f"the action space is {acted}, expected a Box")
    require(acted.shape == (spec.action_size,), f"actions have shape {acted.shape}, spec says {spec}")
    limits = bool((acted.low == -1).all() and (acted.high == 1).all())
    require(limits, f"actions lie in [{acted.low}, {acted.high}], expected [-1, 1]: rescale inside the environment")


def returns_finite_float32(trial: Trial) -> None:
    """Observations are float32 of the right shape and every number is finite, under random and extreme actions."""
    environment = trial.make()
    spec = environment.spec
    task = _tasks(environment)[0]
    for name, actions in _action_sequences(environment).items():
        single = environment.make(task)
        observation, info = single.reset(seed=1)
        require_array("the observation of reset", observation, (spec.observation_size,), np.float32)
        require(isinstance(info, dict), f"reset's info is a {type(info).__name__}, not a dict")
        for step, action in enumerate(actions):
            observation, reward, terminated, truncated, _ = single.step(action)
            where = f"of step {step} under {name} actions"
            require_array(f"the observation {where}", observation, (spec.observation_size,), np.float32)
            require(bool(np.isfinite(reward)), f"the reward {where} is {reward}")
            if terminated or truncated:
                break
        single.close()


def obeys_its_seed(trial: Trial) -> None:
    """The same task, seed and actions give the same episode, in a new instance and again in the same one."""
    environment = trial.make()
    task, actions = _tasks(environment)[0], _action_sequences(environment)["random"]
    single = environment.make(task)
    first = _play(single, actions, seed=7)
    _play(single, actions[::-1], seed=8)
    again = _play(single, actions, seed=7)
    single.close()
    other = environment.make(task)
    fresh = _play(other, actions, seed=7)
    other.close()
    _require_same(first, fresh, "between two instances with one seed")
    _require_same(first, again, "between two episodes of one instance with one seed: does reset change the task?")


def starts_differently_with_another_seed(trial: Trial) -> str | None:
    """Two seeds give two beginnings, unless the class says `deterministic_start = True`."""
    if getattr(trial.component, "deterministic_start", False):
        return "declared deterministic"
    environment = trial.make()
    single = environment.make(_tasks(environment)[0])
    actions = _action_sequences(environment)["random"][:HIDDEN_STEPS]
    first, second = (_play(single, actions, seed).observations for seed in (1, 2))
    single.close()
    same = first.shape == second.shape and np.array_equal(first, second)
    require(not same, "two seeds gave one episode: use self.np_random, or set deterministic_start = True")
    return None


def hides_its_task(trial: Trial) -> None:
    """Tasks look alike at first, in observations and in info, but not in their rewards: that is what is to be learnt."""
    environment = trial.make()
    actions = _action_sequences(environment)["random"]
    episodes = []
    for task in _tasks(environment)[:4]:
        single = environment.make(task)
        episodes.append(_play(single, actions, seed=3))
        single.close()
    first = episodes[0]
    for other in episodes[1:]:
        for step in range(min(HIDDEN_STEPS, len(other.observations), len(first.observations))):
            where = f"between two tasks at step {step} (same seed and actions): the task shows"
            require_equal("the observation", first.observations[step], other.observations[step], where)
            infos = ({**episode.infos[step], "success": None} for episode in (first, other))  # for the record alone
            require(len({repr(info) for info in infos}) == 1, f"info differs {where}")
    alike = [np.array_equal(first.rewards, other.rewards) for other in episodes[1:]]
    require(not all(alike), "four tasks gave equal rewards for a whole episode: they are the same to an agent")


def truncates_at_its_horizon(trial: Trial) -> None:
    """`truncated` is set at step H and not before."""
    environment = trial.make()
    horizon = environment.spec.horizon
    single = environment.make(_tasks(environment)[0])
    calm = np.zeros((horizon + 1, environment.spec.action_size), np.float32)
    episode = _play(single, calm, seed=5)
    single.close()
    cut = np.flatnonzero(episode.truncated) + 1
    if episode.terminated.any():
        require(not len(cut) or cut[0] >= horizon, f"truncated at step {cut[:1]}, before the horizon {horizon}")
        return
    require(len(cut) > 0, f"no truncation within {horizon + 1} steps; wrap it in gymnasium.wrappers.TimeLimit")
    require(int(cut[0]) == horizon, f"truncated at step {int(cut[0])}, expected the horizon {horizon}")


def steps_a_batch_as_it_steps_one(trial: Trial) -> None:
    """`make_batch` gives each row what `make` gives that task, and leaves rows alone that are not active."""
    environment = trial.make()
    tasks, actions = _tasks(environment)[:3], _action_sequences(environment)["random"][:10]
    batch = environment.make_batch(tasks)
    require(batch.num_tasks == 3, f"num_tasks is {batch.num_tasks} for 3 tasks")
    rows = [np.asarray(batch.reset(row, seed=20 + row)) for row in range(3)]
    active = np.array([True, True, False])
    for _, action in enumerate(actions):
        step = batch.step(np.tile(action, (3, 1)), active)
        for row in range(2):
            rows[row] = np.vstack([rows[row], step.observations[row]])
        require_equal("the observation of an inactive row", step.observations[2], rows[2], "from its last one")
        require(float(step.rewards[2]) == 0.0, "the reward of an inactive row is not 0")
        if (step.terminated | step.truncated).any():
            break
    batch.close()
    for row in range(2):
        single = environment.make(tasks[row])
        alone = _play(single, actions, seed=20 + row).observations[: len(rows[row])]
        single.close()
        require_equal(f"row {row} of a batch", rows[row][: len(alone)], alone, "from the same task by itself")


def goes_on_from_a_saved_state(trial: Trial) -> str | None:
    """Where a batch can `save` its state, it steps on from it with the same numbers, itself and in another batch."""
    environment = trial.make()
    tasks, actions = _tasks(environment)[:2], _action_sequences(environment)["random"]
    batch, other = environment.make_batch(tasks), environment.make_batch(tasks)
    for row in range(2):
        batch.reset(row, seed=30 + row)
    _step_together(batch, actions[:3])
    saved = batch.save()
    if saved is None:
        return "cannot be saved: a killed training of many tasks starts anew"
    for name, values in saved.items():
        require_array(f"the saved '{name}'", values, (2, *np.shape(values)[1:]))
    expected = _step_together(batch, actions[3:])
    for again, where in ((batch, "in the same batch"), (other, "in another batch of the same tasks")):
        again.restore(saved)
        for first, second in zip(expected, _step_together(again, actions[3:]), strict=True):
            for name in ("observations", "rewards", "terminated", "truncated"):
                why = f"after restore {where}: save everything that the next steps read"
                require_equal(name, getattr(first, name), getattr(second, name), why)
            require(_same_successes(first, second), f"successes differ {why}")
        again.close()
    return None


def _same_successes(first: BatchedStep, second: BatchedStep) -> bool:
    if first.successes is None or second.successes is None:
        return first.successes is second.successes
    return np.array_equal(first.successes, second.successes, equal_nan=True)


def measures_success_at_the_end(trial: Trial) -> str | None:
    """With `success` declared: a number in [0, 1] in the last step's `info`, there alone, and the same from a batch."""
    environment = trial.make()
    declared, task = getattr(environment, "success", None), _tasks(environment)[0]
    require(declared is None or bool(declared.strip()), "success is an empty text; say when an episode is a success")
    for name, actions in _action_sequences(environment).items():
        single = environment.make(task)
        episode = _play(single, actions, seed=6)
        single.close()
        early = [step for step, info in enumerate(episode.infos[:-1]) if "success" in info]
        require(not early, f"info has 'success' after {early[:1]} steps of {len(episode.rewards)}: it shows the task")
        if declared is None:
            require("success" not in episode.infos[-1], "info has 'success', but the class attribute success is None")
            continue
        if not (episode.terminated[-1] or episode.truncated[-1]):
            continue  # `truncates_at_its_horizon` says so
        measured = episode.infos[-1].get("success")
        require(
            measured is not None, f"no info['success'] in the last step under {name} actions, but success is declared"
        )
        require(0 <= float(measured) <= 1, f"success under {name} actions is {measured}, expected a number in [0, 1]")
        _require_success_from_a_batch(environment, task, actions, np.float32(measured))
    return None if declared else "has no measure of success"


def _require_success_from_a_batch(environment: Environment, task: Task, actions: Array, expected: np.float32) -> None:
    """That `BatchedStep.successes` is `expected` where the episode ended and NaN, or None, at all other steps."""
    batch = environment.make_batch([task])
    batch.reset(0, seed=6)
    for number, step in enumerate(_step_together(batch, actions)):
        given = np.full(1, np.nan, np.float32) if step.successes is None else np.asarray(step.successes)
        require(given.shape == (1,), f"successes of a batch of 1 have the shape {given.shape}")
        if step.terminated[0] or step.truncated[0]:
            require(given[0] == expected, f"a batch says success {given[0]}, a single environment {expected}")
        else:
            require(bool(np.isnan(given[0])), f"a batch says success {given[0]} at step {number}, before the end")
    batch.close()


def _step_together(batch: BatchedEnvironment, actions: Array) -> list[BatchedStep]:
    """All rows with the same actions (T, A), until one ends."""
    steps: list[BatchedStep] = []
    for action in actions:
        if steps and (steps[-1].terminated | steps[-1].truncated).any():
            break
        steps.append(batch.step(np.tile(action, (batch.num_tasks, 1)), np.ones(batch.num_tasks, np.bool_)))
    return steps


def _tasks(environment: Environment) -> list[Task]:
    generator = np.random.default_rng(0)
    drawn = [environment.sample_task_parameters(generator) for _ in range(NUM_TASKS)]
    return [Task(tuple(float(value) for value in row), "test", index) for index, row in enumerate(drawn)]


def _action_sequences(environment: Environment) -> dict[str, Array]:
    """Action sequences of one episode each, (H, A) float32."""
    shape = (environment.spec.horizon, environment.spec.action_size)
    random = np.random.default_rng(4).uniform(-1, 1, size=shape).astype(np.float32)
    return {"random": random, "largest": np.ones(shape, np.float32), "alternating": np.sign(random)}


def _play(single: Any, actions: Sequence[Array] | Array, seed: int) -> Trajectory:
    observation, info = single.reset(seed=seed)
    observations, infos = [np.array(observation)], [dict(info)]
    outcomes: list[tuple[float, bool, bool]] = []
    for action in actions:
        observation, reward, terminated, truncated, info = single.step(action)
        observations.append(np.array(observation))
        infos.append(dict(info))
        outcomes.append((float(reward), bool(terminated), bool(truncated)))
        if terminated or truncated:
            break
    rewards, terminations, truncations = (np.array(column) for column in zip(*outcomes, strict=True))
    return Trajectory(np.stack(observations), rewards, terminations, truncations, infos)


def _require_same(first: Trajectory, second: Trajectory, why: str) -> None:
    require_equal("the observations", first.observations, second.observations, why)
    require_equal("the rewards", first.rewards, second.rewards, why)
    require_equal("the terminations", first.terminated, second.terminated, why)


ENVIRONMENT_CHECKS: tuple[Check, ...] = (
    names_itself,
    samples_tasks_by_its_generator,
    samples_distinct_tasks,
    has_the_spaces_of_its_spec,
    returns_finite_float32,
    obeys_its_seed,
    starts_differently_with_another_seed,
    hides_its_task,
    truncates_at_its_horizon,
    steps_a_batch_as_it_steps_one,
    goes_on_from_a_saved_state,
    measures_success_at_the_end,
)
