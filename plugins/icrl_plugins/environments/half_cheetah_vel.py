"""HalfCheetah-Vel: run at a speed that isn't told (PEARL, https://arxiv.org/abs/1903.08254, section 6 and its code).

The body is Gymnasium's HalfCheetah-v5. Its observation lacks the absolute x that the original code showed to the agent.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from icrl_plugins.environments.formulas import TASK_TOLERANCE, PhysicsState, control_cost
from icrl_plugins.environments.mujoco_tasks import MujocoTasks
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array


class HalfCheetahVelConfig(ComponentConfig):
    """Weights of the reward."""

    control_weight: float = Field(0.05, ge=0.0, description="weight of the squared action, as in PEARL, MQL and MACAW")


class HalfCheetahVel(MujocoTasks):
    """Target velocities are uniform in 0 to 3 m/s; the training ones are stratified, so that none leaves a hole.

    Observation (17): joint positions without x (8), joint velocities (9). Action (6): joint torques.
    Reward: −|v − target| − control_weight·‖a‖², v the mean forward velocity of the step in m/s. It never terminates.
    """

    Config: ClassVar[type[ComponentConfig]] = HalfCheetahVelConfig
    config: HalfCheetahVelConfig
    id: ClassVar[str] = "half-cheetah-vel-v1"
    success: ClassVar[str | None] = "mean |v - target| of at most 0.25 m/s after the first 50 steps"
    task_parameter_names: ClassVar[tuple[str, ...]] = ("target_velocity (m/s)",)
    horizon = 200
    observation_size = 17
    action_size = 6
    model_file = "half_cheetah.xml"
    frame_skip = 5
    camera: ClassVar = {"distance": 4.0}

    fastest: ClassVar[float] = 3.0  # m/s
    steps_to_settle: ClassVar[int] = 50
    success_error: ClassVar[float] = 0.25  # m/s

    def sample_task_parameters(self, generator: np.random.Generator) -> Array:
        """A target velocity, (1,) in m/s."""
        return generator.uniform(0.0, self.fastest, size=1)

    def sample_training_parameters(self, count: int, generator: np.random.Generator) -> Array:
        """One uniform draw in each of `count` equal bins, in rising order, (count, 1) in m/s."""
        return self.fastest * ((np.arange(count) + generator.uniform(size=count)) / count)[:, None]

    def draw_start(self, positions: Array, velocities: Array, generator: np.random.Generator) -> None:
        positions += generator.uniform(-0.1, 0.1, size=positions.shape)
        velocities += 0.1 * generator.standard_normal(velocities.shape)

    def track(self, state: PhysicsState) -> Array:
        return state.positions[..., :1]  # the torso's x

    def observe(self, state: PhysicsState) -> Array:
        return np.concatenate([state.positions[..., 1:], state.velocities], axis=-1)  # (…, 17)

    def reward_terms(
        self, state: PhysicsState, track_velocity: Array, controls: Array, parameters: Array
    ) -> dict[str, Array]:
        return {
            "velocity": -np.abs(track_velocity[..., 0] - parameters[..., 0]),
            "control": -self.config.control_weight * control_cost(controls),
        }

    def success_signal(self, state: PhysicsState, track_velocity: Array, parameters: Array) -> Array:
        distance: Array = np.abs(track_velocity[..., 0] - parameters[..., 0])  # (…,) m/s
        return distance

    def succeeded(self, signals: Array, terminated: bool) -> bool:
        settled = signals[self.steps_to_settle :]
        return bool(len(settled) and settled.mean() <= self.success_error)

    def why_outside(self, parameters: Array) -> str | None:
        if -TASK_TOLERANCE <= parameters[0] <= self.fastest + TASK_TOLERANCE:
            return None
        return f"the target is {parameters[0]:.3g} m/s, not 0 to {self.fastest} m/s"
