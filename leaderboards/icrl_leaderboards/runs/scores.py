"""The numbers of one run as arrays: what rankings, tables and plots are computed from, without the run's provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icrl_leaderboards.runs.record import HEAD_FIELDS, REFERENCES, RunHead, RunRecord
from icrl_registry.arrays import Float64Array


@dataclass(frozen=True, eq=False, kw_only=True)
class RunScores(RunHead):
    """A run's head with its returns and references as arrays. What is not known is NaN here."""

    plugins: tuple[str, ...]  # one digest-bearing name per plugin, sorted
    task_labels: tuple[str, ...]  # (K,)
    returns: Float64Array  # (K, E)
    references: Mapping[str, Float64Array]  # name of `REFERENCES` → (K,), NaN where there is none

    @property
    def random(self) -> Float64Array:
        """Mean return of uniform actions, (K,)."""
        return self.references["random"]

    @property
    def oracle(self) -> Float64Array:
        """Return of the source trained on the task, (K,)."""
        return self.references["oracle"]

    @property
    def blind_ceiling(self) -> Float64Array:
        """The most that a policy blind to the task can return, (K,)."""
        return self.references["blind_ceiling"]

    @classmethod
    def from_record(cls, record: RunRecord) -> RunScores:
        """The scores of a record."""
        return cls(
            **{name: getattr(record, name) for name in HEAD_FIELDS},
            plugins=tuple(sorted(use.digest for use in record.plugins)),
            task_labels=tuple(record.task_labels),
            returns=np.array(record.returns, dtype=np.float64),
            references={name: with_nan(getattr(record, name), len(record.returns)) for name in REFERENCES},
        )


def with_nan(values: Sequence[float | None] | None, length: int) -> Float64Array:
    """Optional numbers as an array of `length`, NaN for None."""
    return np.array([None] * length if values is None else values, dtype=np.float64)  # NumPy reads None as NaN


def without_nan(values: Float64Array) -> list[float | None]:
    """The reverse of `with_nan`."""
    return [None if np.isnan(value) else float(value) for value in values]
