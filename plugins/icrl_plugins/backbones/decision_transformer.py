"""The `dt` backbone: a causal transformer over one token per transition, as in the Decision Transformer (arXiv 2106.01345)
without return conditioning, with pre-norm blocks as in GPT-2.

Positions are absolute inside the window, so cached keys and values cannot be rolled when the window is full: every token's
position would shift, and the caches of deeper layers have attended to tokens that are gone. Instead the newest half of
the window is kept and run afresh from position 0 (`step`), which is exact for a context that moves between half a window
and a whole one, and costs about one more token per step on average. Letters: the contracts', and N heads, W window.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import nn

from icrl_plugins.backbones.linear import Linear
from icrl_plugins.kernels.attention.operation import attention_kernel, causal_attention
from icrl_registry.configuration import ComponentConfig
from icrl_registry.errors import UsageError

Tensor = torch.Tensor
#: Keys and values of one layer, (B, N, capacity, D/N) each; what lies at or past the position is not yet written.
LayerCache = tuple[Tensor, Tensor]
#: Position (B), equal in all rows; the tokens in the window (B, capacity, D); a cache per layer.
TransformerState = tuple[Tensor, Tensor, tuple[LayerCache, ...]]

_FIRST_CAPACITY = 64


class TransformerConfig(ComponentConfig):
    """Hyper-parameters of the `dt` backbone."""

    embedding_size: int = Field(16, ge=1, description="Width e to which each part of a token is embedded.")
    model_size: int | None = Field(
        None, ge=1, description="Width D of tokens and features; none means 4 x embedding_size."
    )
    num_layers: int = Field(4, ge=1, description="Number of transformer blocks.")
    num_heads: int = Field(4, ge=1, description="Attention heads; must divide the model size.")
    feedforward_size: int = Field(2048, ge=1, description="Width of the hidden layer of each block's MLP.")
    positions: Literal["sinusoidal", "learned"] = Field(
        "sinusoidal", description="Absolute position inside the window: fixed sinusoids, or a learned table."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on what each branch adds to the residual.")
    attention_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on attention weights.")
    norm_epsilon: float = Field(1e-5, gt=0, description="Epsilon of the layer norms.")

    @property
    def width(self) -> int:
        """D."""
        return self.model_size if self.model_size is not None else 4 * self.embedding_size

    @model_validator(mode="after")
    def _heads_divide_width(self) -> TransformerConfig:
        if self.width % self.num_heads:
            raise ValueError(f"num_heads = {self.num_heads} must divide the model size {self.width}")
        return self


def sinusoids(length: int, size: int) -> Tensor:
    """Fixed position vectors, (length, size): sines, then cosines, at wavelengths 2π … 10,000 · 2π (arXiv 1706.03762)."""
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies  # (length, ceil(size / 2))
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :size].float()


class _Block(nn.Module):
    """r + Attention(LN(r)), then r + MLP(LN(r))."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        size = config.width
        self.num_heads, self.dropout, self.attention_dropout = (
            config.num_heads,
            config.dropout,
            config.attention_dropout,
        )
        self.norm_attention = nn.LayerNorm(size, eps=config.norm_epsilon)
        self.qkv = Linear(size, 3 * size)
        self.attention_out = Linear(size, size)
        self.norm_mlp = nn.LayerNorm(size, eps=config.norm_epsilon)
        self.mlp_in = Linear(size, config.feedforward_size)
        self.mlp_out = Linear(config.feedforward_size, size)

    def forward(self, residual: Tensor, cache: LayerCache | None, position: int) -> tuple[Tensor, LayerCache | None]:
        """(B, T, D) at positions `position` and on; a cache has room for them and gets their keys and values."""
        batch, steps, size = residual.shape
        heads = self.qkv(self.norm_attention(residual)).view(batch, steps, 3, self.num_heads, size // self.num_heads)
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)  # (B, N, T, D/N) each
        if cache is not None:
            if torch.is_grad_enabled():  # what an earlier step's gradient needs must stay as it was
                cache = cache[0].clone(), cache[1].clone()
            end = position + steps
            cache[0][:, :, position:end], cache[1][:, :, position:end] = keys, values
            keys, values = cache[0][:, :, :end], cache[1][:, :, :end]  # (B, N, S, D/N)
        attention_dropout = self.attention_dropout if self.training else 0.0
        attended = (
            causal_attention(queries, keys, values, attention_dropout).transpose(1, 2).reshape(batch, steps, size)
        )
        residual = residual + F.dropout(self.attention_out(attended), self.dropout, self.training)
        hidden = F.gelu(self.mlp_in(self.norm_mlp(residual)))  # (B, T, feedforward)
        return residual + F.dropout(self.mlp_out(hidden), self.dropout, self.training), cache


