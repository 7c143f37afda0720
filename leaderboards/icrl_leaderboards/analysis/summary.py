"""From runs to what is said of them: one JSON object a run, and rows that group the runs of one method over seeds.

Every number here is computed from the raw returns, each time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from icrl_leaderboards.analysis import statistics
from icrl_leaderboards.analysis.standing import set_apart
from icrl_leaderboards.analysis.statistics.intervals import Estimate
from icrl_leaderboards.analysis.statistics.measures import Outcome, measure
from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.runs.scores import RunScores, without_nan
from icrl_registry.arrays import Float64Array

#: The estimates of raw returns that every row has from the start, in the order in which they are computed.
ESTIMATES = ("first_episode", "last_episodes", "improvement", "area_under_curve")
_USUAL = (*ESTIMATES, "score_mean")


@dataclass(frozen=True, eq=False)
class Row:
    """All runs of one method under equal conditions: N seeds on the same K tasks for E episodes."""

    runs: tuple[RunScores, ...]  # one a seed, by seed
    superseded: tuple[str, ...]  # ids of older runs of the same seeds, which count for nothing here
    outcome: Outcome  # what every statistic is computed from

    @property
    def head(self) -> RunScores:
        """The first seed's run, for what all runs of a row share."""
        return self.runs[0]

    @property
    def table(self) -> tuple[str, str, str]:
        """Environment, protocol and track: only rows of one table may be ranked together."""
        return self.head.environment, self.head.protocol, self.head.track

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings in which the method differs from the protocol, as `--set` takes them."""
        return self.head.settings

    @property
    def label(self) -> str:
        """The method and its settings in one line."""
        return self.head.label

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return tuple(run.seed for run in self.runs)

    @property
    def mixed_plugins(self) -> bool:
        """Whether the runs were made with different states of a plugin."""
        return len({run.plugins for run in self.runs}) > 1

    @property
    def returns(self) -> Float64Array:
        """Raw returns, (N, K, E)."""
        return self.outcome.returns

    @property
    def num_episodes(self) -> int:
        """Episodes per task; a source's learning curve has more than the methods beside it."""
        return int(self.returns.shape[-1])

    @cached_property
    def mean_return(self) -> float:
        """Mean raw return of the last 10 %, by which rows are ranked."""
        return float(self.outcome.last.mean())

    @cached_property
    def estimates(self) -> dict[str, Estimate | None]:
        """The statistics that every table shows, with their two-level intervals."""
        return measure([self.outcome], _USUAL, stratified=False)[0]

    @property
    def first_episode(self) -> Estimate:
        """Mean return of the first episode."""
        return self._of_returns("first_episode")

    @property
    def last_episodes(self) -> Estimate:
        """Mean return of the last 10 % of the episodes."""
        return self._of_returns("last_episodes")

    @property
    def improvement(self) -> Estimate:
        """Last 10 % minus first episode."""
        return self._of_returns("improvement")

    @property
    def area_under_curve(self) -> Estimate:
        """Mean return over all episodes."""
        return self._of_returns("area_under_curve")

    @property
    def normalised_score(self) -> Estimate | None:
        """Normalised score of the last 10 %, over the tasks that have a scale; None where none has."""
        return self.estimates["score_mean"]

    def _of_returns(self, name: str) -> Estimate:
        estimate = self.estimates[name]
        assert estimate is not None  # every task has returns
        return estimate

    @property
    def best_episode(self) -> float:
        """The highest point of the mean adaptation curve."""
        return self._best[0]

    @property
    def best_episode_index(self) -> int:
        """Its episode, counted from 1."""
        return self._best[1]

    @cached_property
    def _best(self) -> tuple[float, int]:
        return statistics.best_episode(self.returns)

    @cached_property
    def statistics(self) -> dict[str, Estimate | None]:
        """Every statistic of `measures.DESCRIPTIONS` with both intervals; None where no task has a scale."""
        return measure([self.outcome])[0]

    @property
    def scores(self) -> Float64Array:
        """Normalised scores of the last 10 % on the tasks that no run flags, (N, K')."""
        return self.outcome.scores(self.outcome.last)

    @cached_property
    def set_apart(self) -> str | None:
        """Why the row's normalised scores rank nothing, in words; None where they do (`standing`)."""
        return set_apart(self.outcome.usable, self.outcome.random, self.outcome.oracle)

    @property
    def flagged_tasks(self) -> tuple[str, ...]:
        """Tasks left out of the normalised score: no oracle, or one that is not clearly better than random."""
        return tuple(
            label for label, usable in zip(self.head.task_labels, self.outcome.usable, strict=True) if not usable
        )

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Mean wall-clock per stage of a run."""
        names = sorted({name for run in self.runs for name in run.seconds})
        return {name: sum(run.seconds.get(name, 0.0) for run in self.runs) / len(self.runs) for name in names}

    def as_json(self, every_statistic: bool = False) -> dict[str, Any]:
        """The row as `leaderboard show --json` prints it. Steps and seconds are means over the runs.

        `every_statistic` adds those of `measures.DESCRIPTIONS`, which cost some milliseconds a row.
        """
        head = self.head
        return {
            "kind": "method",
            "environment": head.environment,
            "protocol": head.protocol,
            "track": head.track,
            "method": head.method,
            "backbone": head.backbone,
            "variant": head.variant,
            "seeds": list(self.seeds),
            "run_ids": [run.run_id for run in self.runs],
            "superseded_run_ids": list(self.superseded),
            "mixed_plugins": self.mixed_plugins,
            "num_tasks": self.returns.shape[1],
            "num_episodes": self.returns.shape[2],
            **{name: getattr(self, name).as_json() for name in ESTIMATES},
            "best_episode": self.best_episode,
            "best_episode_index": self.best_episode_index,
            "normalised_score": self.normalised_score.as_json() if self.normalised_score else None,
            "flagged_tasks": list(self.flagged_tasks),
            "score_set_apart": self.set_apart,
            "parameters": head.parameters,
            **{name: self.mean_of(name) for name in ("collect_env_steps", "train_env_steps", "adapt_env_steps")},
            "seconds": self.seconds,
            **({"statistics": self._statistics_as_json()} if every_statistic else {}),
        }

    def _statistics_as_json(self) -> dict[str, Any]:
        return {name: estimate.as_json() if estimate else None for name, estimate in self.statistics.items()}

    def mean_of(self, name: str) -> float:
        """Mean over the runs of one of their counts."""
        return float(np.mean([getattr(run, name) for run in self.runs]))


@dataclass(frozen=True)
class Reference:
    """A floor or the ceiling of one table: what a policy without learning, or the source on the task itself, returns."""

    kind: str  # "floor" or "oracle"
    name: str  # "random", "zero action", "oracle", "oracle, greedy"
    value: float  # mean over the table's tasks and runs
    normalised_score: float | None


@dataclass(frozen=True, eq=False)
class Table:
    """Rows that may be compared: equal environment, protocol and track. Best first by the last 10 %."""

    environment: str
    protocol: str
    track: str
    rows: tuple[Row, ...]
    references: tuple[Reference, ...]

    @cached_property
    def largest_return(self) -> float:
        """The largest size of a return in the table, which decides how many decimals returns need."""
        values = [reference.value for reference in self.references]
        for row in self.rows:
            values += [float(row.returns[..., 0].mean()), row.mean_return, row.best_episode]
        return max(map(abs, values))

    def as_json(self) -> list[dict[str, Any]]:
        """The rows of the methods and of the references, best first."""
        return [self.entry_as_json(entry) for entry in self.ranked]

    def entry_as_json(self, entry: Row | Reference, every_statistic: bool = False) -> dict[str, Any]:
        """One row or reference of this table."""
        if isinstance(entry, Row):
            return entry.as_json(every_statistic)
        score = entry.normalised_score
        return {
            "kind": entry.kind,
            "environment": self.environment,
            "protocol": self.protocol,
            "track": self.track,
            "method": entry.name,
            "last_episodes": Estimate(entry.value).as_json(),
            "normalised_score": None if score is None else Estimate(score).as_json(),
        }

    @property
    def ranked(self) -> list[Row | Reference]:
        """Rows and references together, best first by their last 10 %."""
        entries: list[Row | Reference] = [*self.rows, *self.references]
        return sorted(entries, key=lambda entry: -(entry.mean_return if isinstance(entry, Row) else entry.value))


def compute_estimates(rows: Sequence[Row]) -> None:
    """Fills in `Row.estimates` of many rows at once, which is faster than one by one."""
    for row, found in zip(rows, measure([row.outcome for row in rows], _USUAL, stratified=False), strict=True):
        row.__dict__["estimates"] = found  # where cached_property looks first


def compute_statistics(rows: Sequence[Row]) -> None:
    """Fills in `Row.statistics` of many rows at once."""
    for row, found in zip(rows, measure([row.outcome for row in rows]), strict=True):
        row.__dict__["statistics"] = found


# --- Grouping ----------------------------------------------------------------------------------------------------------


def group_runs(runs: Sequence[RunScores], estimates: bool = True) -> list[Row]:
    """Rows of runs that differ in their seed only, by table and then best first.

    Of several runs of one seed the newest counts; the row names the others. `estimates` computes those of all rows now, at
    once; without it a row computes its own when it is asked.
    """
    groups: dict[tuple[Any, ...], list[RunScores]] = defaultdict(list)
    for run in runs:
        variant = json.dumps(run.variant, sort_keys=True)
        key = (run.environment, run.protocol, run.track, run.method, variant, run.task_labels, run.returns.shape)
        groups[key].append(run)
    chosen = [newest_per_seed(group) for group in groups.values()]
    rows = [Row(members, older, outcome_of(members)) for members, older in chosen]
    if estimates:
        compute_estimates(rows)
    return sorted(rows, key=lambda row: (row.table, -row.mean_return, row.label, row.head.run_id))


def tables_of(rows: Sequence[Row]) -> list[Table]:
    """The rows by environment, protocol and track (online first), each with its floors and oracle."""
    by_table: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_table[row.table].append(row)
    keys = sorted(by_table, key=lambda key: (*key[:2], track_order(key[2])))
    return [Table(*key, tuple(by_table[key]), _references(by_table[key])) for key in keys]


def track_order(track: str) -> tuple[bool, str]:
    """Sorts online, the track that every method has, before the others."""
    return track != "online", track


def newest_per_seed(group: Sequence[RunScores]) -> tuple[tuple[RunScores, ...], tuple[str, ...]]:
    """The newest run of each seed, by seed, and the ids of the others."""
    newest: dict[int, RunScores] = {}
    older: list[str] = []
    for run in sorted(group, key=lambda each: (each.created_at, each.run_id)):
        if run.seed in newest:
            older.append(newest[run.seed].run_id)
        newest[run.seed] = run
    return tuple(newest[seed] for seed in sorted(newest)), tuple(older)


def outcome_of(runs: Sequence[RunScores]) -> Outcome:
    """The returns, floors and oracles of runs on the same tasks for equally many episodes, stacked."""
    return Outcome(
        np.stack([run.returns for run in runs]),
        np.stack([run.random for run in runs]),
        np.stack([run.oracle for run in runs]),
        np.stack([run.blind_ceiling for run in runs]),
    )


def _references(rows: Sequence[Row]) -> tuple[Reference, ...]:
    runs = [run for row in rows for run in row.runs]
    random = np.concatenate([run.random for run in runs])
    oracle = np.concatenate([run.oracle for run in runs])
    references = []
    for kind, name, attribute in (
        ("oracle", "oracle", "oracle"),
        ("oracle", "oracle, greedy", "oracle_greedy"),
        ("floor", "blind ceiling", "blind_ceiling"),
        ("floor", "zero action", "zero_action"),
        ("floor", "random", "random"),
    ):
        values = np.concatenate([run.references[attribute] for run in runs])
        if np.isnan(values).any():
            continue
        scores, flagged = statistics.normalised_scores(values, random, oracle)
        score = None if flagged.all() else float(scores[~flagged].mean())
        references.append(Reference(kind, name, float(values.mean()), score))
    return tuple(references)


# --- One run -----------------------------------------------------------------------------------------------------------


#: What `run --json` has called differently since its first version, and what it leaves to the leaderboard.
_SUMMARY_NAMES = {"environment": "env", "task_labels": "tasks"}
_NOT_IN_SUMMARY = ("config", "provenance", "source_curves", "protocol_content")


def summarise_run(record: RunRecord) -> dict[str, Any]:
    """What `icrl-bench run --json` prints for one run, as JSON values.

    Intervals resample the tasks only: one run has one seed.
    """
    row = group_runs([RunScores.from_record(record)])[0]
    scores, _ = statistics.normalised_scores(statistics.last_episodes(row.returns[0]), row.head.random, row.head.oracle)
    provenance: Mapping[str, Any] = record.provenance
    document = {_SUMMARY_NAMES.get(name, name): value for name, value in record.as_json().items()}
    for name in _NOT_IN_SUMMARY:
        document.pop(name, None)
    return {
        **document,
        "normalised_score": None if row.normalised_score is None else row.normalised_score.value,
        "normalised_scores": without_nan(scores),
        "flagged_tasks": list(row.flagged_tasks),
        **{name: getattr(row, name).value for name in ESTIMATES},
        "best_episode": row.best_episode,
        "intervals": _intervals(row),
        "kernel": provenance.get("kernel"),
        "device": provenance.get("device"),
    }


def _intervals(row: Row) -> dict[str, Any]:
    estimates = {name: getattr(row, name) for name in (*ESTIMATES, "normalised_score")}
    return {
        name: estimate.interval.as_json() if estimate is not None and estimate.interval is not None else None
        for name, estimate in estimates.items()
    }
