"""The `gru` and `lstm` backbones: PyTorch's recurrent networks behind the backbone contract.

They are the smallest useful backbones, and show what one takes: a config, `forward`, `initial_state`, `step`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from icrl_registry.configuration import ComponentConfig

Tensor = torch.Tensor
#: Hidden states (B, L, D), and for the LSTM the cell states (B, L, D).
RecurrentState = tuple[Tensor, ...]


class RecurrentConfig(ComponentConfig):
    """Hyper-parameters of the `gru` and `lstm` backbones."""

    model_size: int = Field(128, ge=1, description="Width D of tokens, hidden states and features.")
    num_layers: int = Field(2, ge=1, description="Recurrent layers, stacked.")
    embedding_size: int = Field(32, ge=1, description="Width to which each part of a token is embedded.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout between layers.")


class _Recurrent(nn.Module):
    """What GRU and LSTM share. There is no window: `step` works past `context_length`."""

    Config: ClassVar[type[ComponentConfig]] = RecurrentConfig
    cell: ClassVar[type[nn.GRU | nn.LSTM]]
    states: ClassVar[int]

    def __init__(self, config: ComponentConfig, *, context_length: int) -> None:
        super().__init__()
        assert isinstance(config, RecurrentConfig)
        self.config, self.context_length = config, context_length
        self.model_size, self.embedding_size = config.model_size, config.embedding_size
        dropout = config.dropout if config.num_layers > 1 else 0.0
        self.rnn = self.cell(config.model_size, config.model_size, config.num_layers, batch_first=True, dropout=dropout)
        for name, parameter in self.rnn.named_parameters():
            if name.startswith("bias"):
                parameter._no_weight_decay = True  # type: ignore[attr-defined]

    @property
    def kernel(self) -> str:
        """Which implementation runs."""
        return f"torch-{type(self).__name__.lower()}"

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) → (B, T, D), from the zero state; any T."""
        out: Tensor = self.rnn(tokens)[0]
        return out

    def initial_state(self, batch_size: int) -> RecurrentState:
        """Zeros: the state before a task's first token."""
        like = self.rnn.get_parameter("weight_ih_l0")
        return tuple(like.new_zeros(batch_size, self.config.num_layers, self.model_size) for _ in range(self.states))

    def prefill(self, tokens: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """(B, T, D) and a state → (B, T, D) and the state after them."""
        layers_first = tuple(part.transpose(0, 1).contiguous() for part in state)  # (L, B, D)
        out, after = self.rnn(tokens, layers_first if self.states > 1 else layers_first[0])
        return out, tuple(part.transpose(0, 1) for part in (after if self.states > 1 else (after,)))

    def step(self, token: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """(B, D) and a state → (B, D) and the next state."""
        out, state = self.prefill(token[:, None], state)
        return out[:, 0], state


class GRU(_Recurrent):
    """Gated recurrent units (arXiv 1406.1078)."""

    cell, states = nn.GRU, 1


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997)."""

    cell, states = nn.LSTM, 2
