"""Pusher-Goal, second version: goals to the left and right of the object, and a reward that pays for its way.

In `pusher-goal-v1` all goals lie on one side of all objects, and hovering beside the object earns most of what can be
earned. Here the mean push goes nowhere to the side, every task weighs the same, and the open hand starts round the object.

A draft, not registered: no source has passed a certificate on it. Four tasks, successes of the greedy policies: PPO,
200,000 steps, 0 of 4 (the object ends 0.06, 0.11, 0.15, 0.07 m from its goal, from 0.12, 0.20, 0.19, 0.13 m); SAC, 80,000
steps, 0 of 4 (0.05, 0.19, 0.17, 0.09 m). Both push, and their learning curves still rise.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from icrl_plugins.environments.formulas import TASK_TOLERANCE, PhysicsState, control_cost, norm
from icrl_plugins.environments.pusher_goal import ARM, GOAL, OBJECT, TIPS, PusherGoal
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array


class PusherGoalV2Config(ComponentConfig):
    """Weights of the reward."""

    distance_weight: float = Field(1.0, ge=0.0, description="weight of the distance left, as a share of the first one")
    near_weight: float = Field(0.5, ge=0.0, description="weight of the distance from the arm's tip to the object")
    control_weight: float = Field(0.01, ge=0.0, description="weight of the squared joint torques, which reach ±2")


class PusherGoalV2(PusherGoal):
    """The object starts at one place of the table, ±1 cm; its goal lies 0.12 m to 0.20 m off, at 50° to 80° left or right.

    Bearings are from the ray that leads from the arm's base to the object. Observation (17) and action (7) are those of
    `pusher-goal-v1`: object and goal are hidden.
    Reward: −‖object − goal‖ / first ‖object − goal‖ (on the table) − 0.5·‖object − tip‖ − 0.01·‖torques‖².
    """

    Config: ClassVar[type[ComponentConfig]] = PusherGoalV2Config
    config: PusherGoalV2Config  # type: ignore[assignment]
    id: ClassVar[str] = "pusher-goal-v2"

    object_place: ClassVar[tuple[float, float]] = (0.45, -0.25)  # world x, y in metres
    object_spread: ClassVar[float] = 0.01  # m
    bearings: ClassVar[tuple[float, float]] = (
        50.0,
        80.0,
    )  # degrees; the open hand pushes outwards and to a side, not back
    push: ClassVar[tuple[float, float]] = (0.12, 0.20)  # m
    #: Joint angles (7,) at which the hand stands round `object_place`.
    hand_round_object: ClassVar[tuple[float, ...]] = (0.6557, 1.2974, -0.0084, -1.6164, 0.0012, 0.0, 0.0012)

    def sample_task_parameters(self, generator: np.random.Generator) -> Array:
        """Object and goal, (4,) in world metres."""
        start = np.array(self.object_place) + generator.uniform(-self.object_spread, self.object_spread, size=2)
        side = 1.0 if generator.uniform() < 0.5 else -1.0
        bearing = self._ray(start) + side * np.deg2rad(generator.uniform(*self.bearings))
        return np.concatenate(
            [start, start + generator.uniform(*self.push) * np.array([np.cos(bearing), np.sin(bearing)])]
        )

    def draw_start(self, positions: Array, velocities: Array, generator: np.random.Generator) -> None:
        super().draw_start(positions, velocities, generator)
        positions[ARM] = np.array(self.hand_round_object) + generator.uniform(-0.01, 0.01, size=7)

    def reward_terms(
        self, state: PhysicsState, track_velocity: Array, controls: Array, parameters: Array
    ) -> dict[str, Array]:
        left = norm((state.bodies[..., OBJECT, :] - state.bodies[..., GOAL, :])[..., :2])
        first = norm(parameters[..., :2] - parameters[..., 2:])
        near = norm(state.bodies[..., OBJECT, :] - state.bodies[..., TIPS, :])
        return {
            "distance": -self.config.distance_weight * left / first,
            "near": -self.config.near_weight * near,
            "control": -self.config.control_weight * control_cost(controls),
        }

    def why_outside(self, parameters: Array) -> str | None:
        start, way = parameters[:2], parameters[2:] - parameters[:2]
        if (np.abs(start - np.array(self.object_place)) > self.object_spread + TASK_TOLERANCE).any():
            return f"the object is more than {self.object_spread} m from {self.object_place} m"
        if not self.push[0] - TASK_TOLERANCE <= norm(way) <= self.push[1] + TASK_TOLERANCE:
            return f"the goal is {norm(way):.3g} m from the object, not {self.push[0]} m to {self.push[1]} m"
        turn = np.arctan2(way[1], way[0]) - self._ray(start)
        degrees = abs(np.rad2deg((turn + np.pi) % (2.0 * np.pi) - np.pi))
        if not self.bearings[0] - 0.01 <= degrees <= self.bearings[1] + 0.01:
            return f"the goal's bearing is {degrees:.3g}°, not {self.bearings[0]}° to {self.bearings[1]}°"
        return None

    def _ray(self, start: Array) -> float:
        """Direction from the arm's base to the object, in radians."""
        ray = start - np.array(self.arm_base)
        return float(np.arctan2(ray[1], ray[0]))
