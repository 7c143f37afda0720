"""Reacher-Goal: a two-link arm must hold its fingertip at a point that it isn't told.

The body is Gymnasium's Reacher-v5 without the four observation entries that give the target away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from icrl_plugins.environments.formulas import TASK_TOLERANCE, PhysicsState, control_cost, norm
from icrl_plugins.environments.mujoco_tasks import MujocoTasks
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array, Task

FINGERTIP, TARGET = 0, 1  # rows of PhysicsState.bodies
ARM = slice(0, 2)  # the joints; entries 2 and 3 of qpos are the target's world x and y


class ReacherGoalConfig(ComponentConfig):
    """Weights of the reward."""

    control_weight: float = Field(
        0.1, ge=0.0, description="weight of the squared action; Gymnasium documents 0.1, its code has 1.0"
    )


class ReacherGoal(MujocoTasks):
    """Goals are uniform in the annulus 0.02 m to 0.2 m around the base: nearer ones the arm can't reach.

    Observation (8): cos θ (2), sin θ (2), θ̇ (2, rad/s), fingertip x and y (2, m). Action (2): joint torques.
    Reward: −‖fingertip − goal‖ − control_weight·‖a‖². It never terminates.
    """

    Config: ClassVar[type[ComponentConfig]] = ReacherGoalConfig
    config: ReacherGoalConfig
    id: ClassVar[str] = "reacher-goal-v1"
    success: ClassVar[str | None] = "fingertip within 2 cm of the goal over the last ten steps"
    task_parameter_names: ClassVar[tuple[str, ...]] = ("goal_x (m)", "goal_y (m)")
    horizon = 50
    observation_size = 8
    action_size = 2
    model_file = "reacher.xml"
    frame_skip = 2
    tracked_bodies = ("fingertip", "target")
    camera: ClassVar = {"trackbodyid": 0}

    nearest_goal: ClassVar[float] = 0.02  # m
    farthest_goal: ClassVar[float] = 0.2  # m
    success_radius: ClassVar[float] = 0.02  # m

    def sample_task_parameters(self, generator: np.random.Generator) -> Array:
        """A goal, (2,) in metres. Uniform area means uniform squared radius."""
        radius = np.sqrt(generator.uniform(self.nearest_goal**2, self.farthest_goal**2))
        angle = generator.uniform(0.0, 2.0 * np.pi)
        goal: Array = radius * np.array([np.cos(angle), np.sin(angle)])
        return goal

    def draw_start(self, positions: Array, velocities: Array, generator: np.random.Generator) -> None:
        positions[ARM] += generator.uniform(-0.1, 0.1, size=2)
        velocities[ARM] += generator.uniform(-0.005, 0.005, size=2)

    def place_task(self, positions: Array, parameters: Array) -> None:
        positions[2:4] = parameters

    def observe(self, state: PhysicsState) -> Array:
        angles = state.positions[..., ARM]  # (…, 2)
        tip = state.bodies[..., FINGERTIP, :2]  # (…, 2), a function of the angles alone
        return np.concatenate([np.cos(angles), np.sin(angles), state.velocities[..., ARM], tip], axis=-1)  # (…, 8)

    def reward_terms(
        self, state: PhysicsState, track_velocity: Array, controls: Array, parameters: Array
    ) -> dict[str, Array]:
        offset = state.bodies[..., FINGERTIP, :] - state.bodies[..., TARGET, :]  # (…, 3)
        return {"distance": -norm(offset), "control": -self.config.control_weight * control_cost(controls)}

    def success_signal(self, state: PhysicsState, track_velocity: Array, parameters: Array) -> Array:
        return norm(state.bodies[..., FINGERTIP, :2] - parameters)  # (…,) m

    def succeeded(self, signals: Array, terminated: bool) -> bool:
        return bool((signals[-10:] <= self.success_radius).all())

    def blind_return(self, tasks: Sequence[Task]) -> Array:
        """Whatever ignores the goal does best to rest the fingertip, from the first step on, at the goals' geometric median.

        The mean of distances is convex in the point, so moving about between points is no better; (K,).
        """
        goals = np.array([task.parameters for task in tasks])  # (K, 2)
        point = goals.mean(axis=0)
        for _ in range(1000):  # Weiszfeld's iteration
            weights = 1.0 / np.maximum(norm(goals - point), 1e-12)
            point = (weights[:, None] * goals).sum(axis=0) / weights.sum()
        return -self.horizon * norm(goals - point)

    def why_outside(self, parameters: Array) -> str | None:
        near, far, radius = self.nearest_goal, self.farthest_goal, norm(parameters)
        if near - TASK_TOLERANCE <= radius <= far + TASK_TOLERANCE:
            return None
        return f"the goal is {radius:.3g} m from the base, not {near} m to {far} m"
