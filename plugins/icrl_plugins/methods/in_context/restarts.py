"""Contexts that begin anew: random episodes, an attempt in the context of each, and then the best of them for good.

A model of histories reads the task off whatever tells it, and in a history that is the learner's behaviour as much as its
rewards. An agent that acts by such a model takes its own actions for evidence of the task (Ortega et al. 2021, "Shaking the
foundations", arXiv 2110.10819, call it self-delusion). Where histories hold no episode as bad as the agent's own mistake, no
reward brings it back: its context is one that no window held.

Actions that nobody chose can't mislead: an episode of random ones is a context as the learner's own first episodes are, and
what DPT (Lee et al. 2023, section 3) calls a context from a random policy. It tells little, so several are tried. A round is
a random episode from an empty context, then an attempt by the model; after so many rounds every episode starts in the context,
one random episode, whose attempt returned most. All of it is the agent's own experience in the task, and counts as such.

Each task has a state of the model by itself, since tasks whose episodes end early begin anew at different steps, and not every
backbone can hold rows that stand at different places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from icrl_plugins.methods.in_context.model import InContextModel
from icrl_registry.contracts import BoolArray, FloatArray


@dataclass(frozen=True)
class RestartContext:
    """What a task's next decision depends on beside its observation."""

    state: Any  # of the model, nested tuples of tensors (1, …)
    token: FloatArray  # (F,), with the step before in its place

    def copy(self) -> RestartContext:
        """One that stays as it is: a backbone may write a state in place."""
        return RestartContext(_cloned(self.state), self.token.copy())


class Rounds:
    """One task: where it stands in its rounds, and the context of its best attempt so far."""

    def __init__(self, rounds: int, empty: RestartContext) -> None:
        self.rounds = rounds
        self.finished = 0  # episodes
        self._return, self._best_return = 0.0, -np.inf
        self._empty, self._opening, self._best = empty, empty, empty

    @property
    def is_committed(self) -> bool:
        """Whether the rounds are over."""
        return self.finished >= 2 * self.rounds

    @property
    def is_random(self) -> bool:
        """Whether the episode at hand is a random one."""
        return not self.is_committed and self.finished % 2 == 0

    def begin_episode(self, here: RestartContext) -> RestartContext:
        """The context to begin an episode in; `here` is what the episodes so far have led to."""
        if self.is_random:
            return self._empty.copy()
        if self.is_committed:
            return self._best.copy()
        self._opening = here.copy()
        return here

    def add(self, reward: float, ended: bool) -> None:
        """One step's reward, and whether it ended the episode."""
        self._return += reward
        if not ended:
            return
        is_attempt = not self.is_committed and not self.is_random
        if is_attempt and self._return > self._best_return:
            self._best_return, self._best = self._return, self._opening
        self._return = 0.0
        self.finished += 1


class Restarts:
    """K tasks, each in its rounds, with their states of one model."""

    def __init__(self, rounds: int, model: InContextModel, tokens: FloatArray) -> None:
        """`tokens` (K, F): those of an empty context."""
        self.model = model
        self._states: list[Any] = [model.initial_state(1) for _ in tokens]
        self._tasks = [
            Rounds(rounds, RestartContext(state, token).copy())
            for state, token in zip(self._states, tokens, strict=True)
        ]

    @property
    def is_random(self) -> BoolArray:
        """(K,), which tasks are in a random episode."""
        return np.array([task.is_random for task in self._tasks])

    def begin_episodes(self, starts: BoolArray, tokens: FloatArray) -> None:
        """Puts each task of which an episode `starts` (K,) into its context: its state, and in place its `tokens` (K, F)."""
        for row in map(int, np.flatnonzero(starts)):
            context = self._tasks[row].begin_episode(RestartContext(self._states[row], tokens[row]))
            self._states[row], tokens[row] = context.state, context.token

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """What the model says of every task's next decision: (K, F) → (K, …)."""
        said = []
        for row, state in enumerate(self._states):
            out, self._states[row] = self.model.step(tokens[row : row + 1], state)
            said.append(out)
        return torch.cat(said)

    def add(self, rewards: FloatArray, active: BoolArray, ended: BoolArray) -> None:
        """One step of the `active` tasks, (K,) each: what it paid, and whether it `ended` an episode."""
        for row in map(int, np.flatnonzero(active)):
            self._tasks[row].add(float(rewards[row]), bool(ended[row]))


def _cloned(state: Any) -> Any:
    """A copy of nested tuples of tensors; whatever is no tensor stays what it is."""
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, tuple | list):
        return type(state)(_cloned(part) for part in state)
    return state
