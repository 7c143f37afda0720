"""MACAW end to end on points on a line: the contract, kills, and adaptation in one step to unseen tasks."""

import numpy as np
import pytest
import torch

from icrl_plugins.methods.macaw import MACAW
from icrl_plugins.methods.macaw.data import returns_to_go, task_data, uniform_rows
from icrl_registry.discovery import load
from icrl_registry.errors import BenchError, UsageError
from icrl_registry.testing.conformance import run_checks

SMALL = {
    "hidden_size": 24,
    "latent_size": 8,
    "inner_batch_size": 60,
    "outer_batch_size": 60,
    "adaptation_batch_size": 60,
    "discount": 0.9,
}


class Killed(Exception):
    pass


def make_histories(toy, goals, episodes: int = 20):
    return [toy.history(goal, episodes, np.random.default_rng(index), index) for index, goal in enumerate(goals)]


def test_conformance() -> None:
    torch.set_num_threads(1)
    failed = [result for result in run_checks(load("method", "macaw")) if not result.passed]
    assert not failed, failed


def test_killed_it_ends_with_the_same_bytes(toy) -> None:
    settings = {**SMALL, "updates": 9, "checkpoint_every": 4, "validation_every": 3, "select_best": True}
    method = MACAW(MACAW.Config(**settings, selection_metric="score"))
    histories = make_histories(toy, [0.5, -0.5, 0.9])
    scores = iter(
        [1.0, 3.0, 2.0, 3.0, 2.0]
    )  # the kill comes between the second and the third, which is asked for twice

    def validate(agent):
        return {"score": float(len(toy.adapt(agent, [0.4], 2)[0]))}

    straight = method.train(toy.job(histories, validate=validate))

    def report(done: int, total: int, metrics) -> None:
        if done == 7:
            raise Killed

    store = toy.MemoryStore()
    with pytest.raises(Killed):
        method.train(toy.job(histories, store, report=report, validate=validate))
    assert store.saves == 1
    resumed = method.train(toy.job(histories, store, validate=validate))
    assert straight.tensors.keys() == resumed.tensors.keys()
    assert all(np.array_equal(tensor, resumed.tensors[name]) for name, tensor in straight.tensors.items())
    assert straight.state == resumed.state


def test_the_best_validation_is_kept(toy) -> None:
    scores = iter([1.0, 3.0, 2.0])
    settings = {**SMALL, "validation_every": 3, "select_best": True, "selection_metric": "score"}
    histories = make_histories(toy, [0.5, -0.5])
    method = MACAW(MACAW.Config(**settings, updates=9))
    best = method.train(toy.job(histories, validate=lambda agent: {"score": next(scores)}))
    assert best.state["best_update"] == 6
    shorter = MACAW(MACAW.Config(**SMALL, updates=6)).train(toy.job(histories))
    assert all(np.array_equal(tensor, best.tensors[name]) for name, tensor in shorter.tensors.items())


def test_returns_to_go_are_discounted_sums_to_the_end() -> None:
    rewards = np.array([9.0, 1.0, 2.0, 3.0, 5.0], np.float32)
    terminated = np.array([False, False, False, False, True])
    returns, discounts, ends = returns_to_go(rewards, [(1, 4), (4, 5)], terminated, 0.5)
    np.testing.assert_allclose(returns, [0, 1 + 1 + 0.75, 2 + 1.5, 3, 5])
    np.testing.assert_allclose(discounts, [0, 0.125, 0.25, 0.5, 0])  # nothing follows a termination
    assert ends.tolist() == [0, 3, 3, 3, 4]


def test_rows_of_batches_come_from_complete_episodes_and_the_share_asked_for(toy) -> None:
    history = toy.coded_history([(4, 4, 4, 4, -3), (2, 2, 2, 2)])
    settings = MACAW.Config(inner_from=0.5, inner_to=1.0, discount=0.5, inner_max_discount_to_end=0.3)
    data = task_data(history, settings)
    codes = history.observations.reshape(-1, 2)[:, 0]
    assert codes[data.outer_rows].tolist() == [*range(1000, 1016), *range(1100, 1108)]
    # the later half of each stream; γ^(steps left) > 0.3 is the last step of a cut episode, a terminated one has 0
    assert [codes[rows].tolist() for rows in data.inner_rows] == [
        [1008, 1009, 1010, 1012, 1013, 1014, 1015],
        [1104, 1106, 1107],
    ]


def test_few_rows_are_all_used_evenly() -> None:
    generator = np.random.default_rng(0)
    counts = np.bincount(uniform_rows(np.arange(4), 10, generator))
    assert sorted(counts) == [2, 2, 3, 3]
    assert len(set(uniform_rows(np.arange(50), 10, generator).tolist())) == 10


def test_a_history_without_a_complete_episode_is_refused(toy) -> None:
    with pytest.raises(BenchError, match="complete episode"):
        task_data(toy.coded_history([(-5,)]), MACAW.Config())


def test_a_backbone_is_refused(toy) -> None:
    with pytest.raises(UsageError, match="no backbone"):
        MACAW(MACAW.Config(), toy.backbone)
