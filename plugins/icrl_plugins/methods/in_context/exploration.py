"""Noise on executed actions that an agent explores with, and that may end.

A squared error learns the mean of what it imitates. Where that mean is to stand still nothing is ever found out, and noise
that never ends is paid for in every episode: so it falls to nothing over the first episodes, as exploration within a trial
does in AMAGO (Grigsby et al. 2024). Held for several steps it moves a body instead of shaking it.
"""

from __future__ import annotations

import numpy as np

from icrl_plugins.methods.in_context.config import InContextConfig
from icrl_registry.contracts import Array, FloatArray


class ExecutionNoise:
    """Gaussian noise of one deviation for K tasks, each with a clock of its own."""

    def __init__(self, config: InContextConfig, horizon: int, generator: np.random.Generator) -> None:
        self.config = config
        self.horizon = horizon
        self._generator = generator
        self._held: FloatArray | None = None  # (K, A), the last draw
        self._age = 0  # calls since it was drawn

    def added_to(self, actions: FloatArray, steps: Array) -> FloatArray:
        """Actions (K, A) with noise, not clipped. `steps` (K,): steps that each task has taken."""
        deviation = self.config.execution_noise
        if not deviation:
            return actions
        if self._held is None or self._age >= self.config.execution_noise_hold:
            self._held, self._age = self._generator.standard_normal(actions.shape, dtype=np.float32), 0
        self._age += 1
        noisy: FloatArray = actions + self.deviations(steps) * self._held
        return noisy

    def deviations(self, steps: Array) -> FloatArray:
        """The deviation after so many steps (K,): (K, 1), falling linearly over `execution_noise_episodes` of full length."""
        lasting = self.config.execution_noise_episodes
        left = np.ones(len(steps)) if lasting is None else np.maximum(0.0, 1 - steps / (lasting * self.horizon))
        falling: FloatArray = np.float32(self.config.execution_noise) * left.astype(np.float32)[:, None]
        return falling
