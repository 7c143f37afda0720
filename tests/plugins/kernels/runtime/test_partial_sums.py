"""Sums of several arrays of different sizes, added by however many threads."""

import numpy as np
import pytest
import torch

from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.partial_sums import COLUMNS, add_up, num_sums
from icrl_plugins.kernels.runtime.tasks import tasks
from icrl_plugins.kernels.runtime.threads import SERIAL_WORK, run_tasks

SIZES = ((3, COLUMNS), (5, 1), (2, 2 * COLUMNS + 7), (7, COLUMNS - 1))


def _fill_and_add(counters, given, partials, totals):
    for task in tasks(counters, len(given) + num_sums(totals)):
        if task >= len(given):
            add_up(counters, len(given), task - len(given), partials, totals)
            continue
        for partial in partials:
            if task < len(partial):
                partial[task] = given[task]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_last_tasks_add_what_the_first_ones_left(threads, dtype, monkeypatch):
    """Row i of every array is given[i], so its column sums are sums over the first P of `given`, in any order of threads."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    given = np.random.default_rng(0).normal(size=7).astype(dtype)
    partials = tuple(np.full(size, np.nan, dtype) for size in SIZES)
    totals = tuple(np.full(columns, np.nan, dtype) for _, columns in SIZES)
    run_tasks(compiled(_fill_and_add), 7 + num_sums(totals), SERIAL_WORK, given, partials, totals)
    for (parts, _), total in zip(SIZES, totals, strict=True):
        np.testing.assert_allclose(total, given[:parts].astype(np.float64).sum(), rtol=10 * np.finfo(dtype).eps)
