"""Pusher-Goal: a seven-joint arm must push an object it can't see to a place it isn't told.

The body is Gymnasium's Pusher-v5 without the six observation entries that hold the object and the goal.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from icrl_plugins.environments.formulas import TASK_TOLERANCE, PhysicsState, control_cost, norm
from icrl_plugins.environments.mujoco_tasks import MujocoTasks
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array

TIPS, OBJECT, GOAL = 0, 1, 2  # rows of PhysicsState.bodies
ARM = slice(0, 7)
#: The slides stand at zero where the model puts the bodies, and each body's y slide comes before its x slide.
SLIDE_ORIGIN = np.array([0.45, -0.05])  # world x, y in metres
OBJECT_SLIDES, GOAL_SLIDES = [8, 7], [10, 9]  # entries of qpos for x, y


class PusherGoalConfig(ComponentConfig):
    """Weights of the reward, Gymnasium's values."""

    distance_weight: float = Field(1.0, ge=0.0, description="weight of the distance from the object to the goal")
    near_weight: float = Field(0.5, ge=0.0, description="weight of the distance from the arm's tip to the object")
    control_weight: float = Field(0.1, ge=0.0, description="weight of the squared joint torques, which reach ±2")


class PusherGoal(MujocoTasks):
    """The object starts in a rectangle of the table, the goal lies in a disc within the arm's reach.

    Observation (17): joint angles (7, rad), joint velocities (7, rad/s), wrist position (3, m). Object and goal are
    hidden at all times; touching the object disturbs the arm, which is honest information.
    Action (7): joint torques, 1 standing for the actuators' 2.
    Reward: −‖object − goal‖ − 0.5·‖object − wrist‖ − 0.1·‖torques‖². It never terminates.
    """

    Config: ClassVar[type[ComponentConfig]] = PusherGoalConfig
    config: PusherGoalConfig
    id: ClassVar[str] = "pusher-goal-v1"
    success: ClassVar[str | None] = "object within 5 cm of its goal at the end, seen from above"
    task_parameter_names: ClassVar[tuple[str, ...]] = ("object_x (m)", "object_y (m)", "goal_x (m)", "goal_y (m)")
    horizon = 100
    observation_size = 17
    action_size = 7
    control_scale = 2.0
    model_file = "pusher_v5.xml"
    frame_skip = 5
    tracked_bodies = ("tips_arm", "object", "goal")
    camera: ClassVar = {"trackbodyid": -1, "distance": 4.0}

    object_low: ClassVar[tuple[float, float]] = (0.30, -0.35)  # world x, y in metres
    object_high: ClassVar[tuple[float, float]] = (0.60, -0.10)
    goal_centre: ClassVar[tuple[float, float]] = (0.45, -0.05)
    goal_radius: ClassVar[float] = 0.15  # m
    smallest_push: ClassVar[float] = 0.17  # m, from the object to the goal
    success_radius: ClassVar[float] = 0.05  # m
    arm_base: ClassVar[tuple[float, float]] = (0.0, -0.6)
    reach: ClassVar[float] = 0.82  # m, of the fingers at the height of the table

    def sample_task_parameters(self, generator: np.random.Generator) -> Array:
        """Object and goal, (4,) in world metres, drawn until the goal is in reach and the push long enough."""
        while True:
            start = generator.uniform(self.object_low, self.object_high)  # (2,)
            radius = self.goal_radius * np.sqrt(generator.uniform())
            angle = generator.uniform(0.0, 2.0 * np.pi)
            goal = np.array(self.goal_centre) + radius * np.array([np.cos(angle), np.sin(angle)])  # (2,)
            if norm(start - goal) > self.smallest_push and norm(goal - np.array(self.arm_base)) <= self.reach:
                return np.concatenate([start, goal])

    def draw_start(self, positions: Array, velocities: Array, generator: np.random.Generator) -> None:
        velocities[ARM] += generator.uniform(-0.005, 0.005, size=7)

    def place_task(self, positions: Array, parameters: Array) -> None:
        positions[OBJECT_SLIDES] = parameters[:2] - SLIDE_ORIGIN
        positions[GOAL_SLIDES] = parameters[2:] - SLIDE_ORIGIN

    def observe(self, state: PhysicsState) -> Array:
        parts = [state.positions[..., ARM], state.velocities[..., ARM], state.bodies[..., TIPS, :]]
        return np.concatenate(parts, axis=-1)  # (…, 17)

    def reward_terms(
        self, state: PhysicsState, track_velocity: Array, controls: Array, parameters: Array
    ) -> dict[str, Array]:
        tips, thing, goal = (state.bodies[..., row, :] for row in (TIPS, OBJECT, GOAL))  # (…, 3) each
        return {
            "distance": -self.config.distance_weight * norm(thing - goal),
            "near": -self.config.near_weight * norm(thing - tips),
            "control": -self.config.control_weight * control_cost(controls),
        }

    def success_signal(self, state: PhysicsState, track_velocity: Array, parameters: Array) -> Array:
        # Seen from above: the goal is a mark below the object's centre, which the reward's distance never sees at zero.
        return norm((state.bodies[..., OBJECT, :] - state.bodies[..., GOAL, :])[..., :2])  # (…,) m

    def succeeded(self, signals: Array, terminated: bool) -> bool:
        return bool(signals[-1] <= self.success_radius)

    def why_outside(self, parameters: Array) -> str | None:
        start, goal = parameters[:2], parameters[2:]
        low, high = np.array(self.object_low) - TASK_TOLERANCE, np.array(self.object_high) + TASK_TOLERANCE
        if ((start < low) | (start > high)).any():
            return f"the object is outside {self.object_low} m to {self.object_high} m"
        if norm(goal - np.array(self.goal_centre)) > self.goal_radius + TASK_TOLERANCE:
            return f"the goal is more than {self.goal_radius} m from {self.goal_centre} m"
        if norm(goal - np.array(self.arm_base)) > self.reach + TASK_TOLERANCE:
            return f"the goal is more than {self.reach} m from the arm's base"
        if norm(start - goal) < self.smallest_push - TASK_TOLERANCE:
            return f"the goal is nearer than {self.smallest_push} m to the object"
        return None
