"""Ant-Dir: walk in a direction of the plane that isn't told (MACAW, https://arxiv.org/abs/2008.06043, section 5).

The body is Gymnasium's Ant-v5 without contact forces in the observation; all directions, not two, are possible tasks.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from icrl_plugins.environments.formulas import TASK_TOLERANCE, PhysicsState, control_cost
from icrl_plugins.environments.mujoco_tasks import MujocoTasks
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array, BoolArray

TORSO_HEIGHT = 2  # entry of qpos


class AntDirConfig(ComponentConfig):
    """When an episode ends early."""

    terminate_when_unhealthy: bool = Field(
        True, description="end the episode when the torso leaves 0.2 m to 1.0 m; false gives 200 steps always"
    )


class AntDir(MujocoTasks):
    """Directions are uniform on the circle; the training ones are stratified, so that none leaves a hole.

    Observation (27): torso height and orientation and joint angles (13), velocities (14). Action (8): joint torques.
    Reward: velocity of the torso along the direction (m/s) + 1 while healthy − 0.5·‖a‖² − 0.0005·‖contact forces‖²,
    each force clipped to ±1. Unhealthy means a torso height outside 0.2 m to 1.0 m, or a state that is not finite; the
    step that ends an episode pays no healthy reward.
    """

    Config: ClassVar[type[ComponentConfig]] = AntDirConfig
    config: AntDirConfig
    id: ClassVar[str] = "ant-dir-v1"
    success: ClassVar[str | None] = "mean speed along the direction of at least 1.5 m/s, without a fall"
    task_parameter_names: ClassVar[tuple[str, ...]] = ("direction (rad)",)
    horizon = 200
    observation_size = 27
    action_size = 8
    model_file = "ant.xml"
    frame_skip = 5
    tracked_bodies = ("torso",)
    reads_contact_forces = True
    camera: ClassVar = {"distance": 4.0}

    control_weight: ClassVar[float] = 0.5
    contact_weight: ClassVar[float] = 5e-4
    healthy_reward: ClassVar[float] = 1.0
    success_speed: ClassVar[float] = 1.5  # m/s
    healthy_heights: ClassVar[tuple[float, float]] = (0.2, 1.0)  # m

    def sample_task_parameters(self, generator: np.random.Generator) -> Array:
        """A direction, (1,) in radians from the x axis, in [0, 2π)."""
        return generator.uniform(0.0, 2.0 * np.pi, size=1)

    def sample_training_parameters(self, count: int, generator: np.random.Generator) -> Array:
        """One uniform draw in each of `count` equal arcs, in rising order, (count, 1) in radians."""
        return 2.0 * np.pi * ((np.arange(count) + generator.uniform(size=count)) / count)[:, None]

    def task_distance(self, first: Array, second: Array) -> float:
        """The angle between two directions, 0 to π."""
        angle = float(np.asarray(first)[0] - np.asarray(second)[0])
        return abs((angle + np.pi) % (2.0 * np.pi) - np.pi)

    def draw_start(self, positions: Array, velocities: Array, generator: np.random.Generator) -> None:
        positions += generator.uniform(-0.1, 0.1, size=positions.shape)
        velocities += 0.1 * generator.standard_normal(velocities.shape)

    def track(self, state: PhysicsState) -> Array:
        return state.bodies[..., 0, :2]  # the torso's x, y

    def observe(self, state: PhysicsState) -> Array:
        return np.concatenate([state.positions[..., 2:], state.velocities], axis=-1)  # (…, 27)

    def reward_terms(
        self, state: PhysicsState, track_velocity: Array, controls: Array, parameters: Array
    ) -> dict[str, Array]:
        forces = np.clip(state.contact_forces, -1.0, 1.0)  # (…, nbody, 6)
        forces = forces.reshape(*forces.shape[:-2], forces.shape[-2] * 6)  # (…, nbody·6)
        return {
            "direction": self._along(track_velocity, parameters),
            "healthy": self.healthy_reward * self._healthy(state),
            "control": -self.control_weight * control_cost(controls),
            "contact": -self.contact_weight * np.square(forces).sum(axis=-1),
        }

    def success_signal(self, state: PhysicsState, track_velocity: Array, parameters: Array) -> Array:
        return self._along(track_velocity, parameters)  # (…,) m/s

    def succeeded(self, signals: Array, terminated: bool) -> bool:
        return not terminated and bool(signals.mean() >= self.success_speed)

    def why_outside(self, parameters: Array) -> str | None:
        if -TASK_TOLERANCE <= parameters[0] <= 2.0 * np.pi + TASK_TOLERANCE:
            return None
        return f"the direction is {parameters[0]:.3g} rad, not 0 to 2π"

    def terminated(self, state: PhysicsState) -> BoolArray:
        if not self.config.terminate_when_unhealthy:
            return super().terminated(state)
        return np.logical_not(self._healthy(state))

    def _along(self, track_velocity: Array, parameters: Array) -> Array:
        """Speed along the direction, (…,) in m/s."""
        direction = parameters[..., 0]  # (…,)
        return np.asarray(track_velocity[..., 0] * np.cos(direction) + track_velocity[..., 1] * np.sin(direction))

    def _healthy(self, state: PhysicsState) -> BoolArray:
        lowest, highest = self.healthy_heights
        height = state.positions[..., TORSO_HEIGHT]
        finite = np.isfinite(state.positions).all(axis=-1) & np.isfinite(state.velocities).all(axis=-1)
        return finite & (height >= lowest) & (height <= highest)
