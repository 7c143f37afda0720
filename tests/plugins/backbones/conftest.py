"""Small backbones of every kind, with weights from a fixed seed that leaves torch's global generator as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from icrl_plugins.backbones.decision_transformer import DecisionTransformer, TransformerConfig
from icrl_plugins.backbones.mamba import Mamba, MambaConfig
from icrl_plugins.backbones.recurrent import GRU, LSTM, RecurrentConfig

_TRANSFORMER: dict[str, Any] = {"model_size": 16, "num_layers": 2, "feedforward_size": 40}


def build(name: str, context_length: int = 300) -> torch.nn.Module:
    """A backbone with D = 16; weights are set by `randomise`."""
    if name.startswith("mamba"):
        kernel = "reference" if name.endswith("reference") else "auto"
        return Mamba(MambaConfig(model_size=16, num_layers=2, kernel=kernel), context_length=context_length)
    if name.startswith("dt"):
        positions = "learned" if name.endswith("learned") else "sinusoidal"
        config = TransformerConfig(**_TRANSFORMER, positions=positions)
        return DecisionTransformer(config, context_length=context_length)
    kinds = {"gru": GRU, "lstm": LSTM}
    return kinds[name](RecurrentConfig(model_size=16, num_layers=2), context_length=context_length)


def randomise(module: torch.nn.Module, seed: int = 0, scale: float = 0.3) -> None:
    """Adds noise to every parameter, so that nothing that starts at zero or one hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


@pytest.fixture
def make_backbone() -> Callable[..., torch.nn.Module]:
    """`make_backbone(name, context_length=300)`: a small backbone in float32 with random weights everywhere."""

    def make(name: str, context_length: int = 300) -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(1)
            backbone = build(name, context_length)
        randomise(backbone)
        return backbone.eval()

    return make
