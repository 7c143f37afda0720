"""Passes of stacked dense networks: formula, products, layer normalisation, and the kernels built from them."""