class DecisionTransformer(nn.Module):
    """A GPT-style causal encoder with a window of `context_length` tokens; `step` works past it (see the module)."""

    Config: ClassVar[type[ComponentConfig]] = TransformerConfig

    def __init__(self, config: ComponentConfig, *, context_length: int) -> None:
        super().__init__()
        assert isinstance(config, TransformerConfig)
        if context_length < 1:
            raise UsageError(
                f"the window of a transformer cannot hold {context_length} tokens", "give a context length ≥ 1"
            )
        self.config = config
        self.context_length = context_length
        self.model_size, self.embedding_size = config.width, config.embedding_size
        if config.positions == "learned":
            self.positions = nn.Parameter(torch.empty(context_length, config.width))
        else:
            self.register_buffer("positions", sinusoids(context_length, config.width), persistent=False)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self._initialise()

    def _initialise(self) -> None:
        """GPT-2: weights N(0, 0.02), those that write to the residual divided by √(2L), biases 0."""
        residual_scale = 1 / math.sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" not in name:
                writes_residual = "attention_out" in name or "mlp_out" in name
                nn.init.normal_(parameter, std=0.02 * (residual_scale if writes_residual else 1.0))
            if parameter.ndim < 2 or name == "positions":
                parameter._no_weight_decay = True  # type: ignore[attr-defined]

    @property
    def kernel(self) -> str:
        """Which attention kernel runs whole windows at the module's present device and precision."""
        return attention_kernel(self.norm.weight, self.config.attention_dropout if self.training else 0.0)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) → (B, T, D), T up to the context length.

        Raises:
            UsageError: a longer sequence than the window.
        """
        if tokens.shape[1] > self.context_length:
            raise UsageError(
                f"{tokens.shape[1]} tokens do not fit the transformer's window of {self.context_length}",
                "raise the context length (--set method.context_length=…), or feed shorter windows",
            )
        return self._run(tokens, None, 0)[0]

    def _run(
        self, tokens: Tensor, caches: tuple[LayerCache, ...] | None, position: int
    ) -> tuple[Tensor, tuple[LayerCache, ...]]:
        residual = tokens + self.positions[position : position + tokens.shape[1]]
        written = []
        for index, block in enumerate(self.blocks):
            residual, cache = block(residual, None if caches is None else caches[index], position)
            written.append(cache)
        return self.norm(residual), tuple(written)

    def initial_state(self, batch_size: int) -> TransformerState:
        """An empty window. All rows of a batch stand at the same position."""
        return self._empty(batch_size, min(self.context_length, _FIRST_CAPACITY))

    def _empty(self, batch_size: int, capacity: int) -> TransformerState:
        like, heads = self.norm.weight, self.config.num_heads
        cache_shape = (batch_size, heads, capacity, self.model_size // heads)
        caches = tuple((like.new_zeros(cache_shape), like.new_zeros(cache_shape)) for _ in self.blocks)
        position = torch.zeros(batch_size, dtype=torch.long, device=like.device)
        return position, like.new_zeros(batch_size, capacity, self.model_size), caches

    def step(self, token: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """(B, D) and a state → (B, D) and the next state; exact for the tokens in the window.

        Without gradients the caches are written in place: continue from the newest state only. When the window is full,
        the newest half is kept and run again from position 0, so the context moves between half a window and a whole one.
        """
        out, state = self.prefill(token[:, None], state)
        return out[:, 0], state

    def prefill(self, tokens: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """(B, T, D), any T, and a state → what T steps would give: (B, T, D) and the state after them."""
        outputs = [tokens[:, :0]]
        while tokens.shape[1]:
            position = int(state[0][0]) if len(state[0]) else 0
            if position == self.context_length:
                state, position = self._keep_newest_half(state), self.context_length // 2
            piece = tokens[:, : self.context_length - position]
            out, state = self._extend(piece, state, position)
            outputs.append(out)
            tokens = tokens[:, piece.shape[1] :]
        return torch.cat(outputs, dim=1), state

    def _extend(self, tokens: Tensor, state: TransformerState, position: int) -> tuple[Tensor, TransformerState]:
        """Appends tokens for which the window has room."""
        end = position + tokens.shape[1]
        _, window, caches = self._with_room(state, end)
        if torch.is_grad_enabled():
            window = window.clone()
        window[:, position:end] = tokens
        out, caches = self._run(tokens, caches, position)
        return out, (state[0] + tokens.shape[1], window, caches)

    def _with_room(self, state: TransformerState, needed: int) -> TransformerState:
        """The state with buffers for at least `needed` tokens; they double, so growing costs O(1) per token."""
        position, window, caches = state
        grow = window.shape[1]
        if needed <= grow:
            return state
        while grow < needed:
            grow *= 2
        more = min(grow, self.context_length) - window.shape[1]
        longer = tuple((F.pad(keys, (0, 0, 0, more)), F.pad(values, (0, 0, 0, more))) for keys, values in caches)
        return position, F.pad(window, (0, 0, 0, more)), longer

    def _keep_newest_half(self, state: TransformerState) -> TransformerState:
        """A state in new buffers that holds the newest half of the window at positions 0 and on."""
        recent = state[1][:, self.context_length - self.context_length // 2 : self.context_length]
        empty = self._empty(recent.shape[0], self.context_length)
        return self._extend(recent, empty, 0)[1] if recent.shape[1] else empty
