"""The agent of Algorithm Distillation: all tasks in one batch, one model step per environment step, no gradient.

The context is never cleared between episodes: it is what the agent learns by. Token t is put together when its action
is asked for, from the step observed last and the observation at hand, which at an episode's start is the reset's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from icrl_plugins.methods.algorithm_distillation.config import AlgorithmDistillationConfig
from icrl_plugins.methods.algorithm_distillation.model import DistillationModel, mean_and_log_std
from icrl_plugins.methods.algorithm_distillation.tokens import token_size
from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.contracts import AdaptationSetting, Agent, Array, FloatArray, Transitions


class InContextAgent(Agent):
    """Acts by a trained model. Rows that have finished still pass through the batch; what they give is ignored."""

    def __init__(
        self,
        model: DistillationModel,
        normalisation: Normalisation,
        config: AlgorithmDistillationConfig,
        context_length: int,
        device: str,
    ) -> None:
        self.model = model
        self.normalisation = normalisation
        self.config = config
        self.context_length = context_length
        self.device = device

    def begin(self, setting: AdaptationSetting) -> None:
        """An empty context for every task."""
        self.model.eval()
        observation_size, action_size = self.model.part_sizes[0], self.model.part_sizes[1]
        size = token_size(observation_size, action_size, self.config.episode_start_flag)
        with torch.inference_mode():
            self._state: Any = self.model.initial_state(setting.num_tasks)
        self._token = np.zeros((setting.num_tasks, size), dtype=np.float32)  # (K, F), the next input
        self._is_start = np.ones(setting.num_tasks, dtype=np.bool_)
        self._recent: list[torch.Tensor] = []  # inputs since the last rebuild, kept only to rebuild from
        self._noise = np.random.default_rng(child_seed(setting.seed, 0))
        self._tokens_seen = np.zeros(setting.num_tasks, dtype=np.int64)
        self._spread = _EpisodeSpread(setting.num_tasks)

    @torch.inference_mode()
    def act(self, observations: FloatArray) -> FloatArray:
        """(K, O) → (K, A) in [-1, 1]; appends one token to every context."""
        observation_size, action_size = self.model.part_sizes[0], self.model.part_sizes[1]
        current = observation_size + action_size + 1
        self._token[:, current : current + observation_size] = self.normalisation.observations(observations)
        if self.config.episode_start_flag:
            self._token[:, -1] = self._is_start
        token = torch.from_numpy(self._token.copy()).to(self.device)
        if self.config.context_overflow == "rebuild":
            self._rebuild_when_full()
            self._recent.append(token)
        predicted, self._state = self.model.step(token, self._state)
        actions = self._draw(predicted.float().cpu())
        if self.config.execution_noise:
            noise = self._noise.standard_normal(actions.shape, dtype=np.float32)
            actions = actions + np.float32(self.config.execution_noise) * noise
        clipped: FloatArray = np.clip(actions, -1.0, 1.0)
        return clipped

    def _draw(self, predicted: torch.Tensor) -> FloatArray:
        """(K, A or 2A) → (K, A): the predicted actions, or a sample where the head gives their distribution."""
        if self.config.head != "gaussian":
            return predicted.numpy()
        mean, log_std = mean_and_log_std(predicted)
        noise = self._noise.standard_normal(mean.shape, dtype=np.float32)
        drawn: FloatArray = (mean + log_std.exp() * torch.from_numpy(noise)).numpy()
        return drawn

    def _rebuild_when_full(self) -> None:
        """A context as long as trained starts anew from its newest half: no state holds more than was trained for."""
        if len(self._recent) < self.context_length:
            return
        self._recent = self._recent[len(self._recent) - self.context_length // 2 :]
        self._state = self.model.initial_state(len(self._token))
        for token in self._recent:
            _, self._state = self.model.step(token, self._state)

    def observe(self, transitions: Transitions) -> None:
        """Remembers the step as the first three parts of the next token."""
        rows = transitions.active
        observation_size, action_size = self.model.part_sizes[0], self.model.part_sizes[1]
        action_end = observation_size + action_size
        self._token[rows, :observation_size] = self.normalisation.observations(transitions.observations[rows])
        self._token[rows, observation_size:action_end] = transitions.actions[rows]
        self._token[rows, action_end] = self.normalisation.rewards(transitions.rewards[rows])
        self._is_start = transitions.terminated | transitions.truncated
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
