"""Whether normalised scores mean anything: they do where most tasks have a scale and the oracle is far from random.

A score divides by (oracle − random). Where the source learned little, few tasks keep a denominator, and it is small: nine
random-like returns then look like nine times the oracle. Such scores are shown, but set apart, and rank nothing; rankings by
raw return are not affected.
"""

from __future__ import annotations

import numpy as np

from icrl_registry.arrays import BoolArray, Float64Array

#: Of a table's tasks at least this share must have a scale.
MINIMUM_SCORED_SHARE = 0.5
#: The mean oracle must be above the mean of random by this share of the larger of their sizes.
MINIMUM_ORACLE_GAP = 0.1


def set_apart(usable: BoolArray, random: Float64Array, oracle: Float64Array) -> str | None:
    """Why the scores of a row or a pairing rank nothing, in words; None where they do.

    Args:
        usable: (K,), the tasks that have a normalised score.
        random: (..., K), mean return of uniform actions.
        oracle: (..., K), return of the source trained on the task; NaN where there is none.
    """
    scored, tasks = int(usable.sum()), len(usable)
    known = ~np.isnan(oracle)
    if not known.any():
        return "no task has an oracle"
    ceiling, floor = float(oracle[known].mean()), float(np.broadcast_to(random, oracle.shape)[known].mean())
    if ceiling <= floor:
        return "the oracle is no better than random"
    if ceiling - floor < MINIMUM_ORACLE_GAP * max(abs(ceiling), abs(floor)):
        return "the oracle is hardly better than random"
    if scored < MINIMUM_SCORED_SHARE * tasks:
        return f"only {scored} of {tasks} tasks can be scored"
    return None
