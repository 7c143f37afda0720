"""The `mamba` backbone: pre-norm residual Mamba blocks and a final norm, named as mamba-ssm's language model has them."""

from __future__ import annotations

import math
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import nn
from torch.utils.checkpoint import checkpoint

from icrl_plugins.backbones.mamba.block import BlockState, MambaBlock
from icrl_plugins.kernels import Kernel
from icrl_plugins.kernels.rms_norm.operation import rms_norm
from icrl_plugins.kernels.selective_scan.operation import kernel_name
from icrl_registry.configuration import ComponentConfig

Tensor = torch.Tensor
MambaState = tuple[BlockState, ...]


class MambaConfig(ComponentConfig):
    """Hyper-parameters of the `mamba` backbone."""

    model_size: int = Field(64, ge=1, description="Width D of tokens and features.")
    num_layers: int = Field(4, ge=1, description="Number of Mamba blocks.")
    embedding_size: int = Field(32, ge=1, description="Width to which each part of a token is embedded.")
    state_size: int = Field(16, ge=1, description="States N per inner channel.")
    expand: int = Field(2, ge=1, description="Inner channels per model channel: E = expand x D.")
    conv_width: int = Field(4, ge=2, description="Width of the causal convolution, in steps.")
    dt_min: float = Field(1e-3, gt=0, description="Smallest initial step size; the longest memory is 1/dt_min steps.")
    dt_max: float = Field(0.1, gt=0, description="Largest initial step size.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on each block's output before it joins the residual.")
    norm_epsilon: float = Field(1e-5, gt=0, description="Epsilon of the RMS norms.")
    activation_memory: float = Field(
        2.0,
        ge=0,
        description="GiB of activations from which on blocks are recomputed in the backward pass, to save memory.",
    )
    kernel: Kernel = Field("auto", description="auto: the device's fused scan; reference: the sequential formula.")

    @model_validator(mode="after")
    def _step_sizes_are_a_range(self) -> MambaConfig:
        if self.dt_min > self.dt_max:
            raise ValueError(f"dt_min = {self.dt_min} is above dt_max = {self.dt_max}")
        return self


class RMSNorm(nn.Module):
    """x / rms(x) · weight over the last axis (Zhang & Sennrich, arXiv 1910.07467)."""

    def __init__(self, size: int, epsilon: float, kernel: Kernel = "auto") -> None:
        super().__init__()
        self.epsilon, self.kernel = epsilon, kernel
        self.weight = nn.Parameter(torch.ones(size))
        self.weight._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        return rms_norm(x, self.weight, self.epsilon, self.kernel)


class _ResidualBlock(nn.Module):
    """r + Dropout(Mixer(RMSNorm(r))); the residual stays in the parameters' precision."""

    def __init__(self, config: MambaConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(config.model_size, config.norm_epsilon, config.kernel)
        self.mixer = MambaBlock(
            config.model_size,
            state_size=config.state_size,
            expand=config.expand,
            conv_width=config.conv_width,
            dt_min=config.dt_min,
            dt_max=config.dt_max,
            kernel=config.kernel,
        )
        self.dropout = config.dropout

    def forward(self, residual: Tensor, state: BlockState | None) -> tuple[Tensor, BlockState]:
        out, state = self.mixer(self.norm(residual), state)
        return residual + F.dropout(out, self.dropout, self.training), state

    def step(self, residual: Tensor, state: BlockState) -> tuple[Tensor, BlockState]:
        out, state = self.mixer.step(self.norm(residual), state)
        return residual + F.dropout(out, self.dropout, self.training), state


class Mamba(nn.Module):
    """Mamba (arXiv 2312.00752): linear in the context when trained in parallel, constant per token when stepped.

    There is no window: `step` works past `context_length`, where the state extrapolates beyond what was trained.
    """

    Config: ClassVar[type[ComponentConfig]] = MambaConfig

    def __init__(self, config: ComponentConfig, *, context_length: int) -> None:
        super().__init__()
        assert isinstance(config, MambaConfig)
        self.config = config
        self.context_length = context_length
        self.model_size, self.embedding_size = config.model_size, config.embedding_size
        self.layers = nn.ModuleList(_ResidualBlock(config) for _ in range(config.num_layers))
        self.norm_f = RMSNorm(config.model_size, config.norm_epsilon, config.kernel)
        self._rescale_residual_projections()

    def _rescale_residual_projections(self) -> None:
        """Each out_proj is divided by √L, so that the residual's scale at the start does not grow with depth (GPT-2)."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith("out_proj.weight"):
                    nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))
                    parameter.div_(math.sqrt(self.config.num_layers))

    def _blocks(self) -> list[_ResidualBlock]:
        return cast("list[_ResidualBlock]", list(self.layers))

    @property
    def kernel(self) -> str:
        """Which kernel scans on the module's present device."""
        return kernel_name(self.norm_f.weight.device, self.config.kernel)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) → (B, T, D), from the zero state; any T."""
        return self._run(tokens, (None,) * len(self.layers))[0]

    def prefill(self, tokens: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """(B, T, D) and a state → (B, T, D) and the state after them: T steps at once."""
        return self._run(tokens, state)

    def _run(self, residual: Tensor, state: tuple[BlockState | None, ...]) -> tuple[Tensor, MambaState]:
        recompute = torch.is_grad_enabled() and self._activation_bytes(residual) > self.config.activation_memory * 2**30
        states = []
        for layer, before in zip(self.layers, state, strict=True):
            if recompute:
                keeps_random_state = self.config.dropout > 0 and self.training
                residual, after = checkpoint(
                    layer, residual, before, use_reentrant=False, preserve_rng_state=keeps_random_state
                )
            else:
                residual, after = layer(residual, before)
            states.append(after)
        return self.norm_f(residual), tuple(states)

    def _activation_bytes(self, tokens: Tensor) -> int:
        """About what a forward pass keeps for its backward, in float32.

        Per token and layer: the residual and its norm (2D); the input projection, the convolution, the step size and the
        output (5E) and the scan's states at every 32nd step (E N / 32); what x_proj gives, and B and C once more (R + 4N).
        """
        inner, states = self.config.expand * self.model_size, self.config.state_size
        saved = 2 * self.model_size + inner * (5 + states / 32) + math.ceil(self.model_size / 16) + 4 * states
        return int(4 * tokens.shape[0] * tokens.shape[1] * (len(self.layers) * saved + self.model_size))

    def initial_state(self, batch_size: int) -> MambaState:
        """Zeros for every layer: the state before a task's first token, (B, W - 1, E) and (B, E, N) each."""
        return tuple(block.mixer.initial_state(batch_size) for block in self._blocks())

    def step(self, token: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """(B, D) and a state → (B, D) and the next state."""
        states = []
        for block, before in zip(self._blocks(), state, strict=True):
            token, after = block.step(token, before)
            states.append(after)
        return self.norm_f(token), tuple(states)
