"""Adding the partial sums that tasks leave, in an order that does not depend on the number of threads.

PyTorch's own sum shares columns among threads and adds them in an order that depends on where a thread's share begins.
"""

from __future__ import annotations

import numpy as np
import torch

from icrl_plugins.kernels.jit import compiled, run_tasks
from icrl_plugins.kernels.tasks import tasks

COLUMNS = 1024  # columns of a task
ADDITIONS = 8  # take as long as a state update


@compiled
def _add_rows(counters, partial, total):  # type: ignore[no-untyped-def]
    """total (M) = the sum of the rows of partial (P, M), accumulated in float64."""
    rows, columns = partial.shape
    sums = np.empty(COLUMNS, np.float64)
    for task in tasks(counters, (columns + COLUMNS - 1) // COLUMNS):
        first = task * COLUMNS
        width = min(COLUMNS, columns - first)
        sums[:] = 0
        for row in range(rows):
            part = partial[row, first : first + width]
            for column in range(width):
                sums[column] += part[column]
        result = total[first : first + width]
        for column in range(width):
            result[column] = sums[column]


def sum_partials(partial: torch.Tensor) -> torch.Tensor:
    """(P, …) contiguous → (…), the sum over P."""
    total = partial.new_empty(partial.shape[1:])
    blocks = -(-total.numel() // COLUMNS)
    run_tasks(
        _add_rows,
        blocks,
        partial.numel() // ADDITIONS,
        partial.view(partial.shape[0], -1).numpy(),
        total.view(-1).numpy(),
    )
    return total
