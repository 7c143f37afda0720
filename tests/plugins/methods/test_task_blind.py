"""The task-blind floor: the average late policy, the same in every episode."""

import numpy as np
import pytest
import torch

from icrl_plugins.methods.task_blind import TaskBlind, late_transitions
from icrl_registry.errors import BenchError, UsageError


class Killed(Exception):
    pass


def test_late_transitions_are_the_last_complete_episodes_of_every_stream(toy) -> None:
    history = toy.coded_history([(3, 2, 4, 1, 2), (5, 5, -2)])
    observations, actions = late_transitions([history], late_fraction=0.4, max_transitions=1000)
    codes = [1009, 1010, 1011, *range(1105, 1110)]  # two of five episodes, one of two
    assert observations[:, 0].tolist() == codes
    expected = [history.actions[0, [9, 10, 11]], history.actions[1, 5:10]]
    np.testing.assert_array_equal(actions, np.concatenate(expected))


def test_long_streams_are_thinned_evenly(toy) -> None:
    history = toy.coded_history([(50,), (50,)])
    observations, _ = late_transitions([history], late_fraction=1.0, max_transitions=10)
    assert observations[:, 0].tolist() == [1000, 1012, 1024, 1036, 1049, 1100, 1112, 1124, 1136, 1149]


def test_without_a_complete_episode_there_is_nothing_to_clone(toy) -> None:
    with pytest.raises(BenchError, match="complete episode"):
        late_transitions([toy.coded_history([(-5,)])], 0.2, 100)


def make_histories(toy, goals):
    return [toy.history(goal, 10, np.random.default_rng(index), index) for index, goal in enumerate(goals)]


def test_it_averages_over_tasks_and_never_adapts(toy) -> None:
    goals = [0.6, -0.6] * 4
    method = TaskBlind(TaskBlind.Config(updates=300))
    agent = method.agent(method.train(toy.job(make_histories(toy, goals))), toy.spec, "cpu")
    returns = toy.adapt(agent, goals, 4)
    # pulled both ways it stays near the middle: each step costs about |g|, episode after episode
    assert returns.mean() == pytest.approx(-0.6 * toy.horizon, rel=0.15)
    assert np.ptp(returns.mean(axis=0)) < 1.0
    observation = np.zeros((2, 1), np.float32)
    np.testing.assert_array_equal(agent.act(observation), agent.act(observation))


def test_with_one_task_it_is_plain_behaviour_cloning(toy) -> None:
    method = TaskBlind(TaskBlind.Config(updates=300))
    checkpoint = method.train(toy.job(make_histories(toy, [0.8] * 4)))
    returns = toy.adapt(method.agent(checkpoint, toy.spec, "cpu"), [0.8] * 4, 2)
    assert returns.mean() > -0.2 * toy.horizon
    assert method.parameter_count(checkpoint) == (1 + 1) * 128 + (128 + 1) * 128 + (128 + 1)


def test_killed_it_ends_with_the_same_bytes(toy) -> None:
    method = TaskBlind(TaskBlind.Config(updates=30, checkpoint_every=8))
    histories = make_histories(toy, [0.5, -0.5])
    before = torch.get_rng_state()
    straight = method.train(toy.job(histories))
    assert torch.equal(torch.get_rng_state(), before)

    def report(done: int, total: int, metrics) -> None:
        if done == 21:
            raise Killed

    store = toy.MemoryStore()
    with pytest.raises(Killed):
        method.train(toy.job(histories, store, report=report))
    assert store.saves == 2
    resumed = method.train(toy.job(histories, store))
    assert all(np.array_equal(tensor, resumed.tensors[name]) for name, tensor in straight.tensors.items())


def test_a_backbone_is_refused(toy) -> None:
    with pytest.raises(UsageError, match="no backbone"):
        TaskBlind(TaskBlind.Config(), toy.backbone)
