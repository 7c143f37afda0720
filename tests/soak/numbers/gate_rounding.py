"""What the gate of the causal convolution may be off by beyond its formula: the vectors' logistic function ends at 2⁻¹²⁷.

With c the convolution, s its logistic function and g the gradient of the outputs c s, single precision has s ≥ 2⁻¹²⁷ in
kernels (`runtime/vectors.py`: the exponential is bounded), where the formula goes on to zero. So |δs| ≤ 2⁻¹²⁷, c s is off by
at most 2⁻¹²⁷ |c|, and what goes back to c, g s (1 + c (1 - s)), by at most 2⁻¹²⁷ |g| (1 + |c|). The rest is linear.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from icrl_plugins.kernels.causal_conv.reference import padded_inputs

Tensor = torch.Tensor
LEAST_GATE = 2.0**-127


def gate_rounding(x: Tensor, before: Tensor, weight: Tensor, bias: Tensor, grad_out: Tensor) -> list[Tensor]:
    """Bounds on the errors of the outputs (B, T, E) and of the gradients by x, before, weight and bias."""
    sizes = [tensor.detach().double().abs().requires_grad_() for tensor in (x, before, weight, bias)]
    of_x, of_before, of_weight, of_bias = sizes
    convolved = F.conv1d(padded_inputs(of_x, of_weight, of_before), of_weight, of_bias, groups=of_weight.shape[0])
    largest = convolved.transpose(1, 2)  # (B, T, E), no less than |c|
    of_gradient = LEAST_GATE * grad_out.double().abs() * (1 + largest.detach())
    return [LEAST_GATE * largest.detach(), *torch.autograd.grad(largest, sizes, of_gradient)]
