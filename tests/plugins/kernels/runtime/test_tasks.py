"""Who takes which task."""

from icrl_plugins.kernels.runtime.tasks import new_counters, tasks


def test_tasks_that_others_took_are_left_out():
    counters = new_counters()
    first = tasks(counters, 3)
    assert next(first) == 0
    assert list(tasks(counters, 3)) == [1, 2]
    assert list(first) == []
    assert counters[1] == 3
