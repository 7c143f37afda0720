"""What an environment promises: spaces, seeding, a hidden task, finite rewards, a horizon, and an equal batch.

A class whose episodes all start alike sets `deterministic_start = True`; otherwise two seeds must give two beginnings.
"""

from __future__ import annotations

from typing import get_args

import numpy as np

from icrl_registry.actions import ActionKind, for_gymnasium
from icrl_registry.contracts import Array, BatchedStep, Difference, Environment, Task
from icrl_registry.testing.environment_trials import (
    Trajectory,
    action_sequences,
    distinct_tasks,
    drawn_tasks,
    episode_of,
    play,
    size_of,
    step_together,
)
from icrl_registry.testing.trial import Check, Trial, require, require_array, require_equal

MOST_DRAWS = 2000  # of a finite family, to count its tasks
MOST_SEQUENCES = 50  # of random actions, to tell tasks apart
HIDDEN_STEPS = 3  # how long the tasks must look alike; later, contact with a hidden object may tell them apart


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
    """Tasks differ, but for the repeats of a finite family, and the distance between them is a distance."""
    environment = trial.make()
    tasks, size = [np.asarray(task.parameters) for task in drawn_tasks(environment)], size_of(environment)
    for position, first in enumerate(tasks):
        require(environment.task_distance(first, first) == 0, "task_distance of a task to itself is not 0")
        for second in tasks[:position]:
            there, back = environment.task_distance(first, second), environment.task_distance(second, first)
            repeats = size is not None and np.array_equal(first, second)
            require(
                there > 0 or repeats,
                f"two draws gave one task, {first.tolist()}: the draw ignores its generator, or the family is finite "
                "and should say its num_tasks()",
            )
            require(bool(np.isclose(there, back)), f"task_distance is {there} one way and {back} the other")


def has_as_many_tasks_as_it_says(trial: Trial) -> str | None:
    """`num_tasks()` is what many draws find, where it is small enough to be counted, and what is listed."""
    environment = trial.make()
    size, listed = size_of(environment), environment.all_task_parameters()
    if listed is not None:
        require_array("all_task_parameters", listed, (size or 0, len(environment.task_parameter_names)))
        require(len(np.unique(listed, axis=0)) == size, "all_task_parameters lists a task twice")
    if size is None:
        return "as many tasks as are drawn"
    require(size >= 2, f"num_tasks() is {size}; with fewer than 2 tasks there is nothing to learn")
    generator = np.random.default_rng(6)
    draws = min(MOST_DRAWS, 20 * size)
    drawn = {tuple(np.asarray(environment.sample_task_parameters(generator)).tolist()) for _ in range(draws)}
    found = len(drawn)
    if listed is not None:
        strange = drawn - {tuple(row) for row in listed.tolist()}
        require(not strange, f"a draw gave {next(iter(strange), None)}, which all_task_parameters doesn't list")
    require(found <= size, f"{draws} draws gave {found} tasks, but num_tasks() is {size}")
    require(found > 1, f"{draws} draws gave one task, but num_tasks() is {size}")
    return None


def has_the_spaces_of_its_spec(trial: Trial) -> None:
    """Observations `Box(O,)` of float32, actions `Box(-1, 1, (A,))` or `Discrete(A)`, as `spec.actions` says."""
    from gymnasium.spaces import Box, Discrete

    environment = trial.make()
    spec, single = environment.spec, environment.make(drawn_tasks(environment)[0])
    seen, acted = single.observation_space, single.action_space
    single.close()
    require(isinstance(seen, Box), f"the observation space is {seen}, expected a Box")
    require(seen.shape == (spec.observation_size,), f"observations have shape {seen.shape}, spec says {spec}")
    require(seen.dtype == np.float32, f"the observation space is {seen.dtype}, expected float32")
    kinds = get_args(ActionKind)
    require(spec.actions in kinds, f"spec.actions is {spec.actions!r}, expected {' or '.join(map(repr, kinds))}")
    values = tuple(spec.observation_values)
    whole = all(isinstance(each, int) and each > 0 for each in values) and len(values) in (0, spec.observation_size)
    require(whole, f"spec.observation_values is {values}, expected a positive whole number for each of the components")
    if spec.actions == "discrete":
        expected = f"Discrete({spec.action_size}), counted from 0"
        fits = isinstance(acted, Discrete) and (acted.n, acted.start) == (spec.action_size, 0)
        require(fits, f"the action space is {acted}, expected {expected}")
        return
    require(isinstance(acted, Box), f"the action space is {acted}, expected a Box")
    require(acted.shape == (spec.action_size,), f"actions have shape {acted.shape}, spec says {spec}")
    limits = bool((acted.low == -1).all() and (acted.high == 1).all())
    require(limits, f"actions lie in [{acted.low}, {acted.high}], expected [-1, 1]: rescale inside the environment")


