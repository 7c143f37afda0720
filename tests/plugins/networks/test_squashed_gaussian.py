"""The squashed Gaussian against stable-baselines3's distribution, and its density against numerical integration."""

from __future__ import annotations

import pytest
import torch
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution

from icrl_plugins.networks.squashed_gaussian import squashed_sample


def test_actions_and_densities_are_those_of_stable_baselines3():
    generator = torch.Generator().manual_seed(0)
    mean, log_std, noise = (torch.randn(50, 3, dtype=torch.float64, generator=generator) for _ in range(3))
    log_std = log_std.clamp(max=2.0)  # the distribution itself has no bounds, the actor applies them
    actions, log_prob = squashed_sample(mean, log_std, noise)
    theirs = SquashedDiagGaussianDistribution(3).proba_distribution(mean, log_std)
    unsquashed = mean + log_std.exp() * noise
    torch.testing.assert_close(actions, torch.tanh(unsquashed))
    torch.testing.assert_close(log_prob[:, 0], theirs.log_prob(actions, unsquashed), rtol=1e-12, atol=1e-12)


def test_the_density_integrates_to_one():
    noise = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]
    mean, log_std = torch.full_like(noise, 0.3), torch.full_like(noise, -0.5)
    actions, log_prob = squashed_sample(mean, log_std, noise)
    integral = torch.trapezoid(log_prob.exp()[:, 0], actions[:, 0])
    assert float(integral) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("log_std", "clamped"), [(5.0, 2.0), (-30.0, -20.0)])
def test_the_standard_deviation_is_clamped(log_std, clamped):
    mean, noise = torch.zeros(1, 1), torch.full((1, 1), 0.1)
    expected = squashed_sample(mean, torch.full((1, 1), clamped), noise)
    for mine, theirs in zip(squashed_sample(mean, torch.full((1, 1), log_std), noise), expected, strict=True):
        assert torch.equal(mine, theirs)
