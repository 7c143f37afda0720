"""Pusher-Goal, second version: an object that can be pushed, goals to its left and right, a reward that pays for its way.

Three things keep `pusher-goal-v1` from testing anything. The hand goes through its object: MuJoCo scales the stiffness of
a contact by the bodies' masses, and the object of Pusher-v5 weighs 8 mg, so a turn of the shoulder that takes the wrist
20 cm on leaves the object behind after 3 cm at most. All goals lie on one side of all objects. And to hover beside the
object earns most of what can be earned.

Here the object weighs 200 g and slides against a viscous friction of 2 N·s/m: the hand moves it without entering it, and
it rests about 0.1 s after it is let go. The open hand starts round it. Goals lie left and right alike, so that the mean
push goes nowhere to the side, and the distance counts as a share of the first one, so that every task weighs the same.

Measured on the ten test tasks and two validation tasks of the split that `laptop-v2` draws, a PPO learner each of 120,000
steps: all twelve greedy policies succeed in every episode, with returns of -16 to -24 (mean -18.9) and the object 0.2 to
3.2 cm from its goal at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    near_weight: float = Field(0.5, ge=0.0, description="weight of the distance from the arm's wrist to the object")
    control_weight: float = Field(0.01, ge=0.0, description="weight of the squared joint torques in N·m")


class PusherGoalV2(PusherGoal):
    """The object starts at one place of the table, ±1 cm; its goal lies 12 cm to 24 cm off, at 40° to 90° left or right.

    Bearings are from the ray that leads from the arm's base to the object.
    Observation (17): joint angles (7, rad), joint velocities (7, rad/s), wrist position (3, m), as in `pusher-goal-v1`:
    object and goal are hidden.
    Action (7): joint torques. 1 stands for 1, 1, 0.25, 0.25, 0.1, 0.1, 0.1 N·m from shoulder to wrist, which accelerates
    each joint by about 2.5 rad/s²; the 2 N·m of version 1 spin the wrist at 20 rad/s.
    Reward: −‖object − goal‖ / first ‖object − goal‖ (on the table) − 0.5·‖object − wrist‖ − 0.01·‖torques‖². The object
    left alone costs 1 a step. It never terminates.
    """

    Config: ClassVar[type[ComponentConfig]] = PusherGoalV2Config
    config: PusherGoalV2Config  # type: ignore[assignment]
    id: ClassVar[str] = "pusher-goal-v2"
    control_scale = (1.0, 1.0, 0.25, 0.25, 0.1, 0.1, 0.1)  # type: ignore[assignment]  # N·m
    body_masses: ClassVar[Mapping[str, float]] = {"object": 0.2}
    joint_damping: ClassVar[Mapping[str, float]] = {"obj_slidex": 2.0, "obj_slidey": 2.0}

    object_place: ClassVar[tuple[float, float]] = (0.479, -0.229)  # world x, y in metres
    object_spread: ClassVar[float] = 0.01  # m, along x and along y
    bearings: ClassVar[tuple[float, float]] = (40.0, 90.0)  # degrees; the open hand pushes outwards and aside, not back
    push: ClassVar[tuple[float, float]] = (0.12, 0.24)  # m
    #: Joint angles (7,) at which the hand stands round `object_place`, without touching the object anywhere in its spread.
    hand_round_object: ClassVar[tuple[float, ...]] = (0.6557, 1.2974, -0.0084, -1.6164, 0.0012, 0.0, 0.0012)

    def sample_task_parameters(self, generator: np.random.Generator) -> Array:
        """Object and goal, (4,) in world metres."""
        start = np.array(self.object_place) + generator.uniform(-self.object_spread, self.object_spread, size=2)
        side = 1.0 if generator.uniform() < 0.5 else -1.0
        bearing = self._ray(start) + side * np.deg2rad(generator.uniform(*self.bearings))
        push = generator.uniform(*self.push) * np.array([np.cos(bearing), np.sin(bearing)])
        return np.concatenate([start, start + push])

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
        start, push = parameters[:2], parameters[2:] - parameters[:2]
        if (np.abs(start - np.array(self.object_place)) > self.object_spread + TASK_TOLERANCE).any():
            return f"the object is more than {self.object_spread} m from {self.object_place} m along x or y"
        if not self.push[0] - TASK_TOLERANCE <= norm(push) <= self.push[1] + TASK_TOLERANCE:
            return f"the goal is {norm(push):.3g} m from the object, not {self.push[0]} m to {self.push[1]} m"
        angle = np.arctan2(push[1], push[0]) - self._ray(start)
        degrees = abs(np.rad2deg((angle + np.pi) % (2.0 * np.pi) - np.pi))
        if not self.bearings[0] - 0.01 <= degrees <= self.bearings[1] + 0.01:
            return f"the goal's bearing is {degrees:.3g}°, not {self.bearings[0]}° to {self.bearings[1]}°"
        return None

    def _ray(self, start: Array) -> float:
        """Direction from the arm's base to the object, in radians."""
        ray = start - np.array(self.arm_base)
        return float(np.arctan2(ray[1], ray[0]))
