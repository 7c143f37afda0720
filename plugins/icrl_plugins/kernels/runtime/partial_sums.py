"""The partial sums that a kernel's tasks leave, added up by the tasks after them.

The order of the additions depends on the sizes alone, never on who computed a part or how many threads there are.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.extending import register_jitable

from icrl_plugins.kernels.runtime.tasks import wait_for
from icrl_plugins.kernels.runtime.vectors import JIT

COLUMNS = 1024  # columns of a task


@register_jitable
def num_sums(totals) -> int:
    """How many tasks `add_up` makes of these totals; from Python or from a kernel."""
    count = 0
    for total in totals:
        count += (total.size + COLUMNS - 1) // COLUMNS
    return count


@njit(**JIT)
def add_up(counters, parts, task, partials, totals) -> None:
    """Adds `COLUMNS` columns, once the `parts` tasks before are done: totals[i] (M) = the rows of partials[i] (P, M).

    Accumulated in float64. The tasks 0 … num_sums(totals) - 1 fill all totals.
    """
    wait_for(counters, parts)
    index = 0
    while task * COLUMNS >= totals[index].size:
        task -= (totals[index].size + COLUMNS - 1) // COLUMNS
        index += 1
    partial, total = partials[index], totals[index]
    first = task * COLUMNS
    last = min(first + COLUMNS, total.size)
    sums = np.zeros(COLUMNS, np.float64)
    for row in range(partial.shape[0]):
        for column in range(first, last):
            sums[column - first] += partial[row, column]
    for column in range(first, last):
        total[column] = sums[column - first]
