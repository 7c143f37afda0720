"""`icrl-bench bench attention`: the decision transformer's causal attention against the context, beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field

from icrl_plugins.kernels.attention.operation import attention_kernel, causal_attention
from icrl_registry.benchmarks import (
    Benchmark,
    BenchmarkReport,
    Measurement,
    ReportStep,
    finished_on,
    fit_growth,
    ratio,
    seconds_of,
    take_turns,
)
from icrl_registry.configuration import ComponentConfig

Tensor = torch.Tensor
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]

OURS, RIVAL = "fused attention", "PyTorch's attention"
FORWARD, TRAINING = "forward", "forward + backward"


def _by_torch(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(queries, keys, values, is_causal=True)


def _by_ours(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return causal_attention(queries, keys, values, dropout=0.0)


CONTENDERS: dict[str, Attention] = {OURS: _by_ours, RIVAL: _by_torch}


class AttentionConfig(ComponentConfig):
    """Sizes of the attention benchmark: by default the heads of the laptop protocol's decision transformer."""

    device: str = Field("cpu", description="cpu; or cuda, where both work in bfloat16, as flash-attn does.")
    threads: int = Field(2, ge=1, description="Threads of both.")
    repeats: int = Field(7, ge=1, description="Turns; medians and quartiles are over them.")
    batch: int = Field(1, ge=1, description="Sequences B.")
    heads: int = Field(4, ge=1, description="Heads N of a sequence.")
    head_size: int = Field(16, ge=1, description="Width D of a head.")
    lengths: tuple[int, ...] = Field((250, 1000, 3200, 8000, 16000), description="Contexts T.")
    seconds_per_turn: float = Field(0.2, ge=0, description="A turn repeats its pass until so much time has gone by.")


class AttentionBenchmark(Benchmark):
    """Time of a pass through causal attention, with and without its gradient."""

    Config: ClassVar[type[ComponentConfig]] = AttentionConfig
    quick: ClassVar[Mapping[str, Any]] = {"repeats": 3, "lengths": (250, 1000, 3200), "seconds_per_turn": 0.05}

    def __init__(self, config: ComponentConfig) -> None:
        assert isinstance(config, AttentionConfig)
        self.config = config

    def run(self, report: ReportStep) -> BenchmarkReport:
        """See `Benchmark.run`."""
        config = self.config
        sizes = f"B {config.batch}, {config.heads} heads of {config.head_size}, {config.threads} threads"
        found = BenchmarkReport(f"causal attention, {sizes}", "context T (tokens)")
        if config.device != "cpu":
            kernel = attention_kernel(torch.empty(0, dtype=torch.bfloat16, device=config.device), dropout=0.0)
            found.notes.append(f"{config.device}, bfloat16: {OURS} is {kernel}")
        steps = 2 * len(config.lengths)
        before = torch.get_num_threads()
        torch.set_num_threads(config.threads)
        try:
            for done, (length, quantity) in enumerate(product(config.lengths, (FORWARD, TRAINING))):
                report(done, steps, f"{quantity}, T = {length:,}")
                self._measure(length, quantity, found)
        finally:
            torch.set_num_threads(before)
        for name in CONTENDERS:
            points = [each for each in found.measurements if (each.subject, each.quantity) == (name, TRAINING)]
            if len(points) > 1:
                found.growths.append(fit_growth(points))
        report(steps, steps, "done")
        return found

    def _measure(self, length: int, quantity: str, found: BenchmarkReport) -> None:
        config = self.config
        passes = {name: self._pass(attention, length, quantity) for name, attention in CONTENDERS.items()}
        calls = {name: finished_on(config.device, once) for name, once in passes.items()}
        timed = {name: _milliseconds(call, config.seconds_per_turn) for name, call in calls.items()}
        turns = take_turns(timed, config.repeats)
        measured = {name: Measurement(name, quantity, "ms", values, length) for name, values in turns.items()}
        found.measurements.extend(measured.values())
        found.ratios.append(ratio(measured[OURS], measured[RIVAL], f"faster, {quantity}"))

    def _pass(self, attention: Attention, length: int, quantity: str) -> Callable[[], None]:
        config = self.config
        generator = torch.Generator().manual_seed(0)
        sizes = (config.batch, length, 3, config.heads, config.head_size)
        drawn = torch.randn(sizes, generator=generator)
        if config.device != "cpu":
            drawn = drawn.to(config.device, torch.bfloat16)
        given = drawn.permute(2, 0, 3, 1, 4).unbind()  # as the model lays them out
        if quantity == FORWARD:

            def forward() -> None:
                with torch.inference_mode():
                    attention(*given)

            return forward
        leaves = [tensor.requires_grad_() for tensor in given]
        upstream = torch.ones(leaves[0].shape, dtype=leaves[0].dtype, device=config.device)

        def training() -> None:
            for leaf in leaves:
                leaf.grad = None
            attention(*leaves).backward(upstream)

        return training


def _milliseconds(once: Callable[[], None], longer_than: float) -> Callable[[], float]:
    return lambda: 1e3 * seconds_of(once, longer_than)
