"""Two methods, or two runs, side by side: on equal tasks and seeds, under one protocol and track, with a verdict in words.

The difference is A − B of the last 10 %, in raw return and, where the tasks have an oracle, as a share of the way from random
to the oracle. Both sides are scaled by the same floor and ceiling, so no difference comes from whose floor was measured when.
Runs of different environments, protocols or tracks never meet.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icrl_leaderboards.analysis.standing import set_apart
from icrl_leaderboards.analysis.statistics import last_episodes, normalised_scores
from icrl_leaderboards.analysis.statistics.intervals import Estimate
from icrl_leaderboards.analysis.statistics.pairs import (
    paired_difference,
    pooled_difference,
    pooled_probability,
    probability_estimate,
    wins_of,
)
from icrl_leaderboards.analysis.summary import newest_per_seed
from icrl_leaderboards.runs.scores import RunScores
from icrl_leaderboards.wording.text import shorten
from icrl_registry.arrays import Float64Array
from icrl_registry.errors import UsageError, unknown_name

Key = tuple[str, str, str]
_SHOWN = 60


@dataclass(frozen=True)
class Side:
    """What one of the two names stands for."""

    name: str  # as asked for
    label: str  # the method with its settings, or the run id
    runs: tuple[RunScores, ...]


@dataclass(frozen=True, eq=False)
class Pairing:
    """A and B in one environment: N pairs of runs on the K tasks that both adapted to."""

    environment: str
    seeds: tuple[tuple[int, int], ...]  # of A and of B; equal except where single runs were named
    num_tasks: int
    num_episodes: tuple[int, int]
    returns: tuple[float, float]  # mean return of the last 10 %, A and B
    flagged_tasks: tuple[str, ...]  # without a normalised score
    set_apart: str | None  # why there is no difference of normalised scores, in words
    difference: Estimate  # A − B, raw return
    score_difference: Estimate | None  # A − B, normalised; None where no task has a scale
    probability: Estimate  # that a run of A beats a run of B on a task
    score_differences: Float64Array  # (N, K'), what `score_difference` is the mean of
    wins: Float64Array  # (N, N, K)

    @property
    def decisive(self) -> Estimate:
        """What the verdict goes by: the normalised difference if there is one."""
        return self.score_difference or self.difference

    def as_json(self) -> dict[str, Any]:
        """The pairing as JSON values."""
        return {
            "environment": self.environment,
            "seeds": [list(pair) for pair in self.seeds],
            "num_tasks": self.num_tasks,
            "num_episodes": list(self.num_episodes),
            "returns": list(self.returns),
            "flagged_tasks": list(self.flagged_tasks),
            "score_set_apart": self.set_apart,
            "difference": self.difference.as_json(),
            "score_difference": self.score_difference.as_json() if self.score_difference else None,
            "probability_of_improvement": self.probability.as_json(),
            "verdict": outcome_of(self.decisive),
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """A and B under one protocol and track."""

    ours: str
    theirs: str
    protocol: str
    track: str
    pairings: tuple[Pairing, ...]
    score_difference: Estimate | None  # mean over the environments whose tasks have a scale
    probability: Estimate
    left_out: tuple[str, ...]  # what could not be paired, in words

    @property
    def decisive(self) -> Estimate | None:
        """What the verdict goes by: the normalised difference, or a single environment's raw one; else None."""
        return self.score_difference or (self.pairings[0].difference if len(self.pairings) == 1 else None)

    @property
    def outcome(self) -> str:
        """`better`, `worse` or `undecided`: where the interval of A − B lies."""
        return outcome_of(self.decisive) if self.decisive else "undecided"

    @property
    def regressions(self) -> tuple[str, ...]:
        """Where A is worse than B: environments, and `overall`."""
        worse = [each.environment for each in self.pairings if outcome_of(each.decisive) == "worse"]
        return (*worse, "overall") if self.outcome == "worse" else tuple(worse)

    def as_json(self) -> dict[str, Any]:
        """The comparison as `leaderboard compare --json` prints it."""
        return {
            "a": self.ours,
            "b": self.theirs,
            "protocol": self.protocol,
            "track": self.track,
            "environments": [each.as_json() for each in self.pairings],
            "score_difference": self.score_difference.as_json() if self.score_difference else None,
            "probability_of_improvement": self.probability.as_json(),
            "verdict": self.outcome,
            "regressions": list(self.regressions),
            "left_out": list(self.left_out),
        }


def outcome_of(estimate: Estimate) -> str:
    """`better` or `worse` where the interval of a difference excludes 0; else, and without an interval, `undecided`."""
    if estimate.interval is None:
        return "undecided"
    return "better" if estimate.interval.low > 0 else "worse" if estimate.interval.high < 0 else "undecided"


