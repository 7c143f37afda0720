"""One door to the selective scan: the fused CPU kernel, mamba-ssm's CUDA kernel, or the sequential formula.

    cuda       mamba_ssm's selective_scan_fn (extra `cuda`)
    cpu        the fused numba kernel of `fused.py`
    reference  the formula, step by step, on any device

Kernel modules are imported when they are first needed, never before.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from icrl_plugins.kernels import Kernel
from icrl_plugins.kernels.selective_scan.reference import ScanInputs, ScanWeights, scan_reference
from icrl_registry.errors import PluginError

Tensor = torch.Tensor

#: Steps of the state's contribution that are held at once where a kernel cannot start from a state.
_CARRY_CHUNK = 128


def kernel_name(device: torch.device | str, kernel: Kernel = "auto") -> str:
    """Which kernel `selective_scan` runs on `device`: what a result row records."""
    if kernel == "reference":
        return "selective-scan-reference"
    return {"cpu": "selective-scan-numba", "cuda": "selective-scan-mamba-ssm"}.get(
        torch.device(device).type, "selective-scan-reference"
    )


def selective_scan(
    sequence: ScanInputs, weights: ScanWeights, initial_state: Tensor | None = None, kernel: Kernel = "auto"
) -> tuple[Tensor, Tensor]:
    """Mamba's recurrence over a whole sequence (arXiv 2312.00752, algorithm 2), differentiable in every argument.

    The formula is that of `reference.py`.

    Args:
        sequence: x, dt (B, T, E), B, C (B, T, N) and the gate z (B, T, E) or None.
        weights: A (E, N), D (E) and the bias of dt (E) or None.
        initial_state: (B, E, N), or None for zeros.
        kernel: `reference` forces the sequential formula.

    Returns:
        (B, T, E) outputs and the last state (B, E, N). On a CUDA device the state is detached: mamba-ssm's kernel has no
        gradient for it.

    Raises:
        PluginError: on a CUDA device without the extra `cuda`.
    """
    name = kernel_name(sequence.x.device, kernel)
    if name == "selective-scan-numba":
        from icrl_plugins.kernels.selective_scan.fused import scan_cpu

        return scan_cpu(sequence, weights, initial_state)
    if name == "selective-scan-mamba-ssm":
        return _scan_cuda(sequence, weights, initial_state)
    return scan_reference(sequence, weights, initial_state)


def _scan_cuda(sequence: ScanInputs, weights: ScanWeights, initial_state: Tensor | None) -> tuple[Tensor, Tensor]:
    """mamba-ssm's kernel, which wants the time axis last and begins at zero; a state is added by linearity."""
    (x, dt, B, C, z), (A, D, dt_bias) = sequence, weights
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError as error:
        raise PluginError(
            f"the Mamba kernels for CUDA cannot be imported: {error}",
            "pip install 'icrl-bench[cuda]', or use --device cpu",
        ) from error
    out, last = selective_scan_fn(
        *(tensor.transpose(1, 2).contiguous() for tensor in (x, dt)),  # (B, E, T)
        A,
        *(tensor.transpose(1, 2).contiguous() for tensor in (B, C)),  # (B, N, T)
        D,
        z=None if z is None else z.transpose(1, 2).contiguous(),
        delta_bias=dt_bias,
        delta_softplus=True,
        return_last_state=True,
    )
    out = out.transpose(1, 2)  # (B, T, E)
    if initial_state is None:
        return out, last.detach()
    steps = F.softplus((dt if dt_bias is None else dt + dt_bias).to(last.dtype))  # (B, T, E)
    carried, state = _carry(steps, A, C.to(last.dtype), initial_state)
    carried = carried if z is None else carried * F.silu(z.to(last.dtype))
    return out + carried.to(out.dtype), (last + state).detach()


def _carry(steps: Tensor, A: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """What an initial state (B, E, N) adds to the outputs (B, T, E), and what is left of it after the last step."""
    outputs = []
    for begin in range(0, steps.shape[1], _CARRY_CHUNK):
        elapsed = steps[:, begin : begin + _CARRY_CHUNK].cumsum(1)  # (B, T', E)
        states = torch.exp(elapsed[..., None] * A) * state[:, None]  # (B, T', E, N)
        outputs.append(torch.einsum("bten,btn->bte", states, C[:, begin : begin + _CARRY_CHUNK]))
        state = states[:, -1]
    return torch.cat(outputs, dim=1), state
