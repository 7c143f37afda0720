"""MACAW's losses and its second-order outer gradient, against hand-written formulas and finite differences."""

import numpy as np
import pytest
import torch

from icrl_plugins.methods.macaw.config import MACAWConfig
from icrl_plugins.methods.macaw.meta_learning import MetaBatch, advantage_weights, log_probability
from icrl_plugins.methods.macaw.networks import weights_of


def outer_loss(learner, inner, outer) -> torch.Tensor:
    value_losses, policy_losses, _ = learner.outer_losses(inner, outer)
    return value_losses.mean() + policy_losses.mean()


def central_difference(function, tensor: torch.Tensor, index: tuple[int, ...], width: float = 1e-5) -> float:
    values = []
    original = float(tensor.data[index])
    for sign in (1, -1):
        tensor.data[index] = original + sign * width
        values.append(float(function().detach()))
    tensor.data[index] = original
    return (values[0] - values[1]) / (2 * width)


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_policy_gradients_equal_finite_differences(macaw, inner_steps: int) -> None:
    learner = macaw.learner(inner_steps=inner_steps)
    inner, outer = macaw.batch(seed=1), macaw.batch(seed=2)

    def loss():
        return learner.outer_losses(inner, outer)[1].mean()

    named = {"coefficient": learner.coefficient, **dict(learner.policy.named_parameters())}
    learned = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    gradients = torch.autograd.grad(loss(), list(learned.values()))
    for (name, parameter), gradient in zip(learned.items(), gradients, strict=True):
        index = tuple(size // 2 for size in parameter.shape)
        found = central_difference(loss, parameter, index)
        assert found == pytest.approx(float(gradient[index]), rel=1e-4, abs=1e-8), name
        if name.endswith(("coefficient", "rates", "latent")):
            assert found != 0, name


def test_value_gradients_equal_finite_differences_with_the_target_held(macaw, monkeypatch) -> None:
    """The bootstrap target carries no gradient, so it is held while a parameter is moved."""
    learner = macaw.learner()
    inner, outer = macaw.batch(seed=1), macaw.batch(seed=2)
    adapted = learner.adapt(inner)
    held = [weights.detach() for weights in learner.value.towards(adapted.value_steps, 0.1)]
    monkeypatch.setattr(learner.value, "towards", lambda steps, share: held)

    def loss():
        return learner.outer_losses(inner, outer)[0].mean()

    gradients = torch.autograd.grad(loss(), list(learner.value.parameters()))
    for (name, parameter), gradient in zip(learner.value.named_parameters(), gradients, strict=True):
        index = tuple(size // 2 for size in parameter.shape)
        found = central_difference(loss, parameter, index)
        assert found == pytest.approx(float(gradient[index]), rel=1e-4, abs=1e-9), name
        if name.endswith(("rates", "latent")):
            assert found != 0, name


def test_the_policys_outer_loss_does_not_reach_the_value_network(macaw) -> None:
    learner = macaw.learner()
    _, policy_losses, _ = learner.outer_losses(macaw.batch(seed=1), macaw.batch(seed=2))
    gradients = torch.autograd.grad(policy_losses.sum(), list(learner.value.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in gradients)


def test_tasks_of_a_meta_batch_give_the_mean_of_their_own_gradients(macaw) -> None:
    learner = macaw.learner()
    inner, outer = macaw.batch(seed=1), macaw.batch(seed=2)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    together = torch.autograd.grad(outer_loss(learner, inner, outer), parameters)
    single = [
        torch.autograd.grad(outer_loss(learner, macaw.one_task(inner, task), macaw.one_task(outer, task)), parameters)
        for task in range(3)
    ]
    for index, gradient in enumerate(together):
        mean = torch.stack([each[index] for each in single]).mean(dim=0)
        torch.testing.assert_close(gradient, mean, rtol=1e-9, atol=1e-12)


def test_zero_inner_rates_leave_both_networks_as_they_are(macaw) -> None:
    learner = macaw.learner()
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            if name.endswith("rates"):
                parameter.fill_(-torch.inf)
    adaptation = learner.adapt(macaw.batch())
    for network, adapted in ((learner.value, adaptation.value), (learner.policy, adaptation.policy)):
        for before, after in zip(weights_of(network.start(3)), weights_of(adapted), strict=True):
            torch.testing.assert_close(after, before, rtol=0, atol=1e-15)


def test_losses_equal_their_formulas(macaw) -> None:
    """Every loss once more in NumPy, from the networks' outputs."""
    learner = macaw.learner()
    config = learner.config
    inner, outer = macaw.batch(seed=1), macaw.batch(seed=2)
    value_losses, policy_losses, adaptation = learner.outer_losses(inner, outer)
    target = learner.value.towards(adaptation.value_steps, config.target_update)
    task = 1

    def numbers(tensor):
        return tensor.detach().numpy()[task]

    def value(weights, observations):
        return numbers(learner.value(weights, observations))

    start = weights_of(learner.value.start(3))
    expected = np.mean((value(start, inner.observations) - numbers(inner.returns)) ** 2)
    assert float(adaptation.value_losses[task]) == pytest.approx(expected)

    returns, discounts = numbers(outer.returns), numbers(outer.discounts_to_end)
    adapted = weights_of(adaptation.value)
    targets = returns + discounts * value(target, outer.last_observations)
    assert float(value_losses[task].detach()) == pytest.approx(
        np.mean((value(adapted, outer.observations) - targets) ** 2)
    )

    advantages = returns + discounts * value(adapted, outer.last_observations) - value(adapted, outer.observations)
    standardised = (advantages - advantages.mean()) / advantages.std(ddof=1)
    weights = np.exp(np.minimum(standardised, np.log(20.0)))
    means = numbers(learner.policy(weights_of(adaptation.policy), outer.observations))
    squares = ((numbers(outer.actions) - means) / 0.2) ** 2
    log_probabilities = (-0.5 * squares - np.log(0.2) - 0.5 * np.log(2 * np.pi)).sum(axis=-1)
    assert float(policy_losses[task].detach()) == pytest.approx(-np.mean(weights * log_probabilities))

    policy = weights_of(learner.policy.start(3))
    features = learner.policy.features(policy, inner.observations)
    estimates = numbers(learner.policy.advantages(policy, features, inner.actions))
    inner_advantages = learner.advantages(adapted, inner)
    regression = learner.policy_losses(policy, inner, inner_advantages)[task]
    coefficient = np.log1p(np.exp(-1.0))
    expected = float(regression.detach()) + coefficient * np.mean((estimates - numbers(inner_advantages)) ** 2)
    assert float(adaptation.policy_losses[task]) == pytest.approx(expected)


def test_two_inner_steps_are_each_networks_own_on_halves_of_the_batch(macaw) -> None:
    """The published loop literally, on plain layers: two value steps, the target after each, then two policy steps."""
    learner = macaw.learner(inner_steps=2, weight_transform=False)
    inner, outer = macaw.batch(rows=8, seed=1), macaw.batch(rows=8, seed=2)
    names = ("observations", "actions", "returns", "discounts_to_end", "last_observations")
    halves = [MetaBatch(*(getattr(inner, name)[:, rows] for name in names)) for rows in (slice(0, 4), slice(4, 8))]

    def descend(network, weights, losses):
        rates = [
            torch.cat([r.expand(n) for r, n in zip(layer.positive_rates(), sizes(layer), strict=True)])
            for layer in network.layers
        ]
        gradients = torch.autograd.grad(losses.sum(), weights, create_graph=True)
        return [w - rate * g for w, rate, g in zip(weights, rates, gradients, strict=True)]

    def sizes(layer):
        return layer.weight.numel(), layer.bias.numel()

    value = weights_of(learner.value.start(3))
    target = value
    for half in halves:
        value = descend(learner.value, value, (learner.value(value, half.observations) - half.returns).square().mean(1))
        target = [0.9 * old + 0.1 * new for old, new in zip(target, value, strict=True)]
    policy = weights_of(learner.policy.start(3))
    for half in halves:
        advantages = learner.advantages(value, half)
        policy = descend(learner.policy, policy, learner.inner_policy_losses(policy, half, advantages))

    value_losses, _, adaptation = learner.outer_losses(inner, outer)
    for found, expected in ((adaptation.value, value), (adaptation.policy, policy)):
        for first, second in zip(weights_of(found), expected, strict=True):
            torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-12)
    wanted = outer.returns + outer.discounts_to_end * learner.value(target, outer.last_observations)
    expected_losses = (learner.value(value, outer.observations) - wanted).square().mean(1)
    torch.testing.assert_close(value_losses, expected_losses, rtol=1e-9, atol=1e-12)


def test_inner_steps_need_two_transitions_each() -> None:
    with pytest.raises(ValueError, match="two transitions of its own"):
        MACAWConfig(inner_steps=3, inner_batch_size=5)


def test_log_probability_is_torchs() -> None:
    actions, means = torch.rand(2, 3, 4), torch.rand(2, 3, 4)
    expected = torch.distributions.Normal(means, 0.3).log_prob(actions).sum(-1)
    torch.testing.assert_close(log_probability(actions, means, 0.3), expected)


def test_weights_are_clipped_above_and_equal_advantages_weigh_one() -> None:
    config = MACAWConfig()
    torch.testing.assert_close(advantage_weights(torch.full((1, 5), -3.0), config), torch.ones(1, 5))
    outlier = torch.tensor([[100.0] + [0.0] * 99])
    assert advantage_weights(outlier, config).max().item() == pytest.approx(20.0)


def test_the_advantage_head_sees_negative_actions(macaw) -> None:
    learner = macaw.learner()
    weights = weights_of(learner.policy.start(1))
    features = torch.zeros(1, 1, 6, dtype=torch.float64)
    first, second = (
        learner.policy.advantages(weights, features, torch.full((1, 1, 2), action, dtype=torch.float64))
        for action in (-0.5, -0.9)
    )
    assert not torch.equal(first, second)


@pytest.mark.parametrize("settings", [{"advantage_head": False}, {"weight_transform": False}])
def test_ablations_train(macaw, settings) -> None:
    learner = macaw.learner(**settings)
    names = [name for name, p in learner.named_parameters() if p.requires_grad]
    assert ("coefficient" in names) == settings.get("advantage_head", True)
    assert any("latent" in name for name in names) == settings.get("weight_transform", True)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(outer_loss(learner, macaw.batch(seed=1), macaw.batch(seed=2)), parameters)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
