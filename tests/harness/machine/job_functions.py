"""Jobs for the tests of the worker processes, which import this module by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from icrl_bench.machine.workers import report_units
from icrl_registry.errors import NumericalError, UsageError


def draw(seed: int, count: int) -> tuple[int, float]:
    report_units(count)
    return seed, float(np.random.default_rng(seed).normal(size=count).sum())


def fail(how: str) -> None:
    if how == "bench":
        raise NumericalError("reward is not finite", "look there")
    if how == "usage":
        raise UsageError("a wrong word", "another one")
    if how == "other":
        raise ZeroDivisionError("by nothing")
    if how == "noted":
        error = ZeroDivisionError("by nothing")
        error.add_note("sb3 on task train-003")
        raise error
    if how == "unpicklable":
        raise type("Local", (Exception,), {})(lambda: None)
    if how == "exit":
        sys.exit(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "bus":
        os.kill(os.getpid(), signal.SIGBUS)


def facts() -> dict[str, object]:
    import torch

    print("printed by a job")  # noqa: T201
    os.write(1, b"written by a job\n")
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return {"threads": torch.get_num_threads(), "interrupts_blocked": signal.SIGINT in blocked}


def touch_and_sleep(folder: str, seconds: float) -> str:
    """Says by a file that it runs, and by another that it came to its end."""
    mark = Path(folder) / str(os.getpid())
    mark.touch()
    time.sleep(seconds)
    mark.with_suffix(".ended").touch()
    return mark.name
