"""The control of every row, as a claim: an agent that is shown another task's rewards ends below the blind ceiling.

What a policy that ignores the task can reach is the blind ceiling. Who stays above it without true rewards tells the task by
something else, and the environment or the harness leaks.
"""

from __future__ import annotations

from collections.abc import Sequence

from icrl_leaderboards.analysis.claims.claim import Claim, Evidence
from icrl_leaderboards.analysis.statistics.measures import measure
from icrl_leaderboards.analysis.summary import Row, group_runs
from icrl_leaderboards.runs.scores import RunScores

SOURCE = "icrl-bench"


def control_claim(controls: Sequence[RunScores]) -> Claim:
    """K1, judged on `controls`, the rows of `icrl-bench grid --controls` that were shown another task's rewards."""

    def gather(runs: Sequence[RunScores]) -> list[Evidence]:
        plain = [run for run in controls if not run.variant]
        return [_below_the_ceiling(row) for row in (group_runs(plain) if plain else [])]

    text = "Shown the rewards of another task, no method stays above the blind ceiling"
    return Claim("K1", text, SOURCE, gather, "icrl-bench grid --controls")


def _below_the_ceiling(row: Row) -> Evidence:
    """Holds where the whole interval of the headroom score (0 blind ceiling, 1 oracle) is below 0."""
    method = row.head.method if row.head.track == "online" else f"{row.head.method} ({row.head.track})"
    statement = f"{method}, rewards shuffled: headroom score below 0"
    score = measure([row.outcome], ["headroom_score"], stratified=False)[0]["headroom_score"]
    if score is None:
        return Evidence(
            row.head.environment, statement, None, missing=f"no blind ceiling known for {method}", subject=method
        )
    interval = score.interval
    low, high = (interval.low, interval.high) if interval else (None, None)
    holds = None if low is None or high is None else True if high < 0 else False if low > 0 else None
    return Evidence(
        row.head.environment, statement, holds, float(score.value), low, high, len(row.seeds), subject=method
    )
