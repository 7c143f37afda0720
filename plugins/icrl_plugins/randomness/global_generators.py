"""The one place where this project touches the global random generators, and puts them back.

Stable-Baselines3 draws network weights, exploration noise and minibatches from the generators of torch, NumPy and
Python that are shared by the whole process, and offers no way to hand it others. So a source seeds them with
Stable-Baselines3's own `set_random_seed` before it trains on a task, and restores what it found afterwards: the result
depends on the task's seed alone, and nobody else notices that the task was trained.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from stable_baselines3.common.utils import set_random_seed

from icrl_plugins.randomness.seeds import integer_seeds


@contextmanager
def isolated_global_generators(seed_sequence: np.random.SeedSequence) -> Iterator[int]:
    """Seeds torch's, NumPy's and Python's global generators inside the block and restores their states after it.

    Yields the integer, below 2³¹, that they were seeded with. The `seed_sequence` itself is left as it was: the same
    one gives the same integer again.
    """
    seed = integer_seeds(seed_sequence, 1)[0]
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002 (Stable-Baselines3 draws from this one)
    # Asking for CUDA generators would start CUDA in every worker; where it doesn't run there is nothing to protect.
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            set_random_seed(seed)
            yield seed
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
