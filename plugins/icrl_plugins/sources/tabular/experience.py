"""What can be known from all recorded steps of a task: the values of the MDP that they are a sample of.

Batch Q-learning on a fixed set of transitions, repeated until nothing changes, ends at the certainty-equivalence estimate: the
values that were optimal if the MDP were what was seen of it (Sutton & Barto, 2018, section 6.3). Several learners' experience
so gives one policy that is at least as good as theirs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from icrl_registry.contracts import Array

MOST_SWEEPS = 10_000
ACCURACY = 1e-6


class Experience(NamedTuple):
    """Steps of one task, (T,) each, with observations and actions by their numbers."""

    observations: NDArray[np.int64]
    actions: NDArray[np.int64]
    rewards: Array
    next_observations: NDArray[np.int64]
    terminated: NDArray[np.bool_]  # the MDP ended there


def values_of(experience: Experience, num_observations: int, num_actions: int, discount: float) -> Array:
    """The certainty-equivalence values, (N, A) float64. Where an action was never tried it has 1 less than the least of all."""
    size = num_observations * num_actions
    pairs = experience.observations * num_actions + experience.actions
    keys = (pairs * num_observations + experience.next_observations) * 2 + experience.terminated
    kinds, where, counts = np.unique(keys, return_inverse=True, return_counts=True)  # (M,) different transitions
    pair, following = kinds // 2 // num_observations, kinds // 2 % num_observations
    ended = np.asarray(kinds % 2 == 1)
    rewards = np.bincount(where, weights=experience.rewards) / counts  # (M,)
    weights = counts / np.bincount(pair, weights=counts, minlength=size)[pair]  # how often the pair led there
    tried = np.zeros(size, dtype=np.bool_)
    tried[pair] = True
    known = tried.reshape(num_observations, num_actions)
    somewhere: NDArray[np.bool_] = np.logical_or.reduce(known, axis=1)  # (N,), where anything was tried
    lives_on = ~ended & somewhere[following]
    values: Array = np.zeros((num_observations, num_actions))
    for _ in range(MOST_SWEEPS):
        best = np.where(known, values, -np.inf).max(axis=1)
        worth = np.where(lives_on, best[following], 0.0)
        updated = np.bincount(pair, weights=weights * (rewards + discount * worth), minlength=size)
        change = np.abs(updated - values.ravel()).max()
        values = updated.reshape(num_observations, num_actions)
        if change < ACCURACY:
            break
    return np.where(known, values, values[known].min() - 1.0)
