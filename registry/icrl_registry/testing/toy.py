"""A toy problem small enough for unit tests: a point in the plane that should find a place it isn't told.

What every conformance check needs of a problem is here in closed form: the next observation is
`clip(position + 0.2 action, -1, 1)`, the reward minus the distance to the hidden goal after the step.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from icrl_registry.batching import SequentialBatch
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import (
    Array,
    BatchedEnvironment,
    Environment,
    EnvironmentSpec,
    FloatArray,
    LearningHistory,
    Split,
    Task,
    TrainingTasks,
)

if TYPE_CHECKING:
    import gymnasium

STEP_LENGTH = np.float32(0.2)


class ToyPointConfig(ComponentConfig):
    """Settings of the toy problem."""

    horizon: int = Field(10, ge=1, description="steps of an episode")


class ToyPoint(Environment):
    """O = 2 (position), A = 2 (step), P = 2 (goal)."""

    Config = ToyPointConfig
    id = "toy-point-v1"
    has_closed_form = True  # its successors, rewards and best actions can be asked for
    task_parameter_names = ("goal_x (length)", "goal_y (length)")

    def __init__(self, config: ComponentConfig | None = None) -> None:
        self.config = config if isinstance(config, ToyPointConfig) else ToyPointConfig()

    @property
    def spec(self) -> EnvironmentSpec:
        return EnvironmentSpec(self.id, observation_size=2, action_size=2, horizon=self.config.horizon)

    def sample_task_parameters(self, generator: np.random.Generator) -> Array:
        return generator.uniform(-0.8, 0.8, size=2)

    def make(self, task: Task, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        from gymnasium.wrappers import TimeLimit

        return TimeLimit(_point_class()(np.asarray(task.parameters)), self.config.horizon)

    def make_batch(self, tasks: Sequence[Task]) -> BatchedEnvironment:
        if type(self).make is not ToyPoint.make:  # a variation of the toy, whose state is not known here
            return super().make_batch(tasks)
        return ToyBatch([self.make(task) for task in tasks])

    def successors(self, observations: Array, actions: Array) -> FloatArray:
        """Where `actions` (…, A) lead from `observations` (…, 2), (…, 2)."""
        return next_position(observations, actions)

    def rewards(self, next_observations: Array, parameters: Array) -> Array:
        """What it pays to come to `next_observations` (…, 2) in the task with `parameters` (2,), (…)."""
        return reward_at(next_observations, parameters)

    def best_actions(self, observations: Array, parameters: Array) -> FloatArray:
        """What a policy does that knows the task, (…, 2) → (…, A)."""
        return best_action(observations, parameters)

    def history(self, task: Task, num_episodes: int, seed: int) -> LearningHistory:
        """What a source would write in a task."""
        return toy_history(self, task, num_episodes, seed)

    def start(self, generator: np.random.Generator) -> FloatArray:
        """The first observation of an episode, (2,)."""
        return generator.uniform(-0.1, 0.1, size=2).astype(np.float32)

    def improving_actions(
        self, observation: Array, parameters: Array, skill: float, generator: np.random.Generator
    ) -> Array:
        """What a learner does, from random at skill 0 to the best at skill 1; (2,) → (A,) float32."""
        best = np.clip((parameters - observation) / STEP_LENGTH, -1, 1)
        mixed: Array = (skill * best + (1 - skill) * generator.uniform(-1, 1, size=2)).astype(np.float32)
        return mixed

    def tasks(self, count: int, seed: int = 0, split: Split = "train") -> list[Task]:
        """`count` tasks drawn from `seed`."""
        drawn = self.sample_training_parameters(count, np.random.default_rng(seed))  # (count, P)
        return [Task((float(x), float(y)), split, index) for index, (x, y) in enumerate(drawn)]


class ToyBatch(SequentialBatch):
    """The toy's tasks, in a batch that can be saved."""

    def save(self) -> Mapping[str, Array]:
        steps = [environment.get_wrapper_attr("_elapsed_steps") for environment in self.environments]
        return {"positions": self._last.copy(), "steps": np.array([-1 if step is None else step for step in steps])}

    def restore(self, state: Mapping[str, Array]) -> None:
        self._last[:] = state["positions"]
        for environment, position, step in zip(self.environments, self._last, state["steps"], strict=True):
            environment.unwrapped.position = position.copy()  # type: ignore[attr-defined]
            environment.set_wrapper_attr("_elapsed_steps", None if step < 0 else int(step))


def next_position(position: Array, action: Array) -> FloatArray:
    """The dynamics, (..., 2) and (..., 2) → (..., 2) float32."""
    moved = np.asarray(position, np.float32) + STEP_LENGTH * np.clip(np.asarray(action, np.float32), -1, 1)
    return np.clip(moved, -1, 1).astype(np.float32)


