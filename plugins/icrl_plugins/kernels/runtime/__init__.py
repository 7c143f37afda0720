"""What all kernels stand on: compilation and its cache, threads and their tasks, vectors of lanes, sums, buffers."""
