"""Which CUDA kernels of other packages would run here: what `icrl-bench doctor` says of the extra `cuda`.

Three operations are theirs on a GPU. Without the package the convolution and attention fall back on PyTorch, the scan does not.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version


@dataclass(frozen=True)
class CudaKernel:
    """One operation, and who computes it on a GPU."""

    operation: str
    distribution: str
    module: str
    function: str
    otherwise: str  # what computes it on a GPU without the package


KERNELS = (
    CudaKernel(
        "selective scan", "mamba-ssm", "mamba_ssm.ops.selective_scan_interface", "selective_scan_fn", "nothing does"
    ),
    CudaKernel("causal convolution", "causal-conv1d", "causal_conv1d", "causal_conv1d_fn", "PyTorch does"),
    CudaKernel("attention in half precision", "flash-attn", "flash_attn", "flash_attn_func", "PyTorch does"),
)
INSTALL = "pip install 'icrl-bench[cuda]'"


def state_of(kernel: CudaKernel, has_gpu: bool) -> tuple[bool, str]:
    """Whether a kernel would run on this machine's GPU, and in words why, or what is missing."""
    try:
        installed = version(kernel.distribution)
    except PackageNotFoundError:
        wanting = f"{kernel.distribution} is not installed ({INSTALL}); without it {kernel.otherwise}"
        return False, f"{kernel.operation}: {wanting}" + ("" if has_gpu else "; there is no CUDA device either")
    named = f"{kernel.distribution} {installed}"
    try:
        getattr(importlib.import_module(kernel.module), kernel.function)
    except Exception as error:  # of an extension that was built for another torch or CUDA, whatever it raises
        words = f"{type(error).__name__}: {error}".split("\n")[0]
        return False, f"{kernel.operation}: {named} cannot be imported ({words}); build it for this torch and CUDA"
    if not has_gpu:
        return False, f"{kernel.operation}: {named} is there, but no CUDA device"
    return True, f"{kernel.operation}: {named}"
