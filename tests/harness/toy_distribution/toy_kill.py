"""A hook that kills its own process at a chosen moment of a run, as the machine's owner or the memory killer would.

`TOY_KILL=train:7` kills as soon as 7 units of the first train stage are done; every unit is an event then,
and sources keep their progress as often as they can.
"""

from __future__ import annotations

import os
import signal

import icrl_bench.artefacts.checkpoints
import icrl_bench.machine.progress
from icrl_registry.hooks import hookimpl

stage, _, units = os.environ.get("TOY_KILL", "").partition(":")
if stage:
    icrl_bench.machine.progress.UPDATE_EVERY = 0.0
    icrl_bench.artefacts.checkpoints.SAVE_EVERY = 0.0


@hookimpl
def icrl_progress(event):
    if event["stage"] == stage and event["event"] == "stage_progress" and event["done"] >= int(units):
        os.kill(os.getpid(), signal.SIGKILL)