# --- Which runs --------------------------------------------------------------------------------------------------------


def compare(runs: Sequence[RunScores], ours: str, theirs: str) -> list[Comparison]:
    """A against B, one comparison for each protocol and track under which both have runs.

    Args:
        runs: all that may be compared.
        ours: A: a run id, a method, or a method with its settings as tables show it.
        theirs: B, likewise.

    Raises:
        UnknownNameError: no run, method or label has one of the names.
        UsageError: a method stands for several settings, both names for the same runs, or the two have nothing in common.
    """
    if not runs:
        raise UsageError("there are no runs to compare", "`icrl-bench leaderboard show` lists what was recorded")
    first, second = _side(runs, ours), _side(runs, theirs)
    if {run.run_id for run in first.runs} & {run.run_id for run in second.runs}:
        raise UsageError(f"'{_short(ours)}' and '{_short(theirs)}' are the same runs", "name two methods, or two runs")
    single = len(first.runs) == len(second.runs) == 1
    left, right = _by_key(first.runs), _by_key(second.runs)
    groups: dict[tuple[str, str], list[Pairing]] = defaultdict(list)
    left_out: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key in sorted(left.keys() & right.keys()):
        pairs = _pairs(left[key], right[key], single)
        tasks = _common_tasks([run for pair in pairs for run in pair])
        if pairs and tasks:
            groups[key[1:]].append(_pairing(key[0], pairs, tasks))
        else:
            left_out[key[1:]].append(f"{key[0]}: no {'task' if pairs else 'seed'} in common")
    if not groups:
        raise _nothing_in_common(first, second, [text for texts in left_out.values() for text in texts])
    for environment, *shared in sorted(left.keys() ^ right.keys()):
        if (pair := (shared[0], shared[1])) in groups:
            has = first if (environment, *shared) in left else second
            left_out[pair].append(f"{environment}: only {_short(has.label)} has runs")
    return [
        _comparison(first.label, second.label, key, pairings, left_out[key]) for key, pairings in sorted(groups.items())
    ]


def _side(runs: Sequence[RunScores], name: str) -> Side:
    """A run of this id; else the runs of this label; else those of this method, if it stands for one label."""
    of_id = [run for run in runs if run.run_id == name]
    if of_id:
        return Side(name, f"run {name}", tuple(of_id))
    labelled = [(run, run.label) for run in runs if run.method == name or name.startswith(f"{run.method} (")]
    exact = [run for run, label in labelled if label == name]
    if exact:
        return Side(name, name, tuple(exact))
    printed = _printed(runs, name) if not labelled else []
    if printed:
        return Side(name, printed[0].label, tuple(printed))
    labels = sorted({label for run, label in labelled if run.method == name})
    if len(labels) > 1:
        shown = "; ".join(f'"{_short(label)}"' for label in labels[:5])
        raise UsageError(f"'{_short(name)}' was run with {len(labels)} settings", f"name one of them: {shown}")
    if not labels:
        known = {run.method for run in runs} | {run.run_id for run in runs}
        raise unknown_name("method or run in the leaderboard:", name, known)
    return Side(name, labels[0], tuple(run for run, _ in labelled if run.method == name))


def _printed(runs: Sequence[RunScores], name: str) -> list[RunScores]:
    """The runs of the one row that a table prints under this name: with its marks, its settings below or behind it, or
    without their section, as a narrow terminal has them.

    Raises:
        UsageError: rows of several settings are printed so.
    """
    wanted = _letters(name)
    found = [run for run in runs if wanted in {_letters(text) for text in _printed_names(run)}]
    labels = sorted({run.label for run in found})
    if len(labels) > 1:
        shown = "; ".join(f'"{_short(label)}"' for label in labels[:5])
        raise UsageError(f"'{_short(name)}' is printed for {len(labels)} rows", f"name one of them: {shown}")
    return found


def _printed_names(run: RunScores) -> list[str]:
    bare = [setting.partition(".")[2] or setting for setting in run.settings]
    return [" ".join([run.method, *settings]) for settings in (run.settings, bare)]


def _letters(name: str) -> str:
    """A name without what tables put around it: superscript marks, spaces, brackets and commas."""
    return re.sub(r"[\s,()⁰¹²³⁴-⁹]", "", name)


def _by_key(runs: Iterable[RunScores]) -> dict[Key, list[RunScores]]:
    """The newest run of each seed by environment, protocol and track."""
    groups: dict[Key, list[RunScores]] = defaultdict(list)
    for run in runs:
        groups[run.environment, run.protocol, run.track].append(run)
    return {key: list(newest_per_seed(members)[0]) for key, members in groups.items()}


