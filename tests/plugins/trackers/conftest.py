"""What the harness tells a tracker of one small run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from icrl_registry.onlookers.trackers import Tracker

RUN = "0123456789abcdef"
RECORD = {
    "run_id": RUN, "method": "ad-mamba", "env": "reacher-goal-v1", "protocol": "laptop-v2", "track": "online", "seed": 3,
    "parameters": 12, "normalised_score": 0.75, "improvement": 10.5, "best_episode": -2.0,
    "config": {"method": {"learning_rate": 0.002, "head": "linear"}, "backbone": {}, "adapt": {"episodes": 2}},
}  # fmt: skip


@pytest.fixture
def follow() -> Callable[[Tracker], None]:
    """Tells a tracker of a training of two updates and an adaptation of two episodes, and of a run that is never recorded."""

    def call(tracker: Any) -> None:
        for place, loss in ((1, 4.0), (2, 0.5)):
            tracker.numbers(RUN, "updates", place, {"train/loss": loss})
        tracker.numbers(RUN, "updates", 2, {"validation/mean_return": -7.0})
        tracker.numbers("other", "updates", 1, {"train/loss": 1.0})
        for place, value in ((1, -9.0), (2, -3.0)):
            tracker.numbers(RUN, "episode", place, {"adaptation/return": value})
        tracker.result(RUN, RECORD)
        tracker.close()

    return call
