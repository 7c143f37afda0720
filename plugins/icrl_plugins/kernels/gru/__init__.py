"""The last state of a GRU over windows: formula, kernels, and the operation that chooses between them."""
