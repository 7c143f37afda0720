"""The agent of every method that learns in context: all tasks in one batch, one model step per environment step, no gradient.

The context is never cleared between episodes: it is what the agent learns by. Token t is put together when its action
is asked for, from the step observed last and the observation at hand, which at an episode's start is the reset's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from icrl_plugins.methods.in_context.config import InContextConfig
from icrl_plugins.methods.in_context.exploration import ExecutionNoise
from icrl_plugins.methods.in_context.model import InContextModel
from icrl_plugins.methods.in_context.restarts import Restarts
from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.contracts import AdaptationSetting, Agent, Array, FloatArray, Transitions

Draw = Callable[[torch.Tensor, np.random.Generator], FloatArray]
"""What the model says of K actions, and a generator → the actions, (K, A), not clipped."""


def as_they_are(predicted: torch.Tensor, generator: np.random.Generator) -> FloatArray:
    """Actions that the model predicts, (K, A)."""
    return predicted.numpy()


class InContextAgent(Agent):
    """Acts by a trained model. Rows that have finished still pass through the batch; what they give is ignored."""

    def __init__(
        self,
        model: InContextModel,
        normalisation: Normalisation,
        config: InContextConfig,
        limits: ContextLimits,
        device: str,
        draw: Draw = as_they_are,
    ) -> None:
        self.model = model
        self.layout = model.layout
        self.normalisation = normalisation
        self.config = config
        self.limits = limits
        self.device = device
        self._draw = draw

    def begin(self, setting: AdaptationSetting) -> None:
        """An empty context for every task."""
        self.model.eval()
        with torch.inference_mode():
            self._state: Any = self.model.initial_state(setting.num_tasks)
        self._token = np.zeros((setting.num_tasks, self.layout.size), dtype=np.float32)  # (K, F), the next input
        self._is_start = np.ones(setting.num_tasks, dtype=np.bool_)
        self._recent: list[torch.Tensor] = []  # inputs since the last rebuild, kept only to rebuild from
        self._generator = np.random.default_rng(child_seed(setting.seed, 0))
        self._noise = ExecutionNoise(self.config, self.limits.horizon, self._generator)
        rounds = self.config.restarts
        self._restarts = Restarts(rounds, self.model, self._token) if rounds else None
        self._tokens_seen = np.zeros(setting.num_tasks, dtype=np.int64)
        self._spread = _EpisodeSpread(setting.num_tasks)

    @torch.inference_mode()
    def act(self, observations: FloatArray) -> FloatArray:
        """(K, O) → (K, A) in [-1, 1]; appends one token to every context."""
        if self._restarts is not None:
            self._restarts.begin_episodes(self._is_start, self._token)
        self.layout.write_current(self._token, self.normalisation.observations(observations), self._is_start)
        token = torch.from_numpy(self._token.copy()).to(self.device)
        actions = self._draw(self._predict(token).float().cpu(), self._generator)
        noisy = self._noise.added_to(actions, self._tokens_seen)
        if self._restarts is not None:
            drawn = self._generator.standard_normal(actions.shape, dtype=np.float32)
            random = self._restarts.is_random[:, None]
            noisy = np.where(random, np.float32(self.config.restart_std) * drawn, noisy)
        clipped: FloatArray = np.clip(noisy, -1.0, 1.0)
        return clipped

    def _predict(self, token: torch.Tensor) -> torch.Tensor:
        """What the model says of the next decision, (K, F) → (K, …); the context goes on by one token."""
        if self._restarts is not None:  # no context of theirs is longer than two episodes
            return self._restarts.step(token)
        if self.config.context_overflow == "rebuild":
            self._rebuild_when_full()
            self._recent.append(token)
        predicted, self._state = self.model.step(token, self._state)
        said: torch.Tensor = predicted
        return said

    def _rebuild_when_full(self) -> None:
        """A context as long as trained starts anew from its newest half: no state holds more than was trained for."""
        length = self.limits.context_length
        if len(self._recent) < length:
            return
        self._recent = self._recent[len(self._recent) - length // 2 :]
        self._state = self.model.initial_state(len(self._token))
        for token in self._recent:
            _, self._state = self.model.step(token, self._state)

    def observe(self, transitions: Transitions) -> None:
        """Remembers the step as the first three parts of the next token."""
        rows = transitions.active
        written = self._token[rows]
        self.layout.write_previous(
            written,
            self.normalisation.observations(transitions.observations[rows]),
            transitions.actions[rows],
            self.normalisation.rewards(transitions.rewards[rows]),
        )
        self._token[rows] = written
        self._is_start = transitions.terminated | transitions.truncated
        if self._restarts is not None:
            self._restarts.add(transitions.rewards, rows, self._is_start)
        self._tokens_seen += rows
        self._spread.add(transitions.actions, rows, self._is_start)

    def diagnostics(self) -> dict[str, float]:
        """Tokens in the longest context, and how much the actions vary within first and last episodes."""
        first, last = self._spread.first_and_last()
        return {
            "tokens_seen": float(self._tokens_seen.max(initial=0)),
            "action_std_first_episode": first,
            "action_std_last_episode": last,
        }


@dataclass(frozen=True)
class ContextLimits:
    """What an agent must know of the training and of the environment to manage its context."""

    context_length: int  # steps in the longest training window
    horizon: int  # steps of a full episode


class _EpisodeSpread:
    """Standard deviation of the actions within an episode, averaged over components and tasks."""

    def __init__(self, num_tasks: int) -> None:
        self._actions: list[list[Array]] = [[] for _ in range(num_tasks)]
        self._first: list[float | None] = [None] * num_tasks
        self._last: list[float | None] = [None] * num_tasks

    def add(self, actions: FloatArray, active: Array, ended: Array) -> None:
        for row in np.flatnonzero(active):
            self._actions[row].append(actions[row].copy())
            if ended[row]:
                spread = float(np.std(self._actions[row], axis=0).mean())
                self._first[row] = spread if self._first[row] is None else self._first[row]
                self._last[row] = spread
                self._actions[row].clear()

    def first_and_last(self) -> tuple[float, float]:
        """Means over the tasks that finished an episode; 0 if none did."""
        finished = [(first, last) for first, last in zip(self._first, self._last, strict=True) if first is not None]
        if not finished:
            return 0.0, 0.0
        return float(np.mean([first for first, _ in finished])), float(np.mean([last for _, last in finished]))
