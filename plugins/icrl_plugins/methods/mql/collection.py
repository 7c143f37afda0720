"""Episodes of meta-training, several training tasks stepped together."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from icrl_plugins.methods.mql.config import MQLConfig
from icrl_plugins.methods.mql.episodes import Episode, RunningEpisodes
from icrl_plugins.methods.mql.networks import Actor
from icrl_plugins.methods.mql.standardisation import Standardisation
from icrl_plugins.randomness.seeds import child_seed
from icrl_registry.contracts import Array, BatchedEnvironment, EnvironmentSpec, FloatArray
from icrl_registry.errors import NumericalError

_MOST_SEED = 2**31


class Collected(NamedTuple):
    """An episode of the training task in `row` of the batch."""

    row: int
    episode: Episode
    total_reward: float  # undiscounted, unscaled


class EpisodeCollector:
    """Plays one episode in each of some rows of a metered batch. What it does depends on the seed given and the actor alone."""

    def __init__(self, batch: BatchedEnvironment, spec: EnvironmentSpec, config: MQLConfig, device: str) -> None:
        self.batch = batch
        self.spec = spec
        self.config = config
        self.device = device
        self.standardisation: Standardisation | None = None

    def random(self, rows: Array, num_steps: int, seed: np.random.SeedSequence) -> list[Collected]:
        """Uniform actions; episodes are cut after `num_steps`."""
        generator = np.random.default_rng(child_seed(seed, 0))
        shape = (len(rows), self.spec.action_size)
        return self._play(rows, num_steps, seed, lambda *_: generator.uniform(-1, 1, shape).astype(np.float32))

    def noisy(self, rows: Array, actor: Actor, seed: np.random.SeedSequence) -> list[Collected]:
        """The actor (K = 1) with Gaussian noise; whole episodes."""
        generator = np.random.default_rng(child_seed(seed, 0))
        deviation = np.float32(self.config.exploration_noise)

        def act(observations: FloatArray, running: RunningEpisodes) -> FloatArray:
            windows = torch.from_numpy(running.windows()[0]).transpose(0, 1)[None].to(self.device)  # (1, T, R, F)
            with torch.no_grad():
                inputs = torch.from_numpy(running.observations(observations))[None].to(self.device)  # (1, R, O)
                actions = actor(inputs, actor.encode(windows))[0]
            noise = generator.standard_normal(actions.shape, dtype=np.float32)
            noisy: FloatArray = np.clip(actions.cpu().numpy() + deviation * noise, -1.0, 1.0)
            return noisy

        return self._play(rows, self.spec.horizon, seed, act)

    def _play(
        self,
        rows: Array,
        num_steps: int,
        seed: np.random.SeedSequence,
        act: Callable[[FloatArray, RunningEpisodes], FloatArray],
    ) -> list[Collected]:
        spec = self.spec
        starts = np.random.default_rng(child_seed(seed, 1))
        running = RunningEpisodes(len(rows), spec, self.config.history_length, self.standardisation)
        observations = np.zeros((self.batch.num_tasks, spec.observation_size), dtype=np.float32)
        for place, row in enumerate(rows):
            observations[row] = self.batch.reset(int(row), int(starts.integers(_MOST_SEED)))
            dummy = self.config.dummy_action(starts.standard_normal(spec.action_size))
            running.start(place, observations[row], dummy)
        active = np.zeros(self.batch.num_tasks, dtype=np.bool_)
        active[rows] = True
        actions = np.zeros((self.batch.num_tasks, spec.action_size), dtype=np.float32)
        totals, collected = np.zeros(len(rows)), []
        for time in range(1, num_steps + 1):
            actions[rows] = act(observations[rows], running)
            step = self.batch.step(actions, active)
            _require_finite(step.observations[active], step.rewards[active])
            for place, row in enumerate(rows):
                if not active[row]:
                    continue
                running.append(place, observations[row], actions[row], float(step.rewards[row]))
                totals[place] += step.rewards[row]
                if step.terminated[row] or step.truncated[row] or time == num_steps:
                    episode = running.finish(place, step.observations[row], bool(step.terminated[row]))
                    collected.append(Collected(int(row), episode, float(totals[place])))
                    active[row] = False
            if not active.any():
                break
            observations = step.observations.copy()
        return sorted(collected, key=lambda each: each.row)


def _require_finite(observations: FloatArray, rewards: FloatArray) -> None:
    if not (np.isfinite(observations).all() and np.isfinite(rewards).all()):
        raise NumericalError(
            "an observation or reward of a training task is not finite", "`icrl-bench plugins check` on the environment"
        )
