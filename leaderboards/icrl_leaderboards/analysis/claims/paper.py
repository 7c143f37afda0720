"""What the seed paper says (Beaussant and Mounsif, arXiv 2506.13892, section 5), as claims.

Its environments are taken in their newest version for which the protocol has rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from icrl_leaderboards.analysis.claims.claim import (
    Claim,
    Evidence,
    below_near,
    better,
    longer_is_better,
    near_oracle,
)
from icrl_leaderboards.runs.scores import RunScores

ENVIRONMENTS = ("reacher-goal", "pusher-goal", "half-cheetah-vel", "ant-dir")
SOURCE = "Beaussant and Mounsif 2025, arXiv 2506.13892"
CONTEXT = "method.context_length"


def newest(runs: Sequence[RunScores], family: str) -> str:
    """The newest version of an environment among the rows; the family's bare name if there is none."""
    found = {run.environment for run in runs if re.fullmatch(rf"{re.escape(family)}-v\d+", run.environment)}
    return max(found, key=lambda name: int(name.rpartition("-v")[2])) if found else family


def _everywhere(ours: str, theirs: str) -> Callable[[Sequence[RunScores]], list[Evidence]]:
    """A better than B on each of the four."""
    return lambda runs: [better(runs, ours, theirs, newest(runs, family)) for family in ENVIRONMENTS]


def _worst_on_ant(runs: Sequence[RunScores]) -> list[Evidence]:
    return [better(runs, other, "ad-dt", newest(runs, "ant-dir")) for other in ("ad-mamba", "macaw", "mql")]


def _near_on_reacher(runs: Sequence[RunScores]) -> list[Evidence]:
    return [near_oracle(runs, method, newest(runs, "reacher-goal")) for method in ("mql", "ad-mamba")]


def _struggles_on_cheetah(runs: Sequence[RunScores]) -> list[Evidence]:
    cheetah = newest(runs, "half-cheetah-vel")
    return [near_oracle(runs, "mql", cheetah), below_near(runs, "ad-mamba", cheetah)]


def _longer_contexts(runs: Sequence[RunScores]) -> list[Evidence]:
    families = ("pusher-goal", "half-cheetah-vel", "ant-dir")
    return [longer_is_better(runs, "ad-mamba", CONTEXT, newest(runs, family)) for family in families]


PAPER_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1",
        "AD with Mamba is better than AD with a decision transformer on all four",
        SOURCE,
        _everywhere("ad-mamba", "ad-dt"),
        "icrl-bench grid --methods ad-mamba,ad-dt",
    ),
    Claim(
        "C2",
        "AD with a decision transformer is the worst of all methods on Ant-Dir",
        SOURCE,
        _worst_on_ant,
        "icrl-bench grid --envs ant-dir --methods ad-mamba,ad-dt,macaw,mql",
    ),
    Claim(
        "C3",
        "AD with Mamba is better than MACAW on all four",
        SOURCE,
        _everywhere("ad-mamba", "macaw"),
        "icrl-bench grid --methods ad-mamba,macaw",
    ),
    Claim(
        "C4",
        "MQL and AD with Mamba are near the oracle on Reacher-Goal",
        SOURCE,
        _near_on_reacher,
        "icrl-bench grid --envs reacher-goal --methods mql,ad-mamba",
    ),
    Claim(
        "C5",
        "MQL is near the oracle on HalfCheetah-Vel, where AD struggles",
        SOURCE,
        _struggles_on_cheetah,
        "icrl-bench grid --envs half-cheetah-vel --methods mql,ad-mamba",
    ),
    Claim(
        "C6",
        "AD with Mamba is better than MQL on two of four",
        SOURCE,
        _everywhere("ad-mamba", "mql"),
        "icrl-bench grid --methods ad-mamba,mql",
        at_least=2,
    ),
    Claim(
        "C7",
        "Longer contexts help AD with Mamba on all but Reacher-Goal",
        SOURCE,
        _longer_contexts,
        "icrl-bench sweep --method ad-mamba --env ENV --set method.episodes_per_window=6 --set method.batch_size=8"
        f" --vary {CONTEXT}=50,200,full",  # a window is no longer than its episodes
    ),
)
