"""What a method promises, tried on a toy: reproducible, resumable training and agents that treat each task by itself.

A method that uses a backbone gets the toy backbone. Training takes as long as the method's configuration says.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from icrl_registry.contracts import Agent, Checkpoint, Task, Track
from icrl_registry.testing.given_world import world_of
from icrl_registry.testing.method_trials import (
    Interrupted,
    MemoryStore,
    PlayedTrial,
    make_agent,
    make_method,
    pack,
    play,
    train,
    trained,
    unpack,
)
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


def needs_an_agent(check: Callable[[Trial], str | None]) -> Check:
    """A check of agents, which passes with a remark for a method that has none."""

    @functools.wraps(check)
    def checked(trial: Trial) -> str | None:
        if trial.component.adaptation == "source":
            return "its results are the source's recorded runs: there is no agent"
        return check(trial)

    return checked


def declares_what_it_needs(trial: Trial) -> None:
    """`training_data`, `tracks`, `adaptation`, `action_kinds` and `uses_backbone` have values that the harness knows."""
    component = trial.component
    require_action_kinds(trial)
    require(isinstance(component.uses_backbone, bool), f"uses_backbone is {component.uses_backbone!r}, expected a bool")
    known = ("histories", "tasks", "none")
    require(component.training_data in known, f"training_data is {component.training_data!r}, expected one of {known}")
    modes = ("agent", "source")
    require(component.adaptation in modes, f"adaptation is {component.adaptation!r}, expected one of {modes}")
    tracks = tuple(component.tracks)
    require(
        bool(tracks) and set(tracks) <= {"online", "offline"}, f"tracks are {tracks}, expected 'online' or 'offline'"
    )


def trains_to_a_checkpoint(trial: Trial) -> None:
    """`train` returns finite tensors and a state that JSON can hold; the parameters are counted."""
    checkpoint = trained(trial)
    require(isinstance(checkpoint, Checkpoint), f"train returned a {type(checkpoint).__name__}, not a Checkpoint")
    for name, tensor in checkpoint.tensors.items():
        require_array(f"the tensor '{name}'", tensor, np.asarray(tensor).shape)
    pack(checkpoint)
    count = make_method(trial).parameter_count(checkpoint)
    require(isinstance(count, int) and count >= 0, f"parameter_count is {count!r}")
    needs = trial.component.uses_backbone
    require(count > 0 or not needs, "parameter_count is 0: prefix the model's tensors with 'model.' or override it")


def trains_reproducibly(trial: Trial) -> None:
    """The same job gives the same checkpoint to the last bit."""
    again = train(trial)
    require_equal_tensors(trained(trial).tensors, again.tensors, "between two trainings with one seed")
    same = pack(trained(trial))[1] == pack(again)[1]
    require(same, "the checkpoint's state differs between two trainings with one seed")


def resumes_where_it_was_killed(trial: Trial) -> str | None:
    """Killed after its first saved progress and started again, it ends with the same tensors."""
    whole = MemoryStore()
    train(trial, whole)
    if whole.saves == 0:
        return "saves no progress at this size, so a kill costs the whole training"
    store = MemoryStore(interrupt_after=1)
    try:
        train(trial, store)
    except Interrupted:
        pass
    else:
        require(False, "the interruption raised in checkpoints.save was swallowed: don't catch BaseException")
    store.interrupt_after = None
    require_equal_tensors(trained(trial).tensors, train(trial, store).tensors, "after a kill and a new start")
    return None


@needs_an_agent
def acts_in_unseen_tasks(trial: Trial) -> None:
    """An agent gives finite actions (K, A) through several episodes, for one task and for several."""
    agent = make_agent(trial, trained(trial))
    for count in (1, 3):
        _play(trial, agent, world_of(trial).tasks(count, seed=2, split="test"))


@needs_an_agent
def acts_reproducibly(trial: Trial) -> None:
    """Two agents of one checkpoint do the same with the same seed."""
    tasks = world_of(trial).tasks(2, seed=2, split="test")
    first, second = (_play(trial, make_agent(trial, trained(trial)), tasks).actions for _ in range(2))
    require_equal("the actions", first, second, "between two agents of one checkpoint with one seed")


@needs_an_agent
def forgets_at_begin(trial: Trial) -> None:
    """After `begin` an agent that has been elsewhere does what a new one does."""
    here, elsewhere = (world_of(trial).tasks(2, seed=seed, split="test") for seed in (2, 3))
    used = make_agent(trial, trained(trial))
    _play(trial, used, elsewhere, seed=4)
    again = _play(trial, used, here).actions
    new = _play(trial, make_agent(trial, trained(trial)), here).actions
    require_equal("the actions", again, new, "between an agent that has seen other tasks before `begin` and a new one")


@needs_an_agent
def treats_each_task_by_itself(trial: Trial) -> None:
    """What happens in one task changes nothing in another: no reward crosses the batch."""
    here, other = (
        world_of(trial).tasks(2, seed=2, split="test"),
        world_of(trial).tasks(2, seed=3, split="test"),
    )
    first, second = (
        _play(trial, make_agent(trial, trained(trial)), [here[0], neighbour]).actions
        for neighbour in (here[1], other[1])
    )
    require_equal(
        "the actions in one task", first[:, 0], second[:, 0], "when its neighbour in the batch is another task"
    )


@needs_an_agent
def survives_storage(trial: Trial) -> None:
    """A checkpoint written as safetensors and JSON and read again gives the same agent."""
    tasks = world_of(trial).tasks(2, seed=2, split="test")
    direct = _play(trial, make_agent(trial, trained(trial)), tasks).actions
    stored = _play(trial, make_agent(trial, unpack(*pack(trained(trial)))), tasks).actions
    require_equal("the actions", direct, stored, "after the checkpoint was stored and read again")


@needs_an_agent
def plays_every_track(trial: Trial) -> None:
    """The agent works on each track that the method declares."""
    for track in trial.component.tracks:
        _play(
            trial,
            make_agent(trial, trained(trial)),
            world_of(trial).tasks(2, seed=2, split="test"),
            track=track,
        )


def leaves_global_generators_alone(trial: Trial) -> None:
    """Neither training nor acting changes the state of a global generator."""
    checkpoint = trained(trial)
    with unchanged_global_randomness():
        train(trial)
        if trial.component.adaptation == "agent":
            _play(trial, make_agent(trial, checkpoint), world_of(trial).tasks(2, seed=2, split="test"))


@needs_an_agent
def learns_both_kinds_of_actions(trial: Trial) -> str | None:
    """Where it says that it learns discrete actions beside continuous ones, it trains and acts with them too."""
    if set(trial.component.action_kinds) != {"continuous", "discrete"}:
        return f"its actions are {', '.join(trial.component.action_kinds)}"
    if trial.environment is not None:
        return f"tried in {trial.environment.spec.id} alone"
    grid = ToyGrid()
    agent = make_agent(trial, train(trial, environment=grid), grid)
    play(agent, grid.tasks(2, seed=2, split="test"), environment=grid)
    return None


def _play(trial: Trial, agent: Agent, tasks: Sequence[Task], seed: int = 0, track: Track = "online") -> PlayedTrial:
    """`play` on the toy that the method is tried on."""
    return play(agent, tasks, seed, track, environment=world_of(trial))


METHOD_CHECKS: tuple[Check, ...] = (
    declares_what_it_needs,
    trains_to_a_checkpoint,
    trains_reproducibly,
    resumes_where_it_was_killed,
    acts_in_unseen_tasks,
    acts_reproducibly,
    forgets_at_begin,
    treats_each_task_by_itself,
    survives_storage,
    plays_every_track,
    learns_both_kinds_of_actions,
    leaves_global_generators_alone,
)
