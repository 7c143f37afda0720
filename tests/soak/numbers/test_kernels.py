"""Every kernel of a sequence model against its formula in double precision, values and gradients.

Odd shapes, empty axes, denormals, huge numbers, infinities.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from icrl_plugins.kernels.attention.operation import causal_attention
from icrl_plugins.kernels.attention.reference import attention_reference
from icrl_plugins.kernels.causal_conv.operation import causal_conv_silu
from icrl_plugins.kernels.causal_conv.reference import conv_silu_reference
from icrl_plugins.kernels.rms_norm.operation import rms_norm
from icrl_plugins.kernels.rms_norm.reference import rms_norm_reference
from icrl_plugins.kernels.runtime.vectors import LANES
from icrl_plugins.kernels.selective_scan.operation import selective_scan
from icrl_plugins.kernels.selective_scan.reference import ScanInputs, ScanWeights, scan_reference

from ..ledger import Ledger, Size
from .attention_rounding import attention_rounding
from .comparison import LENGTHS, Case, Draw, compare
from .gate_rounding import gate_rounding

Tensor = torch.Tensor


def attention(draw: Draw, batch: int, length: int, width: int) -> Case:
    return Case(
        lambda *given: causal_attention(*given, 0.0),
        attention_reference,
        [draw(batch, 2, length, width) for _ in range(3)],
        parameters=0,
        rounding=attention_rounding,
    )


def scan(draw: Draw, batch: int, length: int, width: int) -> Case:
    x, dt, z = (draw(batch, length, width) for _ in range(3))
    B, C = draw(batch, length, 4), draw(batch, length, 4)

    def split(given: tuple[Tensor, ...]) -> tuple[ScanInputs, ScanWeights]:
        return ScanInputs(*given[:5]), ScanWeights(*given[5:])

    return Case(
        lambda *given: selective_scan(*split(given))[0],
        lambda *given: scan_reference(*split(given))[0],
        [x, dt, B, C, z, draw(width, 4, negative=True), draw(width), draw(width)],
        parameters=3,
    )


def scan_from_a_state(draw: Draw, batch: int, length: int, width: int) -> Case:
    """Outputs and the last state, from a state before the first step; without a gate."""
    sequence = [draw(batch, length, width), draw(batch, length, width), draw(batch, length, 4), draw(batch, length, 4)]
    weights = [draw(width, 4, negative=True), draw(width), draw(width)]

    def both(run: Callable[..., tuple[Tensor, Tensor]], given: tuple[Tensor, ...]) -> Tensor:
        outputs, state = run(ScanInputs(*given[:4], None), ScanWeights(*given[5:]), given[4])
        return torch.cat([outputs.flatten(1), state.flatten(1)], dim=1)

    return Case(
        lambda *given: both(selective_scan, given),
        lambda *given: both(scan_reference, given),
        [*sequence, draw(batch, width, 4), *weights],
        parameters=3,
    )


def convolution(draw: Draw, batch: int, length: int, width: int) -> Case:
    x, before, weight, bias = draw(batch, length, width), draw(batch, 3, width), draw(width, 1, 4), draw(width)
    return Case(
        lambda x, before, *given: causal_conv_silu(x, *given, before),
        lambda x, before, *given: conv_silu_reference(x, *given, before),
        [x, before, weight, bias],
        parameters=2,
        rounding=gate_rounding,
    )


def norm(draw: Draw, batch: int, length: int, width: int) -> Case:
    return Case(
        lambda *given: rms_norm(*given, 1e-5),
        lambda *given: rms_norm_reference(*given, 1e-5),
        [draw(batch, length, width), draw(width)],
        parameters=1,
    )


@pytest.mark.parametrize("make", [attention, scan, scan_from_a_state], ids=lambda make: make.__name__)
def test_as_the_formula(make: Callable[..., Case], size: Size, ledger: Ledger):
    compare(make.__name__, make, size, ledger)


def test_norm_as_the_formula(size: Size, ledger: Ledger):
    """The kernel takes whole vectors; other widths go to PyTorch's own."""
    compare("norm", norm, size, ledger, widths=(LANES, 2 * LANES, 3 * LANES, 5 * LANES, 17))


def test_convolution_as_the_formula(size: Size, ledger: Ledger):
    """PyTorch's convolution, which the formula is, has no empty time axis."""
    compare("convolution", convolution, size, ledger, lengths=LENGTHS[1:])
