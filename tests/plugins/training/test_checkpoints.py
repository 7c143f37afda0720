"""What goes into a checkpoint comes back bit for bit; what does not fit is named."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from icrl_plugins.training.checkpoints import (
    generator_tensors,
    load_generators,
    load_module,
    load_numpy_generator,
    load_optimiser,
    module_tensors,
    numpy_generator_state,
    optimiser_tensors,
)
from icrl_registry.errors import DamagedArtefactError


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("table", torch.arange(4.0))
        self.register_buffer("scratch", torch.zeros(9), persistent=False)


def trained() -> tuple[Model, torch.optim.AdamW]:
    model = Model()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model.linear(torch.ones(1, 3)).square().sum().backward()
        optimiser.step()
    return model, optimiser


def test_parameters_and_buffers_come_back_and_only_parameters_are_called_model() -> None:
    model, _ = trained()
    tensors = module_tensors(model)
    assert set(tensors) == {"model.linear.weight", "model.linear.bias", "buffers.table"}
    other = Model()
    load_module(other, tensors)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_arrays_are_copies() -> None:
    model, _ = trained()
    tensors = module_tensors(model)
    before = tensors["model.linear.weight"].copy()
    with torch.no_grad():
        model.linear.weight.add_(1)
    assert np.array_equal(tensors["model.linear.weight"], before)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda t: t.pop("model.linear.bias"), "lacks 'model.linear.bias'"),
        (lambda t: t.pop("buffers.table"), "lacks 'buffers.table'"),
        (lambda t: t.update({"model.extra": np.zeros(1)}), "'model.extra'"),
        (
            lambda t: t.update({"model.linear.bias": np.zeros(3, np.float32)}),
            r"'model.linear.bias' has the shape \(3,\)",
        ),
        (lambda t: t.update({"model.linear.bias": np.zeros(2)}), "'model.linear.bias' is torch.float64"),
    ],
)
def test_what_does_not_fit_is_named(damage, said: str) -> None:
    tensors = module_tensors(Model())
    damage(tensors)
    with pytest.raises(DamagedArtefactError, match=said):
        load_module(Model(), tensors)


def test_the_optimiser_continues_as_if_never_stopped() -> None:
    model, optimiser = trained()
    copy = Model()
    load_module(copy, module_tensors(model))
    copied = torch.optim.AdamW(copy.parameters(), lr=0.1)
    load_optimiser(copied, copy, optimiser_tensors(optimiser, model))
    for m, o in ((model, optimiser), (copy, copied)):
        o.zero_grad()
        m.linear(torch.ones(1, 3)).square().sum().backward()
        o.step()
    assert torch.equal(model.linear.weight, copy.linear.weight)
    fresh = Model()
    load_module(fresh, module_tensors(trained()[0]))
    assert not optimiser_tensors(torch.optim.AdamW(fresh.parameters()), fresh)


def test_a_lost_or_wrong_moment_is_named() -> None:
    model, optimiser = trained()
    tensors = optimiser_tensors(optimiser, model)
    lost = {name: t for name, t in tensors.items() if "linear.bias" not in name}
    with pytest.raises(DamagedArtefactError, match=r"linear\.bias"):
        load_optimiser(optimiser, model, lost)
    with pytest.raises(DamagedArtefactError, match=r"optimiser.linear.bias.exp_avg"):
        load_optimiser(optimiser, model, {**tensors, "optimiser.linear.bias.exp_avg": np.zeros(5, np.float32)})


def test_generators_come_back_and_their_state_is_json() -> None:
    generators = {"dropout": torch.Generator(), "noise": torch.Generator()}
    generators["noise"].manual_seed(4)
    tensors = generator_tensors(generators)
    drawn = [torch.rand(3, generator=g) for g in generators.values()]
    load_generators(generators, tensors)
    assert all(torch.equal(a, torch.rand(3, generator=g)) for a, g in zip(drawn, generators.values(), strict=True))
    with pytest.raises(DamagedArtefactError, match=r"generators\.other"):
        load_generators({"other": torch.Generator()}, tensors)

    generator = np.random.default_rng(1)
    state = json.loads(json.dumps(numpy_generator_state(generator)))
    numbers = generator.random(3)
    load_numpy_generator(generator, state)
    assert np.array_equal(generator.random(3), numbers)
