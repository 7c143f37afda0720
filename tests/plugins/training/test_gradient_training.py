"""Updates that stop anywhere and continue to the same bytes, and refuse what is not finite."""

import numpy as np
import pytest
import torch
from torch import nn

from icrl_plugins.randomness.torch_generators import default_generator, torch_generator
from icrl_plugins.training.gradient_training import GradientTraining, prefetched
from icrl_plugins.training.optimisation import OptimisationConfig
from icrl_registry.errors import NumericalError

INPUTS = torch.linspace(-1, 1, 12).reshape(4, 3)


def make_training(**settings) -> GradientTraining:
    with default_generator(torch_generator(np.random.SeedSequence(1))):
        module = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    config = OptimisationConfig(learning_rate=0.05, **settings)
    return GradientTraining(module, config, num_updates=10, seed=np.random.SeedSequence(2))


def run(training: GradientTraining, until: int) -> None:
    while training.update < until:
        training.step(lambda: training.module(INPUTS).square().mean())


def parameters(training: GradientTraining) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1).clone() for p in training.module.parameters()])


def test_resuming_ends_with_the_same_bytes() -> None:
    straight = make_training()
    run(straight, 10)
    stopped = make_training()
    run(stopped, 4)
    kept, update = stopped.tensors(), stopped.update
    run(stopped, 7)  # work that is lost
    resumed = make_training()
    torch.rand(17)  # whatever else the process did
    resumed.resume(kept, update)
    assert resumed.update == 4
    run(resumed, 10)
    assert torch.equal(parameters(straight), parameters(resumed))


def test_dropout_draws_from_the_trainings_own_stream() -> None:
    first, second = make_training(), make_training()
    before = torch.get_rng_state()
    run(first, 3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    run(second, 3)
    assert torch.equal(parameters(first), parameters(second))


def test_a_loss_or_gradient_that_is_not_finite_stops_before_it_does_harm() -> None:
    training = make_training()
    run(training, 2)
    before = parameters(training)
    with pytest.raises(NumericalError, match="loss is nan at update 3 of 10"):
        training.step(lambda: training.module(INPUTS).sum() * float("nan"))
    with pytest.raises(NumericalError, match="gradient's norm"):
        training.step(lambda: (training.module(INPUTS) * 0).abs().sqrt().sum())  # sqrt(0): finite value, no gradient
    assert torch.equal(parameters(training), before)


def test_the_gradient_is_clipped_as_a_whole() -> None:
    training = make_training(gradient_clip=1e-3)
    training.step(lambda: 1e6 * training.module(INPUTS).square().mean())
    norm = torch.sqrt(sum(p.grad.square().sum() for p in training.module.parameters()))
    assert float(norm) == pytest.approx(1e-3, rel=1e-4)


def test_batches_come_in_order_and_an_error_reaches_the_caller() -> None:
    assert list(prefetched(lambda number: number**2, 3, 7)) == [9, 16, 25, 36]
    assert list(prefetched(lambda number: number, 5, 5)) == []

    def broken(number: int) -> int:
        if number == 2:
            raise ValueError("batch 2")
        return number

    batches = prefetched(broken, 0, 4)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(ValueError, match="batch 2"):
        next(batches)


def test_an_optimiser_of_ones_own_has_a_factor_on_the_rate_of_each_group() -> None:
    module = torch.nn.Linear(1, 1, bias=True)
    groups = [{"params": [module.weight], "rate_factor": 0.1}, {"params": [module.bias]}]
    config = OptimisationConfig(learning_rate=1e-2, warmup_fraction=0.0, weight_decay=0.0)
    optimiser = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.0)
    training = GradientTraining(module, config, 5, np.random.SeedSequence(0), optimiser)
    before = module.weight.item(), module.bias.item()
    training.step(lambda: module(torch.ones(1, 1)).sum())  # Adam's first step is the rate itself
    assert before[0] - module.weight.item() == pytest.approx(1e-3, rel=1e-3)
    assert before[1] - module.bias.item() == pytest.approx(1e-2, rel=1e-3)
