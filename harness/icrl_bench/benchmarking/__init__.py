"""The benchmarks of `icrl-bench bench`, how they are found, and how their reports are shown."""
