"""What a claim is, how it is judged, and the two ways in which it may be put: A better than B, or near the oracle.

A claim is made of statements, each about one environment. A statement holds where the whole 95 % interval says so, fails where
the whole interval says the contrary, and is undecided else, also where rows are missing. A claim is *reproduced* if enough of
its statements hold, *contradicted* if so many fail that this is out of reach, and *undecided* otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from icrl_leaderboards.analysis.comparison import compare, outcome_of
from icrl_leaderboards.analysis.statistics.intervals import Estimate
from icrl_leaderboards.analysis.summary import group_runs
from icrl_leaderboards.runs.scores import RunScores
from icrl_registry.errors import BenchError

Verdict = Literal["reproduced", "contradicted", "undecided"]
Holds = bool | None
"""True, False, or None where the rows don't decide it."""

#: A method is near the oracle where its whole interval of the normalised score lies above this.
NEAR = 0.8


@dataclass(frozen=True)
class Evidence:
    """One statement on one environment: what was compared, the number with its interval, and whether it holds."""

    environment: str
    statement: str  # "ad-mamba − ad-dt, score of the last 10 %"
    holds: Holds
    value: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0
    missing: str = ""  # why there is no number
    subject: str = ""  # whom it is about, where a claim says the same of several

    def as_json(self) -> dict[str, Any]:
        """The evidence as JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Finding:
    """What became of a claim."""

    claim: Claim
    verdict: Verdict
    evidence: tuple[Evidence, ...]

    def as_json(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {
            "id": self.claim.id,
            "text": self.claim.text,
            "source": self.claim.source,
            "verdict": self.verdict,
            "evidence": [each.as_json() for each in self.evidence],
            "command": self.claim.command,
        }


@dataclass(frozen=True)
class Claim:
    """Something that was said of methods, and the code that holds it to rows of one protocol."""

    id: str
    text: str
    source: str  # who says so, and where
    gather: Callable[[Sequence[RunScores]], Sequence[Evidence]]  # from the rows of one protocol
    command: str  # what makes the rows that it needs
    at_least: int | None = None  # how many of its statements must hold; None: all

    def judge(self, runs: Sequence[RunScores]) -> Finding:
        """The verdict on `runs`, which are of one protocol."""
        evidence = tuple(self.gather(runs))
        needed = len(evidence) if self.at_least is None else self.at_least
        holding = sum(each.holds is True for each in evidence)
        possible = sum(each.holds is not False for each in evidence)
        verdict: Verdict = "undecided"
        if evidence and holding >= needed:
            verdict = "reproduced"
        elif possible < needed:
            verdict = "contradicted"
        return Finding(self, verdict, evidence)


def better(runs: Sequence[RunScores], ours: str, theirs: str, environment: str, track: str = "online") -> Evidence:
    """Whether A's last 10 % are above B's on equal seeds and tasks, by the interval of their difference."""
    subject = f"{ours} − {theirs}"
    statement = f"{subject}, last 10 %"
    chosen = [run for run in runs if run.environment == environment and run.track == track]
    for name in (ours, theirs):
        if not any(run.method == name and not run.variant for run in chosen):
            return Evidence(environment, statement, None, missing=f"no row of {name}", subject=subject)
    plain = [run for run in chosen if not run.variant and run.method in (ours, theirs)]
    try:
        pairing = compare(plain, ours, theirs)[0].pairings[0]
    except BenchError as error:
        return Evidence(environment, statement, None, missing=error.message, subject=subject)
    holds = {"better": True, "worse": False}.get(outcome_of(pairing.decisive))
    return _evidence(environment, statement, holds, pairing.decisive, len(pairing.seeds), subject)


def near_oracle(runs: Sequence[RunScores], method: str, environment: str, track: str = "online") -> Evidence:
    """Whether a method's normalised score is above `NEAR` (0 random, 1 oracle), by its interval."""
    statement = f"score of {method}, near the oracle above {NEAR:g}"
    score, seeds = _score(runs, method, environment, track)
    if score is None:
        return Evidence(environment, statement, None, missing=f"no scored row of {method}", subject=method)
    return _evidence(environment, statement, _above(score, NEAR), score, seeds, method)


def below_near(runs: Sequence[RunScores], method: str, environment: str, track: str = "online") -> Evidence:
    """The contrary: whether a method stays below `NEAR`."""
    score, seeds = _score(runs, method, environment, track)
    statement = f"score of {method}, not near the oracle below {NEAR:g}"
    if score is None:
        return Evidence(environment, statement, None, missing=f"no scored row of {method}", subject=method)
    above = _above(score, NEAR)
    return _evidence(environment, statement, None if above is None else not above, score, seeds, method)


def longer_is_better(runs: Sequence[RunScores], method: str, setting: str, environment: str) -> Evidence:
    """Whether rows of a method that differ in one setting alone are better with its largest value than with its smallest.

    What else they set is the same for all: of several such studies the one with most values counts.
    """
    statement = f"{method} with the largest {setting} − with the smallest, last 10 %"
    studies: dict[str, dict[float, str]] = {}
    for run in runs:
        if (run.environment, run.method) == (environment, method) and setting in run.variant:
            value = _number(run.variant[setting])
            others = {key: each for key, each in run.variant.items() if key != setting}
            if value is not None:
                studies.setdefault(json.dumps(others, sort_keys=True, default=str), {})[value] = run.label
    rows = max(studies.values(), key=len, default={})
    if len(rows) < 2:
        return Evidence(environment, statement, None, missing=f"no study of {setting} with two values")
    try:
        ours, theirs = rows[max(rows)], rows[min(rows)]
        pairing = compare([run for run in runs if run.environment == environment], ours, theirs)[0].pairings[0]
    except BenchError as error:
        return Evidence(environment, statement, None, missing=error.message)
    holds = {"better": True, "worse": False}.get(outcome_of(pairing.decisive))
    return _evidence(environment, statement, holds, pairing.decisive, len(pairing.seeds))


def _score(runs: Sequence[RunScores], method: str, environment: str, track: str) -> tuple[Estimate | None, int]:
    chosen = [
        run
        for run in runs
        if (run.environment, run.track, run.method) == (environment, track, method) and not run.variant
    ]
    rows = group_runs(chosen) if chosen else []
    return (rows[0].normalised_score, len(rows[0].seeds)) if rows else (None, 0)


def _above(estimate: Estimate, least: float) -> Holds:
    interval = estimate.interval
    if interval is None:
        return None
    return True if interval.low > least else False if interval.high < least else None


def _evidence(
    environment: str, statement: str, holds: Holds, estimate: Estimate, seeds: int, subject: str = ""
) -> Evidence:
    interval = estimate.interval
    low, high = (interval.low, interval.high) if interval else (None, None)
    return Evidence(environment, statement, holds, float(estimate.value), low, high, seeds, subject=subject)


def _number(value: Any) -> float | None:
    """A setting's value on a line; `full` is longer than every number."""
    if value == "full":
        return float(np.inf)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
