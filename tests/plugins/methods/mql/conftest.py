"""What the tests of Meta-Q-Learning share: seeds, a made-up meta-training result, and the toy's loop."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from icrl_plugins.methods.mql import MQL
from icrl_plugins.methods.mql.adaptation import MetaTrained
from icrl_plugins.methods.mql.config import MQLConfig
from icrl_plugins.methods.mql.episodes import Episode, EpisodeTable
from icrl_plugins.methods.mql.networks import Networks
from icrl_registry.contracts import EnvironmentSpec, TrainingJob
from icrl_registry.testing.method_trials import MemoryStore
from icrl_registry.testing.toy import ToyPoint, ToyTrainingTasks

SPEC = EnvironmentSpec("plain", observation_size=3, action_size=2, horizon=8)
NUM_TASKS = 4


@pytest.fixture
def seed_sequence() -> np.random.SeedSequence:
    return np.random.SeedSequence(7)


def make_episode(generator: np.random.Generator, length: int, shift: float = 0.0) -> Episode:
    """Random rows; `shift` moves the rewards, which is what tells tasks apart."""
    rows = generator.uniform(-1, 1, (length + 2, 6)).astype(np.float32)
    rows[:, 2] += np.float32(shift)
    return Episode(rows, False)


def make_meta(**settings: object) -> MetaTrained:
    """Untrained networks and a replay of random episodes."""
    sizes = {"hidden_sizes": (16, 16), "context_size": 4, "history_length": 3, "batch_size": 8}
    config = MQLConfig(**{**sizes, "own_updates": 4, "replay_updates": 5, "replay_batch_multiple": 2, **settings})
    generator = np.random.default_rng(2)
    replay = EpisodeTable(1000, SPEC.action_size, 6)
    for number in range(20):
        replay.add(make_episode(generator, 8, number % NUM_TASKS), number % NUM_TASKS)
    networks = Networks.initial(SPEC, config, np.random.SeedSequence(1))
    return MetaTrained(networks, networks.copies(1), replay, NUM_TASKS, config)


def train_toy(environment: ToyPoint, tasks, seed: int = 0, store=None, validate=None, report=None, **settings: object):
    """Meta-trains on the toy's `tasks`; returns the method and its checkpoint."""
    method = MQL(MQLConfig(**settings))
    job = TrainingJob(
        spec=environment.spec,
        histories=[],
        tasks=ToyTrainingTasks(environment, tasks),
        seed=np.random.SeedSequence(seed),
        device="cpu",
        checkpoints=store or MemoryStore(),
        validate=validate or (lambda agent: {}),
        report=report or (lambda done, total, metrics: None),
    )
    return method, method.train(job)


@pytest.fixture(scope="session")
def mql():
    """The pieces above under one name."""
    return SimpleNamespace(spec=SPEC, episode=make_episode, meta=make_meta, train_toy=train_toy)
