"""Every kernel against its formula in double precision: odd shapes, empty axes, denormals, huge numbers, infinities.

A kernel may be off by a few times what the formula itself is off in single precision, and has to be finite wherever that is;
what an infinity or NaN makes of one row may not reach a row that doesn't depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icrl_plugins.kernels.attention.operation import causal_attention
from icrl_plugins.kernels.attention.reference import attention_reference
from icrl_plugins.kernels.causal_conv.operation import causal_conv_silu
from icrl_plugins.kernels.causal_conv.reference import conv_silu_reference
from icrl_plugins.kernels.rms_norm.operation import rms_norm
from icrl_plugins.kernels.rms_norm.reference import rms_norm_reference
from icrl_plugins.kernels.selective_scan.operation import selective_scan
from icrl_plugins.kernels.selective_scan.reference import ScanInputs, ScanWeights, scan_reference

from .ledger import Ledger, Size

Tensor = torch.Tensor
SCALES = {"usual": 1.0, "tiny": 1e-3, "denormal": 1e-39, "large": 30.0, "zero": 0.0}
LENGTHS = st.sampled_from([0, 1, 2, 3, 7, 15, 16, 17, 33, 65, 130])
WIDTHS = st.sampled_from([1, 2, 3, 4, 7, 8, 9, 16, 17, 32, 33])


class Draw:
    """Tensors of one scale; `broken` puts an infinity or NaN into the last step of the first."""

    def __init__(self, seed: int, scale: str, broken: str | None) -> None:
        self.generator, self.scale, self.broken = np.random.default_rng(seed), SCALES[scale], broken

    def __call__(self, *shape: int, negative: bool = False) -> Tensor:
        values = self.generator.normal(size=shape) * self.scale
        if self.broken and values.size and len(shape) > 2:
            values[..., -1, 0] = {"inf": np.inf, "-inf": -np.inf, "nan": np.nan}[self.broken]
            self.broken = None
        return torch.as_tensor(-np.abs(values) if negative else values, dtype=torch.float32)


def attention(
    draw: Draw, batch: int, length: int, width: int
) -> tuple[Callable[..., Any], Callable[..., Any], list[Tensor]]:
    tensors = [draw(batch, 2, length, width) for _ in range(3)]
    return lambda *given: causal_attention(*given, 0.0), attention_reference, tensors


def scan(
    draw: Draw, batch: int, length: int, width: int
) -> tuple[Callable[..., Any], Callable[..., Any], list[Tensor]]:
    x, dt, z = (draw(batch, length, width) for _ in range(3))
    B, C = draw(batch, length, 4), draw(batch, length, 4)
    tensors = [x, dt, B, C, z, draw(width, 4, negative=True), draw(width), draw(width)]

    def split(given: tuple[Tensor, ...]) -> tuple[ScanInputs, ScanWeights]:
        return ScanInputs(*given[:5]), ScanWeights(*given[5:])

    return lambda *given: selective_scan(*split(given))[0], lambda *given: scan_reference(*split(given))[0], tensors


def convolution(
    draw: Draw, batch: int, length: int, width: int
) -> tuple[Callable[..., Any], Callable[..., Any], list[Tensor]]:
    return causal_conv_silu, conv_silu_reference, [draw(batch, length, width), draw(width, 1, 4), draw(width)]


def norm(
    draw: Draw, batch: int, length: int, width: int
) -> tuple[Callable[..., Any], Callable[..., Any], list[Tensor]]:
    tensors = [draw(batch, length, width), draw(width)]
    return lambda *given: rms_norm(*given, 1e-5), lambda *given: rms_norm_reference(*given, 1e-5), tensors


def problem(ours: Tensor, single: Tensor, double: Tensor) -> str | None:
    """How a kernel's result differs from the formula's more than the formula in single precision does."""
    if ours.shape != double.shape:
        return f"shape {tuple(ours.shape)}, not {tuple(double.shape)}"
    good = torch.isfinite(single) & torch.isfinite(double)
    if not torch.isfinite(ours[good]).all():
        return "not finite where the formula is"
    if not good.any():
        return None
    scale = double[good].abs().max().item()
    allowed = 8 * (single[good] - double[good]).abs().max().item() + 64 * 2**-24 * scale + 1e-37
    found = (ours[good] - double[good]).abs().max().item()
    return None if found <= allowed else f"off by {found:.3g}, allowed {allowed:.3g}"


@pytest.mark.parametrize("make", [attention, scan, convolution, norm], ids=lambda make: make.__name__)
def test_as_the_formula(make: Callable[..., Any], size: Size, ledger: Ledger):
    @settings(
        max_examples=size.pick(40, 200, 5000), deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(
        seed=st.integers(0, 2**31), batch=st.integers(0, 3), length=LENGTHS, width=WIDTHS,
        scale=st.sampled_from(list(SCALES)), broken=st.sampled_from([None, None, None, "inf", "-inf", "nan"]),
    )  # fmt: skip
    def compare(seed: int, batch: int, length: int, width: int, scale: str, broken: str | None) -> None:
        what = f"{make.__name__}, seed {seed}, {batch} x {length} x {width}, {scale}, {broken}"
        if make is convolution:
            length = max(length, 1)  # PyTorch's convolution, which the formula is, has no empty time axis
        kernel, formula, tensors = make(Draw(seed, scale, broken), batch, length, width)
        try:
            single, double = formula(*tensors), formula(*(tensor.double() for tensor in tensors))
            ours = kernel(*(tensor.clone().requires_grad_() for tensor in tensors)).detach()
        except Exception as error:
            ledger.note(what, f"{type(error).__name__}: {error}")
            return
        ledger.note(what, problem(ours.double(), single.double(), double))

    compare()
    ledger.settle()