def returns_finite_float32(trial: Trial) -> None:
    """Observations are float32 of the right shape and every number is finite, under random and extreme actions.

    Where `spec.observation_values` says how many there are, they are whole numbers below that.
    """
    environment = trial.make()
    spec = environment.spec
    task = drawn_tasks(environment)[0]
    for name, actions in action_sequences(environment).items():
        single = environment.make(task)
        observation, info = single.reset(seed=1)
        require_array("the observation of reset", observation, (spec.observation_size,), np.float32)
        require(isinstance(info, dict), f"reset's info is a {type(info).__name__}, not a dict")
        for step, action in enumerate(actions):
            observation, reward, terminated, truncated, _ = single.step(for_gymnasium(action, single.action_space))
            where = f"of step {step} under {name} actions"
            require_array(f"the observation {where}", observation, (spec.observation_size,), np.float32)
            if spec.observation_values:
                within = (observation >= 0) & (observation < np.array(spec.observation_values))
                counted = bool((within & (observation == np.round(observation))).all())
                expected = f"whole numbers below {spec.observation_values}"
                require(counted, f"the observation {where} is {observation.tolist()}, expected {expected}")
            require(bool(np.isfinite(reward)), f"the reward {where} is {reward}")
            if terminated or truncated:
                break
        single.close()


def obeys_its_seed(trial: Trial) -> None:
    """The same task, seed and actions give the same episode, in a new instance and again in the same one."""
    environment = trial.make()
    task, actions = drawn_tasks(environment)[0], action_sequences(environment)["random"]
    single = environment.make(task)
    first = play(single, actions, seed=7)
    play(single, actions[::-1], seed=8)
    again = play(single, actions, seed=7)
    single.close()
    other = environment.make(task)
    fresh = play(other, actions, seed=7)
    other.close()
    _require_same(first, fresh, "between two instances with one seed")
    _require_same(first, again, "between two episodes of one instance with one seed: does reset change the task?")


def starts_differently_with_another_seed(trial: Trial) -> str | None:
    """Two seeds give two beginnings, unless the class says `deterministic_start = True`."""
    if getattr(trial.component, "deterministic_start", False):
        return "declared deterministic"
    environment = trial.make()
    single = environment.make(drawn_tasks(environment)[0])
    actions = action_sequences(environment)["random"][:HIDDEN_STEPS]
    first, second = (play(single, actions, seed).observations for seed in (1, 2))
    single.close()
    same = first.shape == second.shape and np.array_equal(first, second)
    require(not same, "two seeds gave one episode: use self.np_random, or set deterministic_start = True")
    return None


def hides_its_task(trial: Trial) -> None:
    """Tasks look alike, in observations and info, and yet differ to an agent that acts: that is what is to be learnt.

    Where they differ in rewards alone, observations are compared for the first steps; where `varies` names the dynamics,
    at the reset alone. Then rewards, or observations, must come to differ within an episode.
    """
    environment = trial.make()
    varies = tuple(getattr(environment, "varies", ("reward",)))
    known = bool(varies) and set(varies) <= set(get_args(Difference))
    require(known, f"varies is {varies}; expected some of {', '.join(get_args(Difference))}")
    moved = paid = False
    for sequence in range(MOST_SEQUENCES):  # where rewards are rare, most episodes look alike in all tasks
        actions = action_sequences(environment, sequence)["random"]
        first, *others = (episode_of(environment, task, actions) for task in distinct_tasks(drawn_tasks(environment)))
        for other in others:
            _require_alike(first, other, compared=1 if "dynamics" in varies else HIDDEN_STEPS)
        moved |= any(not np.array_equal(first.observations, other.observations) for other in others)
        paid |= any(not np.array_equal(first.rewards, other.rewards) for other in others)
        if paid or (moved and "dynamics" in varies):
            return
    what = "rewards" if "dynamics" not in varies else "observations and rewards"
    require(
        False, f"tasks gave equal {what} in {MOST_SEQUENCES} episodes of random actions: an agent can't tell them apart"
    )


