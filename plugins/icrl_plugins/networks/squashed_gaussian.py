"""A Gaussian squashed by tanh into (-1, 1): SAC's policy (Haarnoja et al., 2018, appendix C)."""

from __future__ import annotations

import math

import torch

#: Bounds of the logarithm of the standard deviation, and what keeps log(1 - a²) finite: those of stable-baselines3.
LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
EPSILON = 1e-6

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def squashed_sample(
    mean: torch.Tensor, log_std: torch.Tensor, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Actions a = tanh(mean + σ·noise), (…, A), and their log-densities, (…, 1) (equation 21).

    `log_std` is clamped to its bounds here; `noise` (…, A) is standard normal.
    """
    log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
    actions = torch.tanh(mean + log_std.exp() * noise)
    gaussian = (-0.5 * noise.square() - log_std - _HALF_LOG_2PI).sum(dim=-1, keepdim=True)
    return actions, gaussian - torch.log(1 - actions.square() + EPSILON).sum(dim=-1, keepdim=True)


def squashed_sample_gradients(
    actions: torch.Tensor,
    log_std: torch.Tensor,
    noise: torch.Tensor,
    action_gradients: torch.Tensor,
    log_prob_gradients: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The backward pass of `squashed_sample`: gradients of mean and (unclamped) `log_std`, (…, A) each.

    `log_prob_gradients` is (…, 1).
    """
    derivative = 1 - actions.square()  # da/du
    unsquashed = (action_gradients + log_prob_gradients * (2 * actions / (derivative + EPSILON))) * derivative  # dL/du
    within = (log_std >= LOG_STD_MIN) & (log_std <= LOG_STD_MAX)
    std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX).exp()
    return unsquashed, (unsquashed * std * noise - log_prob_gradients) * within