def reward_at(position: Array, goal: Array) -> Array:
    """Minus the distance to the goal, (..., 2) → (...) float64."""
    distances: Array = np.linalg.norm(np.asarray(position, np.float64) - np.asarray(goal, np.float64), axis=-1)
    return -distances


def best_action(position: Array, goal: Array) -> FloatArray:
    """What a policy that knows the goal does, (..., 2) and (2,) → (..., 2) float32: as far towards it as one step goes."""
    actions: FloatArray = np.clip((goal - np.asarray(position)) / STEP_LENGTH, -1, 1).astype(np.float32)
    return actions


@functools.cache
def _point_class() -> Any:
    """The Gymnasium class, made on first use because importing this module must not import Gymnasium."""
    import gymnasium
    from gymnasium.spaces import Box

    class Point(gymnasium.Env[Any, Any]):
        observation_space = Box(-1.0, 1.0, (2,), np.float32)
        action_space = Box(-1.0, 1.0, (2,), np.float32)

        def __init__(self, goal: Array) -> None:
            self.goal = goal

        def reset(
            self, *, seed: int | None = None, options: dict[str, Any] | None = None
        ) -> tuple[Array, dict[str, Any]]:
            super().reset(seed=seed)
            self.position = self.np_random.uniform(-0.1, 0.1, size=2).astype(np.float32)
            return self.position, {}

        def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
            self.position = next_position(self.position, action)
            return self.position, float(reward_at(self.position, self.goal)), False, False, {}

    return Point


def toy_history(environment: Environment, task: Task, num_episodes: int, seed: int) -> LearningHistory:
    """What a source would write (S = 1): from random actions in the first episode to the best ones in the last.

    `environment` is a toy, or something around one with its configuration.
    """
    if not isinstance(environment, ToyPoint):
        environment = ToyPoint(environment.config)  # type: ignore[attr-defined]
    if not environment.has_closed_form:
        return environment.history(task, num_episodes, seed)
    generator = np.random.default_rng([seed, task.index])
    goal, horizon = np.asarray(task.parameters), environment.config.horizon
    rows: list[tuple[Array, Array, Array]] = []  # position, action, next position
    for episode in range(num_episodes):
        skill = episode / max(num_episodes - 1, 1)
        position = environment.start(generator)
        for _ in range(horizon):
            action = environment.improving_actions(position, goal, skill, generator)
            following = environment.successors(position, action)
            rows.append((position, action, following))
            position = following
    positions, actions, followings = (np.stack(column)[None].astype(np.float32) for column in zip(*rows, strict=True))
    steps = num_episodes * horizon
    truncated = (np.arange(1, steps + 1) % horizon == 0)[None]
    return LearningHistory(
        task=task,
        observations=positions,  # (1, T, O)
        actions=actions,
        rewards=environment.rewards(followings, goal).astype(np.float32),
        next_observations=followings,
        terminated=np.zeros((1, steps), dtype=np.bool_),
        truncated=truncated,
        policy_means=actions,
    )


class ToyTrainingTasks(TrainingTasks):
    """The toy's training tasks for methods that meta-train online."""

    def __init__(self, environment: ToyPoint, tasks: Sequence[Task]) -> None:
        self.environment = environment
        self.tasks = tasks

    def make_batch(self, indices: Sequence[int]) -> BatchedEnvironment:
        return self.environment.make_batch([self.tasks[index] for index in indices])


@functools.cache
def toy_backbone_class() -> Any:
    """A causal running mean followed by a linear layer: the smallest backbone. Made on first use, as it needs torch."""
    import torch

    class ToyBackbone(torch.nn.Module):
        Config = ComponentConfig
        model_size = 8
        embedding_size = 4

        def __init__(self, config: ComponentConfig, *, context_length: int) -> None:
            super().__init__()
            self.mix = torch.nn.Linear(2 * self.model_size, self.model_size)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:  # (B, T, D)
            counts = torch.arange(1, tokens.shape[1] + 1, device=tokens.device).view(1, -1, 1)
            means = tokens.cumsum(dim=1) / counts
            return torch.tanh(self.mix(torch.cat([tokens, means], dim=-1)))

        def initial_state(self, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
            device = self.mix.weight.device
            return torch.zeros(batch_size, self.model_size, device=device), torch.zeros(batch_size, 1, device=device)

        def step(self, token: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
            total, count = state[0] + token, state[1] + 1
            return torch.tanh(self.mix(torch.cat([token, total / count], dim=-1))), (total, count)

    return ToyBackbone
