"""The Mamba block (Gu & Dao, arXiv 2312.00752, section 3.4 and figure 3).

Parameters are named, shaped and initialised as `mamba_ssm.Mamba` has them, so a state dict moves both ways. Besides the
letters of the contracts: E = expand · D inner channels, N state size, R rank of the step size, W width of the convolution.
What the operations compute is written down in plain PyTorch in `kernels/selective_scan/reference.py` and
`kernels/causal_conv/reference.py`; the kernels beside them compute the same faster.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from icrl_plugins.backbones.linear import Linear, linear
from icrl_plugins.kernels import Kernel
from icrl_plugins.kernels.causal_conv.operation import causal_conv_silu
from icrl_plugins.kernels.selective_scan.operation import selective_scan
from icrl_plugins.kernels.selective_scan.reference import ScanInputs, ScanWeights

Tensor = torch.Tensor
#: The last W - 1 inputs of the convolution (B, W - 1, E) and the state of the scan (B, E, N).
BlockState = tuple[Tensor, Tensor]

_DT_FLOOR = 1e-4


class MambaBlock(nn.Module):
    """in_proj → causal convolution → selective scan → gate → out_proj; (B, T, D) → (B, T, D)."""

    def __init__(
        self,
        model_size: int,
        *,
        state_size: int = 16,
        expand: int = 2,
        conv_width: int = 4,
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        kernel: Kernel = "auto",
    ) -> None:
        super().__init__()
        inner = expand * model_size
        self.inner_size, self.state_size, self.kernel = inner, state_size, kernel
        self.rank = math.ceil(model_size / 16)
        self.in_proj = Linear(model_size, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, conv_width, groups=inner, padding=conv_width - 1)
        self.x_proj = Linear(inner, self.rank + 2 * state_size, bias=False)
        self.dt_proj = Linear(self.rank, inner, bias=True)
        self._initialise_step_size(dt_min, dt_max)
        rates = torch.arange(1, state_size + 1, dtype=torch.float32)
        self.A_log = nn.Parameter(torch.log(rates).repeat(inner, 1))  # (E, N): S4D-real, A = -1 … -N
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = Linear(inner, model_size, bias=False)
        for parameter in (self.A_log, self.D, self.conv1d.bias, self.dt_proj.bias):
            parameter._no_weight_decay = True  # type: ignore[union-attr]

    def _initialise_step_size(self, dt_min: float, dt_max: float) -> None:
        """softplus(bias) is log-uniform in [dt_min, dt_max]: channels start with memories of many lengths.

        Whoever re-initialises linear layers must leave this bias alone (`_no_reinit`, the mark that mamba-ssm uses).
        """
        bound = self.rank**-0.5
        nn.init.uniform_(self.dt_proj.weight, -bound, bound)
        span = math.log(dt_max) - math.log(dt_min)
        dt = torch.exp(torch.rand(self.inner_size) * span + math.log(dt_min)).clamp(min=_DT_FLOOR)
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # the inverse of softplus
        self.dt_proj.bias._no_reinit = True  # type: ignore[attr-defined]

    def initial_state(self, batch_size: int) -> BlockState:
        """Zeros: the state before the first token of a task."""
        weight = self.in_proj.weight
        before = weight.new_zeros(batch_size, self.conv1d.kernel_size[0] - 1, self.inner_size)
        return before, self.A_log.new_zeros(batch_size, self.inner_size, self.state_size)

    def forward(self, tokens: Tensor, state: BlockState | None = None) -> tuple[Tensor, BlockState]:
        """(B, T, D), continuing from `state` if there is one → (B, T, D) and the state after the last step."""
        xz = self.in_proj(tokens)  # (B, T, 2E)
        x, z = xz.chunk(2, dim=-1)  # (B, T, E) each
        before, scan_state = (None, None) if state is None else state
        next_before = self._remembered(x, before)
        assert self.conv1d.bias is not None
        x = causal_conv_silu(x, self.conv1d.weight, self.conv1d.bias, before, self.kernel)  # (B, T, E)
        projected = self.x_proj(x)  # (B, T, R + 2N)
        dt, B, C = projected.split([self.rank, self.state_size, self.state_size], dim=-1)
        dt = linear(dt, self.dt_proj.weight)  # (B, T, E); the bias is added once, in the scan
        A = -torch.exp(self.A_log.float() if self.A_log.dtype != torch.float64 else self.A_log)  # (E, N)
        sequence, weights = ScanInputs(x, dt, B, C, z), ScanWeights(A, self.D, self.dt_proj.bias)
        out, scan_state = selective_scan(sequence, weights, scan_state, self.kernel)  # (B, T, E)
        return self.out_proj(out), (next_before, scan_state)

    def _remembered(self, x: Tensor, before: Tensor | None) -> Tensor:
        """The last W - 1 inputs of the convolution after the steps x."""
        keep = self.conv1d.kernel_size[0] - 1
        if before is None:
            before = x.new_zeros(x.shape[0], keep, x.shape[2])
        steps = x.shape[1]
        recent = x[:, max(0, steps - keep) :]
        return torch.cat([before[:, recent.shape[1] :], recent], dim=1)

    def step(self, token: Tensor, state: BlockState) -> tuple[Tensor, BlockState]:
        """One token (B, D) → (B, D) and the next state, at a cost that does not depend on how many came before."""
        if not self._steps_in_one_kernel(token):
            out, state = self.forward(token[:, None], state)
            return out[:, 0], state
        from icrl_plugins.kernels.selective_scan import step_kernel

        xz = self.in_proj(token)  # (B, 2E)
        before = step_kernel.State(*(part.contiguous().numpy() for part in state))
        out = xz.new_empty(xz.shape[0], self.inner_size)
        next_state = torch.empty_like(state[0]), torch.empty_like(state[1])
        convolution = step_kernel.Convolution(*_arrays(self.conv1d.weight, self.conv1d.bias))
        projections = step_kernel.Projections(*_arrays(self.x_proj.weight, self.dt_proj.weight, self.dt_proj.bias))
        after = step_kernel.State(*_arrays(*next_state))
        A_log, D, inner, result = _arrays(self.A_log, self.D, xz, out)
        step_kernel.step(inner, before, convolution, projections, A_log, D, result, after)
        return self.out_proj(out), next_state

    def _steps_in_one_kernel(self, token: Tensor) -> bool:
        """Whether `step_kernel` takes it: on the CPU, without gradient, and in one precision throughout."""
        one_precision = token.dtype == self.A_log.dtype and not torch.is_autocast_enabled("cpu")
        fits = token.device.type == "cpu" and token.dtype in (torch.float32, torch.float64) and one_precision
        return fits and self.kernel == "auto" and not torch.is_grad_enabled()


def _arrays(*tensors: Tensor | None) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors if tensor is not None]
