"""Optimisation of a sequence model: AdamW's parameter groups and the learning-rate schedule.

Decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2) and a linear warm-up followed by a cosine (Loshchilov &
Hutter 2017, equation 5, without restarts).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import Field
from torch import nn

from icrl_registry.configuration import ComponentConfig

#: Modules whose parameters are scales, offsets or tables looked up by index: decay would pull them to a wrong default.
_UNDECAYED_MODULES = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.Embedding)


class OptimisationConfig(ComponentConfig):
    """The optimiser's hyper-parameters, under the same names in every method."""

    learning_rate: float = Field(3e-4, gt=0, description="Peak learning rate of AdamW.")
    warmup_fraction: float = Field(
        0.05, ge=0, lt=1, description="Share of the updates over which the rate rises linearly."
    )
    final_learning_rate_fraction: float = Field(
        0.0, ge=0, le=1, description="The cosine's floor, as a share of the peak."
    )
    weight_decay: float = Field(1e-4, ge=0, description="Decoupled weight decay; never on norms, biases and tables.")
    betas: tuple[float, float] = Field((0.9, 0.99), description="Decay rates of AdamW's two moment estimates.")
    gradient_clip: float | None = Field(1.0, gt=0, description="Largest norm of the whole gradient; none: no clipping.")


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters in two groups: those that decay and those that never do.

    Exempt are parameters of fewer than two axes (biases, norms, Mamba's D), those of norms and embeddings, position
    tables (by name), and whatever carries the attribute `_no_weight_decay` (Mamba's A_log).
    """
    decayed: list[nn.Parameter] = []
    exempt: list[nn.Parameter] = []
    seen: set[int] = set()
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            (exempt if _is_exempt(owner, name, parameter) else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": exempt, "weight_decay": 0.0},
    ]


def _is_exempt(owner: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    return (
        parameter.ndim < 2
        or isinstance(owner, _UNDECAYED_MODULES)
        or "position" in name
        or bool(getattr(parameter, "_no_weight_decay", False))
    )


def build_optimiser(module: nn.Module, config: OptimisationConfig) -> torch.optim.AdamW:
    """AdamW over `parameter_groups(module)`; the learning rate is set before each update by the caller."""
    groups = [group for group in parameter_groups(module, config.weight_decay) if group["params"]]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)


def learning_rate(update: int, num_updates: int, config: OptimisationConfig) -> float:
    """The rate of update `update` (from 0): linear to the peak, reached at the last warm-up update, then a cosine."""
    warmup = round(config.warmup_fraction * num_updates)
    if update < warmup:
        return config.learning_rate * (update + 1) / warmup
    progress = (update - warmup) / max(1, num_updates - warmup)  # in [0, 1)
    floor = config.final_learning_rate_fraction
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))
