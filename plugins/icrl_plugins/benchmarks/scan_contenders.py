"""What the selective scan is measured beside: the formula step by step, mambapy's parallel scan, transformers' Mamba.

Every function prepares one pass and returns it as a call, so that it can also run in a process of its own. `mode` is
"forward" (no gradient) or "training" (forward and backward). Letters as in `kernels/selective_scan/kernel.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import torch

from icrl_plugins.kernels.selective_scan.operation import selective_scan
from icrl_plugins.kernels.selective_scan.reference import ScanInputs, ScanWeights, scan_reference

Tensor = torch.Tensor
Mode = Literal["forward", "training"]
Pass = Callable[[], object]
WARM_UP_STEPS = 8


class Shape(NamedTuple):
    """Sizes of a scan, and where it runs."""

    batch: int
    steps: int  # T
    channels: int  # E
    states: int  # N
    device: str = "cpu"


class Contender(NamedTuple):
    """A scan to compare with."""

    prepare: Callable[[Shape, Mode, int], Pass]
    module: str  # what must be importable, or empty
    install: str
    why_limited: str  # what makes it explode where `ScanConfig` gives it a limit


def fused(shape: Shape, mode: Mode, threads: int) -> Pass:
    """This package's kernel; on CUDA mamba-ssm's, by the same door."""
    return _scan_pass(_ungated(selective_scan), shape, mode, threads)


def sequential(shape: Shape, mode: Mode, threads: int) -> Pass:
    """The formula in a Python loop over time, differentiated by autograd: mamba-ssm's reference does the same."""
    return _scan_pass(_ungated(scan_reference), shape, mode, threads)


def _ungated(scan: Callable[[ScanInputs, ScanWeights], tuple[Tensor, Tensor]]) -> Callable[..., Tensor]:
    """Takes x, dt, A, B, C, D as mambapy's scan does."""
    return lambda x, dt, A, B, C, D: scan(ScanInputs(x, dt, B, C), ScanWeights(A, D))[0]


def mambapy_pscan(shape: Shape, mode: Mode, threads: int) -> Pass:
    """mambapy's scan around which everything B x T x E x N is laid out, as its Mamba block calls it."""
    from mambapy.pscan import pscan

    def scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
        step = torch.nn.functional.softplus(dt)
        decays = torch.exp(step[..., None] * A)  # (B, T, E, N)
        inputs = step[..., None] * B[:, :, None] * x[..., None]
        states = pscan(decays, inputs)
        outputs: Tensor = (states @ C[..., None])[..., 0] + D * x
        return outputs

    return _scan_pass(scan, shape, mode, threads)


def transformers_block(shape: Shape, mode: Mode, threads: int) -> Pass:
    """A whole block of transformers' Mamba on the path that needs no CUDA; E = 2 D."""
    from transformers import MambaConfig, MambaModel

    torch.set_num_threads(threads)
    config = MambaConfig(
        vocab_size=8, hidden_size=shape.channels // 2, state_size=shape.states, num_hidden_layers=1, use_cache=False
    )
    block: Any = MambaModel(config).layers[0].mixer.to(shape.device)
    return _block_pass(lambda tokens: block(tokens), block, shape, mode)


def fused_block(shape: Shape, mode: Mode, threads: int) -> Pass:
    """A whole block of this package's Mamba of the same sizes."""
    from icrl_plugins.backbones.mamba.block import MambaBlock

    torch.set_num_threads(threads)
    block = MambaBlock(shape.channels // 2, state_size=shape.states).to(shape.device)
    return _block_pass(lambda tokens: block(tokens)[0], block, shape, mode)


def whole_model(steps: int, model_size: int, layers: int, threads: int) -> Pass:
    """A Mamba's forward and backward pass over one context of `steps` tokens."""
    from icrl_plugins.backbones.mamba.stack import Mamba, MambaConfig

    torch.set_num_threads(threads)
    model = Mamba(MambaConfig(model_size=model_size, num_layers=layers), context_length=steps)
    tokens = torch.randn(1, steps, model_size, generator=torch.Generator().manual_seed(0))

    def once(count: int) -> None:
        model.zero_grad()
        model(tokens[:, :count]).square().mean().backward()

    once(WARM_UP_STEPS)
    return lambda: once(steps)


CONTENDERS: dict[str, Contender] = {
    "fused scan": Contender(fused, "", "", ""),
    "mambapy pscan": Contender(mambapy_pscan, "mambapy", "pip install mambapy", "it holds arrays of B x T x E x N"),
    "sequential formula": Contender(sequential, "", "", "its backward is quadratic in T"),
    "fused block": Contender(fused_block, "", "", ""),
    "transformers block": Contender(
        transformers_block, "transformers", "pip install transformers", "its backward is quadratic in T"
    ),
}


def is_installed(contender: Contender) -> bool:
    """Whether it can be imported."""
    return not contender.module or find_spec(contender.module) is not None


def prepare(name: str, shape: Shape, mode: Mode, threads: int) -> Pass:
    """The pass of the contender `name`; importable, so that a new process can begin with it."""
    return CONTENDERS[name].prepare(shape, mode, threads)


def prepare_warm(name: str, shape: Shape, mode: Mode, threads: int) -> Pass:
    """The same, after a few steps of it: what a first call imports and compiles is no part of the pass."""
    prepare(name, shape._replace(steps=WARM_UP_STEPS), mode, threads)()
    return prepare(name, shape, mode, threads)


def _scan_pass(scan: Callable[..., Tensor], shape: Shape, mode: Mode, threads: int) -> Pass:
    torch.set_num_threads(threads)
    given = _inputs(shape)
    if mode == "forward":

        def forward() -> None:
            with torch.inference_mode():
                scan(*given)

        return forward
    upstream = torch.ones(shape.batch, shape.steps, shape.channels, device=shape.device)
    leaves = [tensor.requires_grad_() for tensor in given]

    def training() -> None:
        for leaf in leaves:
            leaf.grad = None
        scan(*leaves).backward(upstream)

    return training


def _inputs(shape: Shape) -> list[Tensor]:
    """x, dt, A, B, C, D as a block in training gives them."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator).to(shape.device)

    batch, steps, channels, states, device = shape
    rates = -torch.arange(1, states + 1, dtype=torch.float32, device=device).repeat(channels, 1)
    rows = (batch, steps)
    return [
        drawn(*rows, channels), drawn(*rows, channels) - 4, rates, drawn(*rows, states), drawn(*rows, states),
        torch.ones(channels, device=device),
    ]  # fmt: skip


def _block_pass(run: Callable[[Tensor], Any], block: torch.nn.Module, shape: Shape, mode: Mode) -> Pass:
    sizes = (shape.batch, shape.steps, shape.channels // 2)
    tokens = torch.randn(sizes, generator=torch.Generator().manual_seed(0)).to(shape.device)
    if mode == "forward":

        def forward() -> None:
            with torch.inference_mode():
                run(tokens)

        return forward

    def training() -> None:
        block.zero_grad()
        run(tokens).square().mean().backward()

    return training
