"""What the MuJoCo families share: how a family states its body, its noise, its observation and its reward.

A family (`reacher_goal.py`, …) holds only formulas over `PhysicsState`; `simulation.py` steps MuJoCo and calls them,
and `gymnasium_env.py` shows one task of it as a Gymnasium environment. So physics, observation and reward have one code
path, whether one task is stepped or a hundred. This module imports neither MuJoCo nor Gymnasium.

The formulas take any number of leading batch axes, written `…` below. Observations never depend on the task's
parameters, and the noise of a reset is drawn without looking at them: two tasks with one seed and one action sequence
look the same.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array, BatchedEnvironment, BoolArray, Environment, EnvironmentSpec, Task

if TYPE_CHECKING:
    import gymnasium


class PhysicsState(NamedTuple):
    """The part of MuJoCo's state that observations and rewards read, after a step. Float64, SI units."""

    positions: Array  # (…, nq), generalised positions (`qpos`)
    velocities: Array  # (…, nv), generalised velocities (`qvel`)
    bodies: Array  # (…, bodies, 3), world positions of the family's `tracked_bodies`, as of the last sub-step (`xpos`)
    contact_forces: (
        Array  # (…, nbody, 6), external torque and force on each body (`cfrc_ext`); nbody is 0 if not asked for
    )


class MujocoTasks(Environment):
    """Base of the families. A subclass gives the class attributes and the formulas; the rest is here."""

    horizon: ClassVar[int]  # H
    observation_size: ClassVar[int]  # O
    action_size: ClassVar[int]  # A
    control_scale: ClassVar[float] = 1.0  # control that action 1 stands for, in the actuator's unit

    model_file: ClassVar[str]  # among the models that Gymnasium ships
    frame_skip: ClassVar[int]  # MuJoCo steps per environment step
    tracked_bodies: ClassVar[tuple[str, ...]] = ()
    reads_contact_forces: ClassVar[bool] = False
    camera: ClassVar[Mapping[str, float]] = {}  # of rendered frames, as MuJoCo's `mjvCamera` names them

    def __init__(self, config: ComponentConfig) -> None:
        if not isinstance(config, self.Config):
            raise TypeError(f"{self.id} takes a {self.Config.__qualname__}, got {type(config).__name__}")
        self.config = config

    # --- the contract ---

    @property
    def spec(self) -> EnvironmentSpec:
        return EnvironmentSpec(self.id, self.observation_size, self.action_size, self.horizon)

    def make(self, task: Task, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        """A Gymnasium environment of this one task. `render_mode` is one of its `metadata["render_modes"]`."""
        from icrl_plugins.environments.gymnasium_env import make_with_time_limit

        return make_with_time_limit(self, task, render_mode)

    def make_batch(self, tasks: Sequence[Task]) -> BatchedEnvironment:
        """K tasks on one compiled model; numbers equal those of `make`, without its overhead."""
        from icrl_plugins.environments.simulation import MujocoBatch

        return MujocoBatch(self, [task.parameters for task in tasks])

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

    # --- what a family defines ---

    @abstractmethod
    def draw_start(self, positions: Array, velocities: Array, generator: np.random.Generator) -> None:
        """Adds the reset noise to the model's initial `positions` (nq,) and `velocities` (nv,), in place."""

    def place_task(self, positions: Array, parameters: Array) -> None:
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


def norm(vectors: Array) -> Array:
    """Euclidean length along the last axis: (…, n) → (…,), the same bits for one vector and for a batch."""
    return np.sqrt(np.square(vectors).sum(axis=-1))


def control_cost(controls: Array) -> Array:
    """‖u‖², (…, A) → (…,)."""
    return np.square(controls).sum(axis=-1)
