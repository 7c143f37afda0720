"""What a process does with a unit, wherever it runs: so many threads, and every end of it in words."""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from icrl_bench.executors.contract import Failure
from icrl_bench.machine.cpu_settings import set_for_training
from icrl_bench.machine.workers import set_up_worker
from icrl_bench.stages.stage import Unit
from icrl_registry.errors import BenchError, refused_by_the_machine


@dataclass(frozen=True)
class Report:
    """What a process says of the unit that it made."""

    seconds: float
    failure: Failure | None = None


def set_up_process(cores: int) -> None:
    """For each unit, the first one before anything heavy is imported: what `run` sets for training, and `cores` threads."""
    set_for_training()
    set_up_worker(cores)


def perform(work: Callable[[], object], node: str = "") -> Report:
    """Does the work; whatever it raises becomes a failure, with its traceback."""
    began = time.monotonic()
    failure: Failure | None = None
    try:
        work()
    except BenchError as error:
        failure = Failure(error.message, error.hint, node, traceback.format_exc())
    except (Exception, SystemExit) as error:
        refusal = refused_by_the_machine(error) if isinstance(error, OSError) else None
        notes = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
        words = refusal.message if refusal else f"{notes}{type(error).__name__}: {error}"
        failure = Failure(words, refusal.hint if refusal else "", node, traceback.format_exc())
    return Report(time.monotonic() - began, failure)


def make_pickled(content: bytes, home: Path) -> None:
    """Makes a unit that came as bytes: a plugin that cannot be imported here is a failure of the unit."""
    unit: Unit = pickle.loads(content)
    unit.make(home)
