"""The causal depthwise convolution with SiLU: formula, kernels, and the operation that chooses between them."""
