"""The statistics of a leaderboard row by name: what each is, what it is computed from, and all of them for many rows at once.

A measure maps the outcome of N seeds × K tasks to a matrix of one number per seed and task, and aggregates it. Normalised
scores exist on the tasks whose oracle is clearly better than random in every run; the others count in the raw returns only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from icrl_leaderboards.analysis.statistics import adaptation, aggregates
from icrl_leaderboards.analysis.statistics.aggregates import Statistic
from icrl_leaderboards.analysis.statistics.bootstrap import (
    INTERVAL_SEED,
    REPLICATES,
    crossing_estimate,
    mean_estimates,
    statistic_estimates,
)
from icrl_leaderboards.analysis.statistics.intervals import Estimate
from icrl_registry.arrays import BoolArray, Float64Array


@dataclass(frozen=True, eq=False)
class Outcome:
    """Raw returns of N seeds on K tasks over E episodes, and the floor and ceiling that scale them."""

    returns: Float64Array  # (N, K, E)
    random: Float64Array  # (N, K)
    oracle: Float64Array  # (N, K), NaN where there is none
    blind_ceiling: Float64Array | None = None  # (N, K), NaN where it is not known: the most without telling tasks apart

    @cached_property
    def last(self) -> Float64Array:
        """Raw return of the last 10 %, (N, K)."""
        return adaptation.last_episodes(self.returns)

    @cached_property
    def usable(self) -> BoolArray:
        """Tasks on which every seed has a normalised score, (K,)."""
        _, flagged = adaptation.normalised_scores(self.last, self.random, self.oracle)
        return np.asarray(~flagged.any(axis=0))

    def scores(self, returns: Float64Array) -> Float64Array:
        """Normalised scores of raw returns (N, K) on the usable tasks, (N, K')."""
        usable = self.usable
        scores, _ = adaptation.normalised_scores(returns[:, usable], self.random[:, usable], self.oracle[:, usable])
        return scores

    @property
    def headroom_scores(self) -> Float64Array:
        """(R − blind ceiling) / (oracle − blind ceiling) of the last 10 %, on the tasks where every seed has one, (N, K')."""
        if self.blind_ceiling is None:
            return self.last[:, :0]
        scores, flagged = adaptation.normalised_scores(self.last, self.blind_ceiling, self.oracle)
        return scores[:, ~flagged.any(axis=0)]

    @property
    def score_curves(self) -> Float64Array:
        """Normalised scores of every episode on the usable tasks, (N, K', E)."""
        usable = self.usable
        random, oracle = self.random[:, usable, None], self.oracle[:, usable, None]
        return adaptation.normalised_scores(self.returns[:, usable], random, oracle)[0]


SCORE_DECIMALS = 2


@dataclass(frozen=True)
class Measure:
    """One statistic of a row."""

    name: str  # the key in JSON
    label: str  # in tables
    description: str
    cells: Callable[[Outcome], Float64Array]  # one number per seed and task, (N, K'); K' may be 0
    aggregate: Statistic = aggregates.mean
    normalised: bool = False  # whether 0 is random and 1 the oracle; otherwise in units of return, or of `decimals`
    higher_is_better: bool = True
    is_difference: bool = False  # shown with its sign
    decimals: int | None = None  # in tables; None: 2 of a score, and of a return what the table's numbers need

    def decimals_in(self, table_decimals: int) -> int:
        """Decimals to show it with in a table that shows returns with `table_decimals`."""
        if self.decimals is not None:
            return self.decimals
        return SCORE_DECIMALS if self.normalised else table_decimals


def _regret(outcome: Outcome) -> Float64Array:
    known = ~np.isnan(outcome.oracle).any(axis=0)
    return adaptation.regret(outcome.returns[:, known], outcome.oracle[:, known])


def _first_score(outcome: Outcome) -> Float64Array:
    return outcome.scores(adaptation.first_episode(outcome.returns))


def _last_score(outcome: Outcome) -> Float64Array:
    return outcome.scores(outcome.last)


def _oracle_gap(outcome: Outcome) -> Float64Array:
    return 1 - np.minimum(_last_score(outcome), 1.0)


_OF_RETURNS = (
    Measure("first_episode", "first episode", "mean return of the first episode", lambda each: each.returns[..., 0]),
    Measure("last_episodes", "last 10 %", "mean return of the last 10 % of the episodes", lambda each: each.last),
    Measure(
        "improvement",
        "improvement",
        "last 10 % minus first episode, mean return",
        lambda each: adaptation.improvement(each.returns),
        is_difference=True,
    ),
    Measure(
        "area_under_curve",
        "area under curve",
        "mean return over all episodes: the area under the adaptation curve per episode",
        lambda each: adaptation.area_under_curve(each.returns),
    ),
    Measure(
        "return_median",
        "median return",
        "median over tasks of the mean over seeds, return of the last 10 %",
        lambda each: each.last,
        aggregates.median,
    ),
    Measure(
        "return_iqm",
        "IQM return",
        "mean of the middle half of all returns of the last 10 %",
        lambda each: each.last,
        aggregates.interquartile_mean,
    ),
    Measure(
        "regret",
        "regret",
        "sum over the episodes of oracle minus return, mean over seeds and the tasks that have an oracle",
        _regret,
        higher_is_better=False,
    ),
)
_OF_SCORES = (
    Measure("first_score", "first score", "normalised score of the first episode, mean", _first_score, normalised=True),
    Measure("score_mean", "score", "normalised score of the last 10 %, mean", _last_score, normalised=True),
    Measure(
        "score_median",
        "median score",
        "normalised score of the last 10 %, median over tasks of the mean over seeds",
        _last_score,
        aggregates.median,
        normalised=True,
    ),
    Measure(
        "score_iqm",
        "IQM score",
        "normalised score of the last 10 %, mean of the middle half",
        _last_score,
        aggregates.interquartile_mean,
        normalised=True,
    ),
    Measure(
        "optimality_gap",
        "optimality gap",
        "1 minus the mean of min(score, 1), last 10 %",
        _oracle_gap,
        normalised=True,
        higher_is_better=False,
    ),
    Measure(
        "improvement_score",
        "score gained",
        "normalised score of the last 10 % minus that of the first episode, mean",
        lambda each: _last_score(each) - _first_score(each),
        normalised=True,
        is_difference=True,
    ),
    Measure(
        "area_score",
        "area score",
        "normalised score over all episodes, mean: the area under the normalised adaptation curve per episode",
        lambda each: each.scores(adaptation.area_under_curve(each.returns)),
        normalised=True,
    ),
    Measure(
        "headroom_score",
        "headroom score",
        "last 10 % on the scale where 0 is the best that a policy blind to the task can do and 1 the oracle, mean",
        lambda each: each.headroom_scores,
        normalised=True,
    ),
)
#: Computed from whole curves, not from a matrix.
EPISODES_TO_ORACLE = "episodes_to_oracle"
MEASURES: Mapping[str, Measure] = {measure.name: measure for measure in (*_OF_RETURNS, *_OF_SCORES)}
#: Every name that `measure` knows, with what it is; the order is that of tables.
DESCRIPTIONS: Mapping[str, str] = {
    **{name: measure.description for name, measure in MEASURES.items()},
    EPISODES_TO_ORACLE: "the first episode at which the mean normalised curve reaches 80 % of the oracle; null if never",
}


def measure(
    outcomes: Sequence[Outcome],
    names: Iterable[str] = tuple(DESCRIPTIONS),
    stratified: bool = True,
    replicates: int = REPLICATES,
) -> list[dict[str, Estimate | None]]:
    """The named statistics of each outcome with their intervals; None where no task carries them.

    `stratified` adds the interval that rliable reports. An estimate does not depend on the other outcomes.
    """
    results: list[dict[str, Estimate | None]] = [{} for _ in outcomes]
    for name in names:
        if name == EPISODES_TO_ORACLE:
            estimates = [crossing_estimate(outcome.score_curves, adaptation.ORACLE_SHARE) for outcome in outcomes]
        else:
            estimates = _estimates(MEASURES[name], outcomes, stratified, replicates)
        for result, estimate in zip(results, estimates, strict=True):
            result[name] = estimate
    return results


def value_of(name: str, outcome: Outcome) -> float | None:
    """One statistic without its interval, for sorting; None where no task carries it, inf where it is never reached."""
    if name == EPISODES_TO_ORACLE:
        curves = outcome.score_curves
        return float(adaptation.episodes_to_oracle(adaptation.mean_curve(curves))) if curves.size else None
    cells = MEASURES[name].cells(outcome)
    return float(MEASURES[name].aggregate(cells)) if cells.size else None


def _estimates(
    chosen: Measure, outcomes: Sequence[Outcome], stratified: bool, replicates: int
) -> list[Estimate | None]:
    matrices = [chosen.cells(outcome) for outcome in outcomes]
    present = [index for index, matrix in enumerate(matrices) if matrix.size]
    filled = [matrices[index] for index in present]
    if chosen.aggregate is aggregates.mean:
        found = mean_estimates(filled, INTERVAL_SEED, replicates, stratified=stratified)
    else:
        found = statistic_estimates(filled, chosen.aggregate, INTERVAL_SEED, replicates, stratified=stratified)
    estimates: list[Estimate | None] = [None] * len(outcomes)
    for index, estimate in zip(present, found, strict=True):
        estimates[index] = estimate
    return estimates
