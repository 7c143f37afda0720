"""MACAW end to end on points on a line: the contract, kills, and adaptation in one step to unseen tasks."""

import numpy as np
import pytest
import torch

from icrl_plugins.methods.macaw import MACAW
from icrl_plugins.methods.macaw.data import returns_to_go, stack, task_data, uniform_rows
from icrl_registry.contracts import AdaptationSetting, Transitions
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


def agent_of(toy, **settings):
    """An agent with barely trained networks: what it does when is not a matter of training."""
    method = MACAW(MACAW.Config(**{**SMALL, "updates": 2, **settings}))
    checkpoint = method.train(toy.job(make_histories(toy, [0.5, -0.5])))
    return method.agent(checkpoint, toy.spec, "cpu")


def adapts(agent) -> list[bool]:
    return (~agent.explores).tolist()


def test_online_it_explores_until_its_batch_is_full_and_then_acts_by_its_mean(toy) -> None:
    agent = agent_of(toy, adaptation_batch_size=25)  # episodes of 10 steps: three of them
    agent.begin(AdaptationSetting(2, 10, "online", np.random.SeedSequence(0)))
    steps = [(step % 10 == 9,) * 2 for step in range(30)]
    play_steps(agent, steps[:29])
    assert adapts(agent) == [False, False]
    assert not np.array_equal(*(agent.act(np.zeros((2, 1), np.float32)) for _ in range(2)))
    play_steps(agent, steps[29:])
    assert adapts(agent) == [True, True]
    observation = np.zeros((2, 1), np.float32)
    np.testing.assert_array_equal(agent.act(observation), agent.act(observation))
    assert agent.diagnostics()["rows_used"] == 25


def test_online_at_most_half_of_the_budget_is_explored(toy) -> None:
    agent = agent_of(toy)  # a batch of 60 would take six episodes
    returns = toy.adapt(agent, [0.4, 0.8], 4)
    assert adapts(agent) == [True, True]
    assert returns.shape == (2, 4)
    assert agent.diagnostics()["rows_used"] == 60  # 20 rows, each three times


def play_steps(agent, ends) -> None:
    """Steps of two tasks whose episodes end where `ends` (T, 2) says."""
    for end in ends:
        observations = np.zeros((2, 1), np.float32)
        actions = agent.act(observations)
        flags = np.array(end, dtype=np.bool_)
        everyone = np.ones(2, dtype=np.bool_)
        rewards = np.array([0.5, -0.5], np.float32)
        agent.observe(Transitions(observations, actions, rewards, observations + 0.1, flags, ~everyone, everyone))


def test_a_task_adapts_when_its_own_episodes_suffice_and_only_once(toy) -> None:
    agent = agent_of(toy, collect_episodes=2)
    agent.begin(AdaptationSetting(2, 10, "online", np.random.SeedSequence(0)))
    play_steps(agent, [(True, False), (True, False)])
    assert adapts(agent) == [True, False]
    before = [weights[0].clone() for weights in agent._policy]
    play_steps(agent, [(True, True), (True, True)])
    assert adapts(agent) == [True, True]
    assert all(torch.equal(old, new[0]) for old, new in zip(before, agent._policy, strict=True))


@pytest.mark.parametrize("sampling", ["latest", "uniform"])
def test_a_task_adapts_anew_after_each_of_its_episodes(toy, sampling: str) -> None:
    agent = agent_of(toy, collect_episodes=1, online_adaptation="every_episode", online_sampling=sampling)
    agent.begin(AdaptationSetting(2, 10, "online", np.random.SeedSequence(0)))
    play_steps(agent, [(True, True)])
    before = [weights.clone() for weights in agent._policy]
    play_steps(agent, [(False, False), (True, False)])
    changed = [
        not torch.equal(old[row], new[row]) for row in (0, 1) for old, new in zip(before, agent._policy, strict=True)
    ]
    assert any(changed[: len(before)])
    assert not any(changed[len(before) :])


def test_finetuning_moves_each_task_by_its_own_data_and_lowers_its_value_loss(toy) -> None:
    settings = {"finetune": True, "finetune_learning_rate": 1e-2, "finetune_value_updates": 20, "collect_episodes": 1}
    agent = agent_of(toy, **settings, finetune_policy_updates=3)
    agent.begin(AdaptationSetting(2, 10, "online", np.random.SeedSequence(0)))
    play_steps(agent, [(True, True)])
    adapted = [weights.clone() for weights in agent._policy]
    assert agent._experience.num_rows.tolist() == [0, 0]  # what was explored is not learned from
    play_steps(agent, [(True, False)] * 2)  # burn-in, and the first episode after it
    assert all(torch.equal(old, new) for old, new in zip(adapted, agent._policy, strict=True))
    play_steps(agent, [(True, False)])
    assert agent._experience.num_rows.tolist() == [3, 0]
    assert not torch.equal(adapted[0][0], agent._policy[0][0])
    assert torch.equal(adapted[0][1], agent._policy[0][1])
    tuning = agent._tuning[0]
    batch = stack([agent._experience.sample(0, agent.config, np.random.default_rng(0), "uniform")])
    first = agent.learner.inner_value_losses([weights[:1] for weights in agent._value], batch)
    after = agent.learner.inner_value_losses(tuning.value, batch)
    assert float(after.detach()) < 0.5 * float(first)


def test_offline_the_batch_is_the_given_history(toy) -> None:
    agent = agent_of(toy)
    given = make_histories(toy, [0.7, -0.7])
    agent.begin(AdaptationSetting(2, 3, "offline", np.random.SeedSequence(0), given))
    assert adapts(agent) == [True, True]
    observation = np.full((2, 1), 0.2, np.float32)
    first = agent.act(observation)
    np.testing.assert_array_equal(first, agent.act(observation))
    agent.begin(AdaptationSetting(2, 3, "offline", np.random.SeedSequence(0), given[::-1]))
    assert not np.array_equal(first, agent.act(observation))
    with pytest.raises(BenchError, match="no histories"):
        agent.begin(AdaptationSetting(2, 3, "offline", np.random.SeedSequence(0)))
