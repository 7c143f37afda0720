"""What a MuJoCo family states: its body, its noise, its observation, its reward and when an episode is a success.

`simulation.py` steps MuJoCo and calls the formulas, `gymnasium_env.py` shows one task as a Gymnasium environment, and
`mujoco_tasks.py` makes a registered environment of both. Imports point one way: this module is at the bottom and imports
neither MuJoCo nor Gymnasium nor any other room of the folder. So physics, observation and reward have one code path,
whether one task is stepped or a hundred.

The formulas take any number of leading batch axes, written `…` below. Observations never depend on the task's
parameters, and the noise of a reset is drawn without looking at them: two tasks with one seed and one action sequence
look the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from icrl_registry.contracts import Array, BoolArray

#: How far beyond a family's border a rounded task may lie, in the unit of its parameters.
TASK_TOLERANCE = 1e-5


class PhysicsState(NamedTuple):
    """The part of MuJoCo's state that observations and rewards read, after a step. Float64, SI units."""

    positions: Array  # (…, nq), generalised positions (`qpos`)
    velocities: Array  # (…, nv), generalised velocities (`qvel`)
    bodies: Array  # (…, bodies, 3), world positions of the family's `tracked_bodies`, as of the last sub-step (`xpos`)
    contact_forces: (
        Array  # (…, nbody, 6), external torque and force on each body (`cfrc_ext`); nbody is 0 if not asked for
    )


class Formulas(ABC):
    """What the simulation asks of a family. A subclass gives the class attributes and the formulas."""

    id: ClassVar[str]
    task_parameter_names: ClassVar[tuple[str, ...]]  # P of them, with units
    horizon: ClassVar[int]  # H
    observation_size: ClassVar[int]  # O
    action_size: ClassVar[int]  # A
    #: Control that action 1 stands for, in the actuator's unit: one number, or one for each of the A actuators.
    control_scale: ClassVar[float | tuple[float, ...]] = 1.0

    model_file: ClassVar[str]  # among the models that Gymnasium ships
    frame_skip: ClassVar[int]  # MuJoCo steps per environment step
    body_masses: ClassVar[Mapping[str, float]] = {}  # kg, of bodies that differ from the model file
    joint_damping: ClassVar[Mapping[str, float]] = {}  # N·s/m of slides, N·m·s/rad of hinges that differ from it
    tracked_bodies: ClassVar[tuple[str, ...]] = ()
    reads_contact_forces: ClassVar[bool] = False
    camera: ClassVar[Mapping[str, float]] = {}  # of rendered frames, as MuJoCo's `mjvCamera` names them

    def checked_parameters(self, parameters: Sequence[float] | Array | None) -> Array:
        """Task parameters as (P,) float64.

        Raises:
            ValueError: they are missing, not numbers, not finite, or not P.
        """
        expected = f"{self.id} needs task=({', '.join(self.task_parameter_names)})"
        if parameters is None:
            raise ValueError(f"no task given: {expected}")
        try:
            values = np.asarray(parameters, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"task {parameters!r} is not a list of numbers: {expected}") from error
        if values.shape != (len(self.task_parameter_names),):
            raise ValueError(f"task has shape {values.shape}: {expected}")
        if not np.isfinite(values).all():
            raise ValueError(f"task {values.tolist()} is not finite: {expected}")
        return values

    @abstractmethod
    def draw_start(self, positions: Array, velocities: Array, generator: np.random.Generator) -> None:
        """Adds the reset noise to the model's initial `positions` (nq,) and `velocities` (nv,), in place."""

    def place_task(self, positions: Array, parameters: Array) -> None:  # noqa: B027 (half of the families place nothing)
        """Writes the task (P,) into the start `positions` (nq,), in place, where a family has a goal or an object."""

    def track(self, state: PhysicsState) -> Array:
        """The point whose velocity the reward reads, (…, d) in metres; d = 0 where it reads none."""
        return state.positions[..., :0]

    @abstractmethod
    def observe(self, state: PhysicsState) -> Array:
        """(…, O) float64. It may read nothing that the task's parameters set."""

    @abstractmethod
    def reward_terms(
        self, state: PhysicsState, track_velocity: Array, controls: Array, parameters: Array
    ) -> dict[str, Array]:
        """The reward's summands by name, (…,) each.

        Args:
            state: the state after the step.
            track_velocity: mean velocity of `track` over the step, (…, d) in m/s.
            controls: what the actuators got, (…, A): actions times `control_scale`.
            parameters: the tasks, (…, P).
        """

    def terminated(self, state: PhysicsState) -> BoolArray:
        """(…,) whether the MDP ends in `state`; never by default."""
        return np.zeros(state.positions.shape[:-1], dtype=np.bool_)

    @abstractmethod
    def success_signal(self, state: PhysicsState, track_velocity: Array, parameters: Array) -> Array:
        """What the measure of success reads of every step, (…,): a distance in metres or a speed in m/s.

        The arguments are those of `reward_terms`.
        """

    @abstractmethod
    def succeeded(self, signals: Array, terminated: bool) -> bool:
        """Whether an episode is what `success` says: `signals` (T,) of all its steps, and whether the MDP ended it."""

    def why_outside(self, parameters: Array) -> str | None:
        """What keeps a task (P,) out of the family's distribution, in words and units; None for a task within it.

        Protocols round tasks to six decimals, so `TASK_TOLERANCE` beyond a border is still within.
        """
        return None


def norm(vectors: Array) -> Array:
    """Euclidean length along the last axis: (…, n) → (…,), the same bits for one vector and for a batch."""
    lengths: Array = np.sqrt(np.square(vectors).sum(axis=-1))
    return lengths


def control_cost(controls: Array) -> Array:
    """‖u‖², (…, A) → (…,)."""
    costs: Array = np.square(controls).sum(axis=-1)
    return costs
