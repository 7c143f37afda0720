"""Discrete actions for the sources on Stable-Baselines3: its algorithms speak of numbers, the harness of rows.

A learning history has an action as a row of A numbers (`icrl_registry.actions`), the library as a number from 0 to A - 1. The
two meet in two places. `NumberedActions` stands between an algorithm and the recorded environments, so that what is executed
and recorded is one-hot; and a policy with `RowActions` answers in rows when somebody other than its algorithm asks it.
"""

from __future__ import annotations

from typing import Any

from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from icrl_registry.actions import one_hot
from icrl_registry.contracts import Array, FloatArray


def choices(space: spaces.Space[Any]) -> spaces.Discrete:
    """The space of rows (A,) as the library has it: one of A actions."""
    return space if isinstance(space, spaces.Discrete) else spaces.Discrete(spaces.flatdim(space))


class NumberedActions(VecEnvWrapper):
    """Takes the numbers of S actions, (S,), and gives their one-hot rows (S, A) to the environments below."""

    def __init__(self, rows: VecEnv) -> None:
        numbers = choices(rows.action_space)
        super().__init__(rows, action_space=numbers)
        self._num_actions = int(numbers.n)

    def reset(self) -> Any:
        return self.venv.reset()

    def step_async(self, actions: Array) -> None:
        self.venv.step_async(one_hot(actions, self._num_actions))

    def step_wait(self) -> Any:
        return self.venv.step_wait()


class RowActions(BasePolicy):
    """A policy that is asked for actions (`predict`) and answers in one-hot rows; to be mixed in before the library's own."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], *rest: Any, **named: Any):
        super().__init__(observation_space, choices(action_space), *rest, **named)

    def predict(self, *asked: Any, **named: Any) -> tuple[FloatArray, Any]:
        """As the library's, with rows (N, A) in the place of numbers (N,)."""
        assert isinstance(self.action_space, spaces.Discrete)
        numbers, state = super().predict(*asked, **named)
        return one_hot(numbers, int(self.action_space.n)), state
