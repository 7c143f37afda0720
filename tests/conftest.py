"""What holds for every test, however the test runner was started."""

import os
import signal

# Many tiny networks: their threads would wait for each other longer than they compute. Read when OpenMP starts, so before
# anything imports torch; commands that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A runner started in the background by a shell ignores interrupts, and so would the commands that are to be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
