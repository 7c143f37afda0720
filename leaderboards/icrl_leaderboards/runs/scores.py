"""The numbers of one run as arrays: what rankings, tables and plots are computed from, without the run's provenance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icrl_leaderboards.runs.record import RunRecord

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RunScores:
    """One run's identity, costs and raw returns. A missing oracle is NaN here."""

    run_id: str
    method: str
    backbone: str | None
    environment: str
    protocol: str
    track: str
    seed: int
    variant: dict[str, Any]
    parameters: int
    collect_env_steps: int
    train_env_steps: int
    adapt_env_steps: int
    seconds: dict[str, float]
    created_at: str
    plugins: tuple[str, ...]  # one digest-bearing name per plugin, sorted
    task_labels: tuple[str, ...]  # (K,)
    returns: FloatArray  # (K, E)
    random: FloatArray  # (K,)
    zero_action: FloatArray  # (K,)
    oracle: FloatArray  # (K,), NaN where there is none
    oracle_greedy: FloatArray  # (K,), NaN where there is none

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings in which the run differs from its protocol, as `--set` takes them."""
        return tuple(f"{key}={_short_json(value)}" for key, value in sorted(self.variant.items()))

    @property
    def label(self) -> str:
        """The method and its settings in one line: `ad-mamba (method.context_length=200)`."""
        settings = self.settings
        return f"{self.method} ({', '.join(settings)})" if settings else self.method

    @classmethod
    def from_record(cls, record: RunRecord) -> RunScores:
        """The scores of a record."""
        return cls(
            run_id=record.run_id,
            method=record.method,
            backbone=record.backbone,
            environment=record.environment,
            protocol=record.protocol,
            track=record.track,
            seed=record.seed,
            variant=record.variant,
            parameters=record.parameters,
            collect_env_steps=record.collect_env_steps,
            train_env_steps=record.train_env_steps,
            adapt_env_steps=record.adapt_env_steps,
            seconds=record.seconds,
            created_at=record.created_at,
            plugins=tuple(sorted(plugin_digest(use.kind, use.name, use.content_hash) for use in record.plugins)),
            task_labels=tuple(record.task_labels),
            returns=np.array(record.returns, dtype=np.float64),
            random=np.array(record.random, dtype=np.float64),
            zero_action=np.array(record.zero_action, dtype=np.float64),
            oracle=with_nan(record.oracle),
            oracle_greedy=with_nan(record.oracle_greedy),
        )


def _short_json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def plugin_digest(kind: str, name: str, content_hash: str) -> str:
    """What tells two states of one plugin apart."""
    return f"{kind}:{name}@{content_hash}"


def with_nan(values: Sequence[float | None]) -> FloatArray:
    """Optional numbers as an array, NaN for None."""
    return np.array(values, dtype=np.float64)  # NumPy reads None as NaN


def without_nan(values: FloatArray) -> list[float | None]:
    """The reverse of `with_nan`."""
    return [None if np.isnan(value) else float(value) for value in values]
