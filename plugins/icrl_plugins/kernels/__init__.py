"""The operations that run in kernels of their own on the CPU, a folder each; README.md is the catalogue."""

from typing import Literal

Kernel = Literal["auto", "reference"]
"""auto: the device's own kernel; reference: the formula in plain PyTorch."""