def _require_alike(first: Trajectory, other: Trajectory, compared: int) -> None:
    """That two tasks show nothing of themselves in the first `compared` observations and infos."""
    for step in range(min(compared, len(other.observations), len(first.observations))):
        remedy = (
            "keep it out of the reset" if step == 0 else 'if tasks differ in their dynamics, say varies = ("dynamics",)'
        )
        where = f"between two tasks at step {step} (same seed and actions): the task shows; {remedy}"
        require_equal("the observation", first.observations[step], other.observations[step], where)
        infos = ({**episode.infos[step], "success": None} for episode in (first, other))  # for the record alone
        require(len({repr(info) for info in infos}) == 1, f"info differs {where}")


def truncates_at_its_horizon(trial: Trial) -> None:
    """`truncated` is set at step H and not before."""
    environment = trial.make()
    horizon = environment.spec.horizon
    single = environment.make(drawn_tasks(environment)[0])
    calm = np.zeros((horizon + 1, environment.spec.action_size), np.float32)
    episode = play(single, calm, seed=5)
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
    tasks, actions = drawn_tasks(environment)[:3], action_sequences(environment)["random"][:10]
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
        alone = play(single, actions, seed=20 + row).observations[: len(rows[row])]
        single.close()
        require_equal(f"row {row} of a batch", rows[row][: len(alone)], alone, "from the same task by itself")


def goes_on_from_a_saved_state(trial: Trial) -> str | None:
    """Where a batch can `save` its state, it steps on from it with the same numbers, itself and in another batch."""
    environment = trial.make()
    tasks, actions = drawn_tasks(environment)[:2], action_sequences(environment)["random"]
    batch, other = environment.make_batch(tasks), environment.make_batch(tasks)
    for row in range(2):
        batch.reset(row, seed=30 + row)
    step_together(batch, actions[:3])
    saved = batch.save()
    if saved is None:
        return "cannot be saved: a killed training of many tasks starts anew"
    for name, values in saved.items():
        require_array(f"the saved '{name}'", values, (2, *np.shape(values)[1:]))
    expected = step_together(batch, actions[3:])
    for again, where in ((batch, "in the same batch"), (other, "in another batch of the same tasks")):
        again.restore(saved)
        for first, second in zip(expected, step_together(again, actions[3:]), strict=True):
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
    declared, task = getattr(environment, "success", None), drawn_tasks(environment)[0]
    require(declared is None or bool(declared.strip()), "success is an empty text; say when an episode is a success")
    for name, actions in action_sequences(environment).items():
        single = environment.make(task)
        episode = play(single, actions, seed=6)
        single.close()
        early = [step for step, info in enumerate(episode.infos[:-1]) if "success" in info]
        require(not early, f"info has 'success' after {early[:1]} steps of {len(episode.rewards)}: it shows the task")
        if declared is None:
            require("success" not in episode.infos[-1], "info has 'success', but the class attribute success is None")
            continue
        if not (episode.terminated[-1] or episode.truncated[-1]):
            continue  # `truncates_at_its_horizon` says so
        said = "success" in episode.infos[-1]
        require(said, f"no info['success'] in the last step under {name} actions, but success is declared")
        measured = float(episode.infos[-1]["success"])
        require(0 <= measured <= 1, f"success under {name} actions is {measured}, expected a number in [0, 1]")
        _require_success_from_a_batch(environment, task, actions, np.float32(measured))
    return None if declared else "has no measure of success"


def _require_success_from_a_batch(environment: Environment, task: Task, actions: Array, expected: np.float32) -> None:
    """That `BatchedStep.successes` is `expected` where the episode ended and NaN, or None, at all other steps."""
    batch = environment.make_batch([task])
    batch.reset(0, seed=6)
    for number, step in enumerate(step_together(batch, actions)):
        given = np.full(1, np.nan, np.float32) if step.successes is None else np.asarray(step.successes)
        require(given.shape == (1,), f"successes of a batch of 1 have the shape {given.shape}")
        if step.terminated[0] or step.truncated[0]:
            require(given[0] == expected, f"a batch says success {given[0]}, a single environment {expected}")
        else:
            require(bool(np.isnan(given[0])), f"a batch says success {given[0]} at step {number}, before the end")
    batch.close()


def _require_same(first: Trajectory, second: Trajectory, why: str) -> None:
    require_equal("the observations", first.observations, second.observations, why)
    require_equal("the rewards", first.rewards, second.rewards, why)
    require_equal("the terminations", first.terminated, second.terminated, why)


ENVIRONMENT_CHECKS: tuple[Check, ...] = (
    names_itself,
    samples_tasks_by_its_generator,
    samples_distinct_tasks,
    has_as_many_tasks_as_it_says,
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
