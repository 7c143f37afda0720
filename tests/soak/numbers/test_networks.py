"""The kernels of stacked networks, dense and GRU, against their formulas in double precision, values and gradients.

Odd shapes, denormals, huge numbers, infinities; batches of no row.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from icrl_plugins.kernels.dense.reference import Layer, networks_reference
from icrl_plugins.kernels.gru.operation import last_state
from icrl_plugins.kernels.gru.reference import GRUWeights, last_state_reference
from icrl_plugins.networks.explicit_gradients import ExplicitGradients, Tape
from icrl_plugins.networks.stacked_layers import StackedLayerNorm, StackedLinear
from icrl_plugins.randomness.task_streams import TaskStreams

from ..ledgers.ledger import Ledger, Size
from .comparison import Case, Draw, compare

Tensor = torch.Tensor
KINDS = {"relu": (nn.ReLU, False), "tanh": (nn.Tanh, False), "normalised": (nn.ReLU, True)}
NETWORKS, INPUT_COPIES, OUTPUTS, EPSILON = 4, 2, 3, 1e-5


def gru(draw: Draw, batch: int, length: int, width: int) -> Case:
    """A batch of windows for two networks; the kernel has no gradient for the windows.

    Units that fill up a vector have weights of zero, and an infinity times zero spoils its own row, which is left out.
    """
    features, good = 3, slice(0, -1 if draw.breaks else None)
    shapes = [(2, features, 3 * width), (2, width, 3 * width), (2, 1, 3 * width), (2, 1, 3 * width)]
    return Case(
        lambda windows, *given: last_state(windows, GRUWeights(*given))[:, good],
        lambda windows, *given: last_state_reference(windows, GRUWeights(*given))[:, good],
        [draw(2, length, batch, features), *(draw(*shape) for shape in shapes)],
        parameters=4,
        fixed=1,
        unit=1.0,
    )


class Passes(torch.autograd.Function):
    """The kernels as an operation of PyTorch: `network` holds the parameters, and gets the gradients."""

    @staticmethod
    def forward(ctx: object, network: nn.Sequential, inputs: Tensor, *parameters: Tensor) -> Tensor:
        for own, given in zip(network.parameters(), parameters, strict=True):
            own.data = given.detach().clone()
        ctx.passes, ctx.tape, ctx.network = ExplicitGradients(network), Tape(), network  # type: ignore[attr-defined]
        return ctx.passes.forward(inputs, ctx.tape)  # type: ignore[attr-defined, no-any-return]

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        passes, tape, network = ctx.passes, ctx.tape, ctx.network  # type: ignore[attr-defined]
        by_inputs = passes.backward(tape, gradients[0].clone(), inputs=slice(0, None))
        of_networks = by_inputs.unflatten(0, (-1, INPUT_COPIES)).sum(dim=1)
        return None, of_networks, *(parameter.grad for parameter in network.parameters())


def dense(kind: str, draw: Draw, batch: int, length: int, width: int) -> Case:
    """`length` inputs, `width` hidden units, two networks for each row of inputs.

    A tanh comes from the logistic function and is exact to some last digits of one, not of itself. The slope of a ReLU at NaN
    may be 0 or 1, so such a row is left out.
    """
    good = slice(0, -1 if draw.broken == "nan" else None)
    activation, normalised = KINDS[kind]
    streams = TaskStreams([np.random.SeedSequence(index) for index in range(NETWORKS)])
    first, last = StackedLinear(streams, length, width), StackedLinear(streams, width, OUTPUTS)
    norm = [StackedLayerNorm(NETWORKS, width, EPSILON)] if normalised else []
    network = nn.Sequential(first, *norm, activation(), last)

    def formula(inputs: Tensor, *given: Tensor) -> Tensor:
        affine = (given[2], given[3], EPSILON) if normalised else None
        layers = [Layer(given[0], given[1], activation(), affine), Layer(given[-2], given[-1])]
        return networks_reference(inputs, layers)

    return Case(
        lambda *given: Passes.apply(network, *given)[:, good],
        lambda *given: formula(*given)[:, good],
        [draw(NETWORKS // INPUT_COPIES, batch, length), *(draw(*each.shape) for each in network.parameters())],
        parameters=len(list(network.parameters())),
        unit=1.0 if kind == "tanh" else 0.0,
    )


def test_gru_as_the_formula(size: Size, ledger: Ledger):
    compare("gru", gru, size, ledger, batches=(0, 1, 2, 31, 33))


@pytest.mark.parametrize("kind", KINDS)
def test_dense_as_the_formula(kind: str, size: Size, ledger: Ledger):
    compare(
        f"dense, {kind}",
        lambda draw, batch, length, width: dense(kind, draw, batch, length, width),
        size,
        ledger,
        lengths=(1, 2, 3, 7, 15, 16, 17, 33, 65, 130),
        batches=(0, 1, 2, 3, 9, 64),
    )
