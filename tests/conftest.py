"""What holds for every test: one thread for the many tiny networks, whose threads would wait for each other otherwise."""

import os

# Read when OpenMP starts, so before anything imports torch; commands that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
