"""What proves that an environment tests learning in context: its oracle solves it, and who ignores the task cannot.

A certificate of one environment under one protocol keeps raw numbers, task by task; what it concludes is computed from them:

- *solved*: on how many test tasks the oracle's greedy policy succeeds in at least half of its episodes;
- *blind ceiling*: the best that was found among policies that ignore the task: zero action, a clone of all training tasks'
  experts, the source trained on the mixture of training tasks, the one test task's oracle that does best on all of them, and
  a bound in closed form where the environment has one;
- *headroom*: (oracle − blind ceiling) / (oracle − random), over the means of the test tasks. 1 where ignoring the task is no
  better than acting at random, 0 where it is as good as having trained on it;
- *wrong task*: what the oracles of other tasks reach, on the normalised scale, 0 random and 1 oracle;
- *steps to tell apart*: how soon the rewards of two tasks differ under the same actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from icrl_registry.protocols.model import CertificatePlan

#: Seed of the resamples behind the headroom's interval, and their number.
INTERVAL_SEED, REPLICATES = 20_251, 4000


PerTask = tuple[float, ...]
"""(K,), one number per test task."""


class Certificate(BaseModel):
    """One environment under one protocol, K test tasks. Returns are undiscounted means over a task's episodes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    environment: str
    protocol: str
    source: str
    task_labels: tuple[str, ...]  # (K,)
    random: PerTask  # uniform random actions
    oracle: PerTask  # the source trained on the task, at the end of its training: the scores' oracle
    oracle_greedy: PerTask  # its final policy without exploration
    success: PerTask | None  # share of the greedy policy's episodes that succeed; None: no measure of success
    blind: dict[str, PerTask]  # by policy that ignores the task: zero_action, cloned, mixture 0, one oracle, …
    wrong_task: PerTask  # mean over the greedy policies of the other tasks
    steps_to_tell_apart: float  # median over pairs of tasks and action sequences
    horizon: int  # H
    env_steps: int  # that it took beyond the data set's

    @model_validator(mode="after")
    def _check_shapes(self) -> Certificate:
        count = len(self.task_labels)
        rows = {name: values for name, values in self if isinstance(values, tuple)}
        rows |= {f"blind[{name}]": values for name, values in self.blind.items()}
        for name, values in rows.items():
            if len(values) != count:
                raise ValueError(f"{name} has {len(values)} numbers, expected one for each of {count} tasks")
        if not self.blind:
            raise ValueError("blind is empty, expected at least one policy that ignores the task")
        return self

    @property
    def solved(self) -> float | None:
        """Share of test tasks on which the oracle succeeds in half of its episodes or more."""
        return None if self.success is None else float(np.mean(np.asarray(self.success) >= 0.5))

    @property
    def blind_policy(self) -> str:
        """The policy that reaches most without knowing the task."""
        return max(self.blind, key=lambda name: float(np.mean(self.blind[name])))

    @property
    def blind_ceiling(self) -> PerTask:
        """What that policy reaches."""
        return self.blind[self.blind_policy]

    @property
    def headroom(self) -> float:
        """(oracle − blind ceiling) / (oracle − random)."""
        return float(_headroom(*(np.asarray(each)[None] for each in self._scale))[0])

    @property
    def headroom_interval(self) -> tuple[float, float]:
        """95 % percentiles over resamples of the test tasks."""
        rows = np.random.default_rng(INTERVAL_SEED).integers(len(self.random), size=(REPLICATES, len(self.random)))
        low, high = np.quantile(_headroom(*(np.asarray(each)[rows] for each in self._scale)), [0.025, 0.975])
        return float(low), float(high)

    @property
    def wrong_task_score(self) -> float | None:
        """What knowing a wrong task is worth: 0 random, 1 oracle. None where the oracle is no better than random."""
        scale = np.mean(self.oracle) - np.mean(self.random)
        return float((np.mean(self.wrong_task) - np.mean(self.random)) / scale) if scale > 0 else None

    @property
    def _scale(self) -> tuple[PerTask, PerTask, PerTask]:
        return self.oracle, self.blind_ceiling, self.random

    def verdict(self, demanded: CertificatePlan) -> CertificateVerdict:
        """Whether it shows what the protocol demands, and if not, what is missing."""
        missing = []
        if demanded.solved is not None:
            if self.solved is None:
                missing.append("the environment measures no success, so nobody knows whether its oracle solves it")
            elif self.solved < demanded.solved:
                missing.append(
                    f"its oracle solves {self.solved:.0%} of the test tasks, demanded are {demanded.solved:.0%}"
                )
        if demanded.headroom is not None and self.headroom < demanded.headroom:
            missing.append(
                f"its headroom is {self.headroom:.2f}, demanded is {demanded.headroom:.2f}: "
                f"a policy that ignores the task ({self.blind_policy}) does nearly as well as the oracle"
            )
        return CertificateVerdict(not missing, tuple(missing))

    def summary(self) -> dict[str, Any]:
        """What it concludes, as JSON values."""
        return {
            "solved": self.solved,
            "blind_policy": self.blind_policy,
            "headroom": self.headroom,
            "headroom_interval": list(self.headroom_interval),
            "wrong_task_score": self.wrong_task_score,
            "steps_to_tell_apart": self.steps_to_tell_apart,
            "mean_return": {
                "random": float(np.mean(self.random)),
                **{name: float(np.mean(values)) for name, values in self.blind.items()},
                "wrong_task": float(np.mean(self.wrong_task)),
                "oracle": float(np.mean(self.oracle)),
                "oracle_greedy": float(np.mean(self.oracle_greedy)),
            },
        }


@dataclass(frozen=True)
class CertificateVerdict:
    """Whether a certificate passes, and why not."""

    passed: bool
    missing: tuple[str, ...] = ()


def _headroom(
    oracle: NDArray[np.float64], ceiling: NDArray[np.float64], random: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(oracle − ceiling) / (oracle − random) of the means over the last axis, (R, K) → (R,); 0 where the oracle is no
    better than random."""
    scale = (oracle - random).mean(axis=-1)
    gain = (oracle - ceiling).mean(axis=-1)
    return np.where(scale > 0, gain / np.where(scale > 0, scale, 1.0), 0.0)
