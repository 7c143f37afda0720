"""The selective scan of Mamba: formula, kernels, and the operation that chooses between them."""