def _pairs(left: Sequence[RunScores], right: Sequence[RunScores], single: bool) -> list[tuple[RunScores, RunScores]]:
    """Runs of equal seeds; two single runs that were named are a pair whatever their seeds."""
    if single:
        return [(left[0], right[0])]
    by_seed = {run.seed: run for run in right}
    return [(run, by_seed[run.seed]) for run in left if run.seed in by_seed]


def _common_tasks(runs: Sequence[RunScores]) -> list[str]:
    if not runs:
        return []
    shared = set(runs[0].task_labels).intersection(*(run.task_labels for run in runs))
    return [label for label in dict.fromkeys(runs[0].task_labels) if label in shared]


def _nothing_in_common(first: Side, second: Side, reasons: Sequence[str]) -> UsageError:
    names = f"'{_short(first.label)}' and '{_short(second.label)}'"
    if reasons:
        return UsageError(f"{names} cannot be paired: {'; '.join(reasons[:5])}", "run both with the same --seeds")
    places = []
    for side in (first, second):
        keys = sorted({f"{run.environment} under {run.protocol}, {run.track}" for run in side.runs})
        shown = "; ".join(map(_short, keys[:3])) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        places.append(f"{_short(side.label)} has {shown}")
    hint = f"runs of different environments, protocols or tracks are not compared: {'. '.join(places)}"
    return UsageError(f"{names} have nothing in common", hint)


def _short(name: str) -> str:
    return shorten(name, _SHOWN)


# --- Numbers -----------------------------------------------------------------------------------------------------------


def _pairing(environment: str, pairs: Sequence[tuple[RunScores, RunScores]], tasks: Sequence[str]) -> Pairing:
    """The pairs' statistics on the common tasks."""
    sides = list(zip(*pairs, strict=True))
    ours, theirs = (np.stack([_on_tasks(run, last_episodes(run.returns), tasks) for run in side]) for side in sides)
    everyone = [run for pair in pairs for run in pair]
    random = np.mean([_on_tasks(run, run.random, tasks) for run in everyone], axis=0)  # (K,)
    oracle = _mean_where_known([_on_tasks(run, run.oracle, tasks) for run in everyone])  # (K,)
    scores, flagged = normalised_scores(np.stack([ours, theirs]), random, oracle)  # (2, N, K)
    usable = ~flagged[0, 0]
    reason = set_apart(usable, random, oracle)
    if reason is not None:  # then the verdict goes by raw returns
        usable = np.zeros_like(usable)
    differences = (scores[0] - scores[1])[:, usable]
    return Pairing(
        environment=environment,
        seeds=tuple((left.seed, right.seed) for left, right in pairs),
        num_tasks=len(tasks),
        num_episodes=(sides[0][0].returns.shape[1], sides[1][0].returns.shape[1]),
        returns=(float(ours.mean()), float(theirs.mean())),
        flagged_tasks=tuple(label for label, unscored in zip(tasks, flagged[0, 0], strict=True) if unscored),
        set_apart=reason,
        difference=paired_difference(ours, theirs),
        score_difference=paired_difference(differences, np.zeros_like(differences)) if differences.size else None,
        probability=probability_estimate(ours, theirs),
        score_differences=differences,
        wins=wins_of(ours, theirs),
    )


def _on_tasks(run: RunScores, values: Float64Array, tasks: Sequence[str]) -> Float64Array:
    positions = {label: index for index, label in reversed(list(enumerate(run.task_labels)))}
    return np.asarray(values[[positions[label] for label in tasks]])


def _mean_where_known(values: Sequence[Float64Array]) -> Float64Array:
    """Mean over the first axis of those that are not NaN, (M, K) → (K,); NaN where none is."""
    stacked = np.stack(values)
    known = ~np.isnan(stacked)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, known.sum(axis=0), out=np.full(total.shape, np.nan), where=known.any(axis=0)))


def _comparison(
    ours: str, theirs: str, key: tuple[str, str], pairings: Sequence[Pairing], left_out: Sequence[str]
) -> Comparison:
    scaled = [each.score_differences for each in pairings if each.score_differences.size]
    if len(pairings) == 1:
        difference, probability = pairings[0].score_difference, pairings[0].probability
    else:
        difference = pooled_difference(scaled) if scaled else None
        probability = pooled_probability([each.wins for each in pairings])
    return Comparison(ours, theirs, *key, tuple(pairings), difference, probability, tuple(left_out))
