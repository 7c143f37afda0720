"""Compiled kernels for the CPU: how they are compiled and share threads, and vectors of lanes."""
