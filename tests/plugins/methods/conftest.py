"""Tasks with a known answer, histories of a scripted algorithm that improves, and a loop like the harness's.

Point reach: a point on a line starts at 0 and moves by 0.5·a; the reward is -|x - g| with a hidden g in ±[0.3, 1]. The
scripted algorithm sweeps the line at first and, as its episodes go by, moves more and more to where the goal is.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import (
    AdaptationSetting,
    EnvironmentSpec,
    LearningHistory,
    Task,
    TrainingJob,
    Transitions,
)

HORIZON = 10
SPEC = EnvironmentSpec("point-reach", observation_size=1, action_size=1, horizon=HORIZON)


class TinyGRU(nn.Module):
    """The smallest thing that satisfies the Backbone contract."""

    Config = ComponentConfig

    def __init__(self, model_size: int = 32, embedding_size: int = 8) -> None:
        super().__init__()
        self.model_size, self.embedding_size = model_size, embedding_size
        self.gru = nn.GRU(model_size, model_size, batch_first=True)

    def forward(self, tokens):
        return self.gru(tokens)[0]

    def initial_state(self, batch_size):
        return torch.zeros(1, batch_size, self.model_size, device=self.gru.weight_ih_l0.device)

    def step(self, token, state):
        output, state = self.gru(token[:, None], state)
        return output[:, 0], state


class MemoryStore:
    """Keeps the last saved progress, as copies."""

    def __init__(self) -> None:
        self.checkpoint = None
        self.saves = 0

    def load(self):
        return self.checkpoint

    def save(self, checkpoint) -> None:
        self.checkpoint = checkpoint
        self.saves += 1


def move(position, action):
    return np.clip(position + 0.5 * action, -2.0, 2.0)


def scripted_history(goal: float, episodes: int, generator: np.random.Generator, index: int = 0) -> LearningHistory:
    rows = []
    for episode in range(episodes):
        skill = min(1.0, 2 * episode / episodes)
        position = 0.1 * generator.standard_normal()
        for t in range(HORIZON):
            sweep = np.sin(2 * np.pi * (t + 0.5) / HORIZON)
            aim = np.clip(2 * (goal - position), -1, 1)
            action = np.clip((1 - skill) * sweep + skill * aim + 0.1 * generator.standard_normal(), -1, 1)
            successor = move(position, action)
            rows.append((position, action, -abs(successor - goal), successor, t == HORIZON - 1))
            position = successor
    columns = [np.array(column, dtype=np.float32)[None] for column in zip(*rows, strict=True)]
    observations, actions, rewards, next_observations, truncated = columns
    return LearningHistory(
        task=Task((goal,), "train", index),
        observations=observations[..., None],
        actions=actions[..., None],
        rewards=rewards,
        next_observations=next_observations[..., None],
        terminated=np.zeros(rewards.shape, dtype=np.bool_),
        truncated=truncated.astype(np.bool_),
    )


def aimless_history(goal: float, episodes: int, generator: np.random.Generator, index: int = 0) -> LearningHistory:
    """The same task played by uniform actions from first to last: only the rewards say where the goal is."""
    shape = (1, episodes * HORIZON, 1)
    actions = generator.uniform(-1, 1, shape).astype(np.float32)
    observations, following = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for t in range(shape[1]):
        observations[0, t] = following[0, t - 1] if t % HORIZON else 0.1 * generator.standard_normal()
        following[0, t] = move(observations[0, t], actions[0, t])
    return LearningHistory(
        task=Task((goal,), "train", index),
        observations=observations,
        actions=actions,
        rewards=-np.abs(following[..., 0] - np.float32(goal)),
        next_observations=following,
        terminated=np.zeros(shape[:2], dtype=np.bool_),
        truncated=np.arange(1, shape[1] + 1)[None] % HORIZON == 0,
    )


def coded_history(streams, observation_size: int = 2, action_size: int = 2, index: int = 0) -> LearningHistory:
    """A history whose numbers say where they stand: stream s of episodes with the lengths `streams[s]`.

    Observation (s, t) is [code, code, …] with code = 1000·(index + 1) + 100·s + t; the reward is code / 10 and the actions
    are drawn; the last of a stream's episodes ends by termination, the others by truncation. A negative last length is
    an incomplete episode of that many steps.
    """
    generator = np.random.default_rng(index)
    steps = max(sum(abs(length) for length in lengths) for lengths in streams)
    code = np.zeros((len(streams), steps), dtype=np.float32)
    terminated = np.zeros(code.shape, dtype=np.bool_)
    truncated = np.zeros(code.shape, dtype=np.bool_)
    for stream, lengths in enumerate(streams):
        code[stream] = 1000 * (index + 1) + 100 * stream + np.arange(steps)
        ends = np.cumsum([length for length in lengths if length > 0], dtype=np.int64) - 1
        truncated[stream, ends[:-1]] = True
        terminated[stream, ends[-1:]] = True
    observations = np.repeat(code[..., None], observation_size, axis=-1)
    actions = generator.uniform(-1, 1, (*code.shape, action_size)).astype(np.float32)
    return LearningHistory(
        Task((0.0,), "train", index), observations, actions, code / 10, observations + 0.5, terminated, truncated
    )


def draw_goals(count: int, generator: np.random.Generator):
    return generator.uniform(0.3, 1.0, count) * generator.choice([-1, 1], count)


def adapt(agent, goals, episodes: int, spoil_rewards=None, seed: int = 7):
    """In-context returns (K, E). `spoil_rewards` maps the rewards (K,) that the agent is shown."""
    goals = np.asarray(goals)
    generator = np.random.default_rng(seed)
    agent.begin(AdaptationSetting(len(goals), episodes, "online", np.random.SeedSequence(seed)))
    everyone = np.ones(len(goals), dtype=np.bool_)
    returns = np.zeros((len(goals), episodes))
    for episode in range(episodes):
        position = 0.1 * generator.standard_normal(len(goals))
        for t in range(HORIZON):
            observations = position[:, None].astype(np.float32)
            actions = np.clip(agent.act(observations), -1, 1)
            position = move(position, actions[:, 0])
            rewards = -np.abs(position - goals)
            returns[:, episode] += rewards
            shown = rewards if spoil_rewards is None else spoil_rewards(rewards)
            agent.observe(
                Transitions(
                    observations,
                    actions,
                    shown.astype(np.float32),
                    position[:, None].astype(np.float32),
                    ~everyone,
                    np.full(len(goals), t == HORIZON - 1),
                    everyone,
                )
            )
    return returns


def make_job(histories, store=None, seed: int = 0, validate=None, report=None, spec=SPEC) -> TrainingJob:
    return TrainingJob(
        spec=spec,
        histories=histories,
        tasks=None,
        seed=np.random.SeedSequence(seed),
        device="cpu",
        checkpoints=store or MemoryStore(),
        validate=validate or (lambda agent: {}),
        report=report or (lambda done, total, metrics: None),
    )


@pytest.fixture(scope="session")
def toy():
    """The pieces above under one name."""
    return SimpleNamespace(
        spec=SPEC,
        horizon=HORIZON,
        backbone=lambda context_length: TinyGRU(),
        TinyGRU=TinyGRU,
        MemoryStore=MemoryStore,
        history=scripted_history,
        aimless=aimless_history,
        coded_history=coded_history,
        goals=draw_goals,
        adapt=adapt,
        job=make_job,
    )
