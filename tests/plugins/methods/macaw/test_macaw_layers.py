"""Adaptable layers against the literal thing: autograd on every tensor of every task."""

import pytest
import torch
from torch.func import functional_call

from icrl_plugins.methods.macaw.layers import AdaptableLinear, PlainLinear, WeightTransformLinear

TASKS, ROWS, INPUTS, OUTPUTS, LATENT = 3, 7, 4, 5, 6


@pytest.fixture(params=["weight_transform", "plain"])
def layer(request) -> AdaptableLinear:
    torch.manual_seed(0)
    if request.param == "plain":
        made: AdaptableLinear = PlainLinear(INPUTS, OUTPUTS, 0.1)
    else:
        made = WeightTransformLinear(INPUTS, OUTPUTS, LATENT, 0.1)
    with torch.no_grad():  # rates that differ, and large enough to be seen
        made.rates.copy_(torch.linspace(-2.0, -1.0, len(made.rates)))
    return made.double()


def data():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(TASKS, ROWS, INPUTS, generator=generator, dtype=torch.float64)
    y = torch.randn(TASKS, ROWS, OUTPUTS, generator=generator, dtype=torch.float64)
    return x, y


def adapted_names(layer: AdaptableLinear) -> list[str]:
    if isinstance(layer, WeightTransformLinear):
        return ["latent", "generator", "generator_bias"]
    return ["weight", "bias"]


class OneTask(torch.nn.Module):
    """The layer for one task, so that `functional_call` can give it that task's own copy of every tensor."""

    def __init__(self, layer: AdaptableLinear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(self.layer.start(1).weights, x[None])[0]


def literal_steps(layer, x, y, num_steps: int):
    """Gradient steps on each tensor of one task."""
    rates = layer.positive_rates()
    tensors = {f"layer.{name}": getattr(layer, name) for name in adapted_names(layer)}
    for _ in range(num_steps):
        loss = (functional_call(OneTask(layer), tensors, (x,)) - y).square().mean()
        gradients = torch.autograd.grad(loss, list(tensors.values()), create_graph=True)
        tensors = {name: t - rate * g for (name, t), rate, g in zip(tensors.items(), rates, gradients, strict=True)}
    return tensors


def path_of_steps(layer, x, y, num_steps: int):
    """The layer after each of the steps."""
    adapted, path = layer.start(len(x)), []
    for _ in range(num_steps):
        losses = (layer(adapted.weights, x) - y).square().mean(dim=(1, 2))
        (gradient,) = torch.autograd.grad(losses.sum(), [adapted.weights], create_graph=True)
        adapted = layer.step(adapted, gradient)
        path.append(adapted)
    return path


def steps(layer, x, y, num_steps: int):
    return path_of_steps(layer, x, y, num_steps)[-1]


@pytest.mark.parametrize("num_steps", [1, 3])
def test_steps_equal_literal_steps_on_every_tensor_and_so_do_their_gradients(layer, num_steps: int) -> None:
    x, y = data()
    adapted = steps(layer, x, y, num_steps)
    outputs = layer(adapted.weights, x)
    literal = []
    for task in range(TASKS):
        tensors = literal_steps(layer, x[task], y[task], num_steps)
        literal.append(functional_call(OneTask(layer), tensors, (x[task],)))
    torch.testing.assert_close(outputs, torch.stack(literal), rtol=1e-10, atol=1e-12)

    parameters = list(layer.parameters())
    ours = torch.autograd.grad((outputs - y).square().sum(), parameters)
    theirs = torch.autograd.grad((torch.stack(literal) - y).square().sum(), parameters)
    for first, second in zip(ours, theirs, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("num_steps", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_target_follows_every_tensor_after_each_step(layer, share: float, num_steps: int) -> None:
    x, y = data()
    averaged = layer.towards(path_of_steps(layer, x, y, num_steps), share)
    for task in range(TASKS):
        target = {f"layer.{name}": getattr(layer, name) for name in adapted_names(layer)}
        for number in range(1, num_steps + 1):
            adapted = literal_steps(layer, x[task], y[task], number)
            target = {name: (1 - share) * target[name] + share * tensor for name, tensor in adapted.items()}
        expected = functional_call(OneTask(layer), target, (x[task],))
        torch.testing.assert_close(layer(averaged[task : task + 1], x[task : task + 1])[0], expected)


def test_an_inner_rate_of_zero_changes_nothing(layer) -> None:
    with torch.no_grad():
        layer.rates.fill_(-torch.inf)  # softplus(-inf) = 0
    x, y = data()
    adapted = steps(layer, x, y, 2)
    torch.testing.assert_close(adapted.weights, layer.start(TASKS).weights, rtol=0, atol=1e-15)


def test_a_plain_step_is_the_hand_written_one_on_a_quadratic() -> None:
    """y = x w with one input: w' = w − α (w − m) E[x²]·2 for targets m·x, in closed form."""
    layer = PlainLinear(1, 1, 0.1).double()
    with torch.no_grad():
        layer.weight.fill_(0.5)
        layer.bias.fill_(0.0)
        layer.rates.copy_(torch.tensor([0.3, 0.2], dtype=torch.float64).expm1().log())  # softplus⁻¹
    x = torch.tensor([[[-1.0], [1.0], [2.0], [-2.0]]], dtype=torch.float64)
    adapted = steps(layer, x, 2.0 * x, 1)
    slope = 0.5 - 0.3 * 2 * 2.5 * (0.5 - 2.0)  # E[x²] = 2.5, E[x] = 0: the bias stays
    torch.testing.assert_close(adapted.weights, torch.tensor([[slope, 0.0]], dtype=torch.float64))


def test_weights_start_as_published() -> None:
    torch.manual_seed(0)
    layer = WeightTransformLinear(100, 100, 100, 1e-3)
    assert sum(p.numel() for p in layer.parameters()) - 3 == 1_020_200
    weights = layer.start(1).weights
    assert weights.abs().max() < 0.15
    assert weights.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.05)  # U(±0.1), the latent is small
    torch.testing.assert_close(layer.positive_rates(), torch.full((3,), 9.995e-4), rtol=1e-5, atol=0)
