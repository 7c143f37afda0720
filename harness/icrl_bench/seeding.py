"""One tree of seeds for a run: every consumer of randomness has its own branch, and no global generator is touched.

Data branches depend on the protocol's data seed, not on the run's seed: all seeds and all methods share one data set.
Adaptation branches depend on neither: every method meets the same reset noise on the same test task and episode.
"""

from __future__ import annotations

import numpy as np

from icrl_registry.contracts import SPLITS, Task

_COLLECT, _TRAIN, _ADAPT_AGENT, _ADAPT_RESET, _FLOOR, _VALIDATE, _MIXTURE, _CERTIFICATE = range(1, 9)


def collect_seed(data_seed: int, task: Task) -> np.random.SeedSequence:
    """The source's seed for one task."""
    return np.random.SeedSequence([data_seed, _COLLECT, SPLITS.index(task.split), task.index])


def train_seed(seed: int) -> np.random.SeedSequence:
    """The method's seed for meta-training."""
    return np.random.SeedSequence([seed, _TRAIN])


def agent_seed(seed: int) -> np.random.SeedSequence:
    """The agent's own randomness (exploration noise) while it adapts."""
    return np.random.SeedSequence([seed, _ADAPT_AGENT])


def reset_seed(data_seed: int, task: Task, episode: int) -> int:
    """The environment's reset seed for an episode of an evaluated task."""
    branch = [data_seed, _ADAPT_RESET, SPLITS.index(task.split), task.index, episode]
    return int(np.random.SeedSequence(branch).generate_state(1)[0])


def floor_seed(data_seed: int, task: Task) -> np.random.SeedSequence:
    """Actions and resets behind the random and zero-action floors of one task."""
    return np.random.SeedSequence([data_seed, _FLOOR, SPLITS.index(task.split), task.index])


def validation_agent_seed(seed: int) -> np.random.SeedSequence:
    """The agent's randomness while it is validated."""
    return np.random.SeedSequence([seed, _VALIDATE])


def mixture_seed(data_seed: int, index: int) -> np.random.SeedSequence:
    """The source's seed for its `index`-th learner on the mixture of training tasks."""
    return np.random.SeedSequence([data_seed, _MIXTURE, index])


def certificate_seed(data_seed: int) -> np.random.SeedSequence:
    """Resets and actions with which a certificate tells tasks apart."""
    return np.random.SeedSequence([data_seed, _CERTIFICATE])
