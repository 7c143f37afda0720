"""How likely a transition of meta-training is in a new task: weights from an L2-regularised logistic regression.

Meta-Q-Learning (Fakoor et al. 2020), section 3.2: with odds P(new | x) / P(old | x) of a classifier that tells the agent's
own transitions from those of meta-training, β(x) is the ratio of the two densities (times that of their numbers), and the
normalised effective sample size (Σβ)² / (n Σβ²) says how much the new task resembles the old ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from icrl_registry.contracts import Array
from icrl_registry.errors import NumericalError

_MOST_STEPS = 100
_TOLERANCE = 1e-9  # on the largest entry of the gradient divided by C·N


class LogisticRegression(NamedTuple):
    """Log-odds of the first class: coefficients · x + intercept."""

    coefficients: Array  # (Z,)
    intercept: float

    def log_odds(self, features: Array) -> Array:
        """(N, Z) → (N,) float64."""
        odds: Array = np.asarray(features, dtype=np.float64) @ self.coefficients + self.intercept
        return odds


def fit_logistic_regression(features: Array, labels: Array, inverse_regularisation: float) -> LogisticRegression:
    """Minimises ½‖w‖² + C Σ log(1 + exp(−(2y − 1)(w·x + b))) over w and b by Newton's method; b is not penalised.

    The objective is convex and smooth, so halving a step that does not lower it is all the care it takes.

    Args:
        features: (N, Z).
        labels: (N,), true for the class whose log-odds are given; both classes occur.
        inverse_regularisation: C.

    Raises:
        NumericalError: features that are not finite.
    """
    inputs = np.column_stack([np.asarray(features, dtype=np.float64), np.ones(len(features))])  # (N, Z + 1)
    if not np.isfinite(inputs).all():
        raise NumericalError("a feature of the propensity model is not finite", "lower the learning rate")
    signs = np.where(labels, 1.0, -1.0)
    penalty = np.append(np.ones(inputs.shape[1] - 1), 0.0)
    weights = np.zeros(inputs.shape[1])

    def objective(candidate: Array) -> float:
        losses = np.logaddexp(0.0, -signs * (inputs @ candidate))
        return float(0.5 * (penalty * candidate**2).sum() + inverse_regularisation * losses.sum())

    value = objective(weights)
    for _ in range(_MOST_STEPS):
        wrong = 1.0 / (1.0 + np.exp(np.clip(signs * (inputs @ weights), -500, 500)))  # P(the other label)
        gradient = penalty * weights - inverse_regularisation * (inputs.T @ (signs * wrong))
        if np.abs(gradient).max() <= _TOLERANCE * inverse_regularisation * len(inputs):
            break
        curvature = inverse_regularisation * wrong * (1 - wrong)
        hessian = np.diag(penalty) + (inputs * curvature[:, None]).T @ inputs
        hessian[-1, -1] += 1e-12  # saturated odds leave the intercept without curvature
        step = np.linalg.solve(hessian, gradient)
        length = 1.0
        while (lower := objective(weights - length * step)) > value and length > 1e-8:
            length /= 2
        weights, value = weights - length * step, lower
    return LogisticRegression(weights[:-1], float(weights[-1]))


def importance_weights(log_odds_of_old: Array, clip: float, floor: float) -> Array:
    """β = exp(−max(f, −clip)) for log-odds f of the meta-training class; at most e^clip, and 0 below `floor`."""
    weights = np.exp(-np.maximum(log_odds_of_old, -clip))
    return np.where(weights < floor, 0.0, weights)


def effective_sample_size(weights: Array) -> Array:
    """(Σβ)² / (n Σβ²) along the last axis, in (0, 1]; NaN where every weight is 0."""
    weights = np.asarray(weights, dtype=np.float64)
    squares = (weights**2).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        size: Array = weights.sum(axis=-1) ** 2 / (weights.shape[-1] * np.where(squares > 0, squares, np.nan))
    return size
