"""What trackers are told: a training's numbers as they come, and a run's curves and settings once it is recorded.

Followed by the hooks that every plugin has. A training that this process did not see (it was done before, or elsewhere) is
handed on from its checkpoint's curve when the run is recorded: a tracker has the same whichever way a run was made.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from icrl_bench.artefacts.checkpoints import KIND as CHECKPOINTS
from icrl_bench.artefacts.store import Store
from icrl_leaderboards.runs.training import UPDATES, TrainingLog
from icrl_registry.errors import BenchError
from icrl_registry.hooks import HookManager, hookimpl
from icrl_registry.onlookers.trackers import Tracker, make_tracker

FOLDER = "tracking"  # in the home folder; one below it for each tracker
VALIDATION = "validation_"
EVERY = 0.5  # seconds between two points of a training's curve


@contextmanager
def following(names: Sequence[str], store: Store) -> Iterator[HookManager]:
    """The hooks of all plugins, and of the trackers `names`, which are closed at the end.

    Raises:
        UnknownNameError, PluginError: there is no such tracker, or it cannot be made here.
    """
    hooks, followers = HookManager(), []
    for name in dict.fromkeys(names):
        follower = Follower(name, make_tracker(name, store.root / FOLDER / name), store)
        hooks.register(follower, f"tracker {name}")
        followers.append(follower)
    try:
        yield hooks
    finally:
        for follower in followers:
            follower.close()


class Follower:
    """Stands between the hooks and one tracker; a tracker that raises is told of once and asked no more."""

    def __init__(self, name: str, tracker: Tracker, store: Store) -> None:
        self.name, self.tracker, self.store = name, tracker, store
        self.has_failed = False
        self._seen: dict[str, tuple[float, frozenset[str]]] = {}  # when numbers were handed on, names that came last

    @hookimpl
    def icrl_progress(self, event: Mapping[str, Any]) -> None:
        """A training's numbers: now and then, and whenever there is one that the last report had not, as after a validation."""
        metrics, run_id = event.get("metrics"), str(event.get("run_id", ""))
        if event.get("stage") != "train" or not metrics or not run_id:
            return
        last, usual = self._seen.get(run_id, (-math.inf, frozenset()))
        names, now, is_last = frozenset(metrics), time.monotonic(), event["done"] == event.get("total")
        is_due = now - last >= EVERY or not names <= usual or is_last
        self._seen[run_id] = now if is_due else last, names
        if not is_due:
            return
        self._tell(self.tracker.numbers, run_id, "updates", int(event["done"]), named(metrics))

    @hookimpl
    def icrl_result(self, record: Mapping[str, Any]) -> None:
        """The training, if nobody saw it, the return of every episode, and the run."""
        run_id = str(record["run_id"])
        if run_id not in self._seen:
            for place, metrics in self._training(str(record.get("checkpoint", ""))):
                self._tell(self.tracker.numbers, run_id, "updates", place, named(metrics))
        returns = np.asarray(record["returns"], dtype=np.float64)  # (K, E)
        for episode, value in enumerate(returns.mean(axis=0).tolist(), start=1):
            self._tell(self.tracker.numbers, run_id, "episode", episode, {"adaptation/return": value})
        self._tell(self.tracker.result, run_id, record)
        self._seen.pop(run_id, None)

    def close(self) -> None:
        """Lets the tracker end what is under way."""
        self._tell(self.tracker.close)

    def _training(self, checkpoint: str) -> list[tuple[int, dict[str, float]]]:
        if not checkpoint or not self.store.exists(CHECKPOINTS, checkpoint):
            return []
        try:
            log = TrainingLog.from_manifest(self.store.manifest(CHECKPOINTS, checkpoint))
        except BenchError:
            return []
        return [
            (int(point[UPDATES]), {name: value for name, value in point.items() if name != UPDATES})
            for point in log.points
        ]

    def _tell(self, call: Callable[..., None], *arguments: Any) -> None:
        if self.has_failed:
            return
        try:
            call(*arguments)
        except (Exception, SystemExit) as error:
            self.has_failed = True
            warnings.warn(
                f"tracker {self.name} failed and is left out from here on: {type(error).__name__}: {error}",
                stacklevel=2,
            )


def named(metrics: Mapping[str, float]) -> dict[str, float]:
    """`loss` → `train/loss`, `validation_mean_return` → `validation/mean_return`; what is not finite is left out."""
    return {
        f"validation/{name.removeprefix(VALIDATION)}" if name.startswith(VALIDATION) else f"train/{name}": float(value)
        for name, value in metrics.items()
        if math.isfinite(value)
    }
