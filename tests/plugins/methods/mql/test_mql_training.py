"""Meta-training: resumable to the same bytes, metered, choosing by validation; the conformance checks."""

from __future__ import annotations

import numpy as np
import pytest

from icrl_plugins.methods.mql import MQL
from icrl_registry.discovery import Plugin, PluginEntry
from icrl_registry.errors import UsageError
from icrl_registry.testing.conformance import run_checks
from icrl_registry.testing.method_trials import Interrupted, MemoryStore, pack, play
from icrl_registry.testing.toy import ToyPoint

TINY = {**MQL.conformance_settings, "replay_size": 120, "validation_every": 5, "select_best": True}


def validate_by_play(environment: ToyPoint):
    """The mean return over two validation tasks."""

    def validate(agent):
        return {"last_episodes": float(play(agent, environment.tasks(2, seed=1), num_episodes=2).rewards.mean())}

    return validate


@pytest.mark.parametrize(("saves", "more"), [(1, {}), (2, {"standardise": True}), (1, {"context_size": 0})])
def test_killed_and_resumed_ends_with_the_same_bytes(mql, saves, more):
    """With a replay that is full, and the best parameters so far among the progress."""
    environment = ToyPoint()
    tasks, validate = environment.tasks(4), validate_by_play(environment)
    settings = {**TINY, "propensity_features": "context_and_observation", **more}
    _, whole = mql.train_toy(environment, tasks, validate=validate, **settings)
    store = MemoryStore(interrupt_after=saves)
    with pytest.raises(Interrupted):
        mql.train_toy(environment, tasks, validate=validate, store=store, **settings)
    store.interrupt_after = None
    _, resumed = mql.train_toy(environment, tasks, validate=validate, store=store, **settings)
    assert pack(whole) == pack(resumed)


def test_passes_the_conformance_checks():
    plugin = Plugin(PluginEntry("method", "mql", "icrl_plugins.methods.mql:MQL", "icrl-bench", "0"), MQL, "0")
    results = run_checks(plugin)
    assert [f"{each.name}: {each.message}" for each in results if not each.passed] == []
    resumes = next(each for each in results if each.name == "resumes_where_it_was_killed")
    assert resumes.message == ""  # it was killed indeed


def test_rounds_and_steps_are_what_the_settings_say(mql):
    environment, reports = ToyPoint(), []
    settings = {**TINY, "select_best": False, "validation_every": 0, "replay_size": 10_000}
    _, checkpoint = mql.train_toy(
        environment,
        environment.tasks(4),
        report=lambda done, total, metrics: reports.append((done, total, metrics)),
        **{**settings, "initial_steps_per_task": 7, "initial_episode_fraction": 0.3},
    )
    initial = 3 * 4 * 3  # cut after 3 steps, 4 tasks in turn: the third pass reaches 28
    assert [(done, total) for done, total, _ in reports] == [(4, 12), (8, 12), (12, 12)]
    assert reports[-1][2]["env_steps"] == initial + 3 * 3 * 10
    lengths = checkpoint.tensors["replay.lengths"]
    assert (lengths[:12] == 3).all()
    assert (lengths[12:] == 10).all()
    assert sorted(checkpoint.tensors["replay.tasks"][:4]) == [0, 1, 2, 3]
    assert checkpoint.tensors["replay.terminated"].sum() == 0


def test_short_rounds_come_first(mql):
    environment, done = ToyPoint(), []
    settings = {**TINY, "select_best": False, "validation_every": 0, "short_rounds_until": 101, "updates": 30}
    mql.train_toy(
        environment,
        environment.tasks(4),
        report=lambda at, total, metrics: done.append(at),
        **settings | {"replay_size": 9999},
    )
    assert done[:3] == [10, 20, 24]  # 10 steps an episode; 70 and 100 transitions, then rounds of 4


def test_more_episodes_than_tasks_are_shared_out(mql):
    environment = ToyPoint()
    settings = {**TINY, "select_best": False, "validation_every": 0, "episodes_per_round": 5, "replay_size": 9999}
    _, checkpoint = mql.train_toy(environment, environment.tasks(2), **settings)
    assert set(checkpoint.tensors["replay.tasks"]) == {0, 1}


def test_the_best_validation_is_kept(mql):
    environment, scores = ToyPoint(), iter([1.0, 5.0, 2.0])
    settings = {**TINY, "validation_every": 4}
    seen = []

    def validate(agent):
        seen.append(next(iter(agent.meta.networks.parameters())).detach().numpy().copy())
        return {"last_episodes": next(scores)}

    method, checkpoint = mql.train_toy(environment, environment.tasks(4), validate=validate, **settings)
    assert checkpoint.state["best_update"] == 8
    agent = method.agent(checkpoint, environment.spec, "cpu")
    np.testing.assert_array_equal(next(iter(agent.meta.networks.parameters())).detach().numpy(), seen[1])


def test_the_checkpoint_keeps_as_much_replay_as_asked(mql):
    environment = ToyPoint()
    settings = {**TINY, "select_best": False, "validation_every": 0, "adaptation_replay_size": 45}
    method, checkpoint = mql.train_toy(environment, environment.tasks(4), **settings)
    assert checkpoint.tensors["replay.lengths"].sum() == 40
    assert checkpoint.tensors["replay.rows"].dtype == np.float32
    play(method.agent(checkpoint, environment.spec, "cpu"), environment.tasks(2, seed=3))


def test_it_takes_no_backbone():
    with pytest.raises(UsageError, match="no backbone"):
        MQL(MQL.Config(), lambda context_length: None)


def test_targets_are_not_counted_as_parameters(mql):
    environment = ToyPoint()
    settings = {**TINY, "select_best": False, "validation_every": 0}
    method, checkpoint = mql.train_toy(environment, environment.tasks(2), **settings)
    gru, features = 3 * 4 * (5 + 4 + 2), 2 + 4
    actor = gru + (features * 16 + 16) + (16 * 16 + 16) + (16 * 2 + 2)
    critic = gru + 2 * ((features + 2) * 16 + 16 + (16 * 16 + 16) + (16 + 1))
    assert method.parameter_count(checkpoint) == actor + critic


def test_standardised_replay_and_the_agents_view_of_it(mql):
    """Random episodes have mean 0 and spread 1, what is learned mean square 1; an agent keeps its own on the same scale."""
    environment = ToyPoint()
    settings = {**TINY, "select_best": False, "validation_every": 0, "standardise": True, "replay_size": 9999}
    method, checkpoint = mql.train_toy(environment, environment.tasks(4), **{**settings, "initial_steps_least": 400})
    first = int((checkpoint.tensors["replay.lengths"] == 2).sum())  # random episodes, cut at a quarter of 10 steps
    rows = checkpoint.tensors["replay.rows"][: 4 * first].reshape(first, 4, 5)[:, 1:3].reshape(-1, 5)
    np.testing.assert_allclose(rows[:, 2:].mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(rows[:, 2:].std(axis=0), 1, atol=1e-3)
    agent = method.agent(checkpoint, environment.spec, "cpu")
    learned = agent.meta.replay.batch(np.arange(2 * first)[None], 3).rewards[0].numpy()
    np.testing.assert_allclose(np.square(learned).mean(), 1, atol=1e-3)
    assert (learned < 0).all()  # distances: scaled, not shifted
    rewards = play(agent, environment.tasks(2, seed=3), num_episodes=1).rewards  # (T, K)
    kept = np.stack([episodes[0].rows[1:-1, 2] for episodes in agent._own], axis=1)
    np.testing.assert_allclose(kept, agent.meta.replay.standardisation.reward(rewards), rtol=1e-4, atol=1e-5)
