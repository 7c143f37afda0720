"""Adaptation: rolled back exactly, each task by itself, λ as the paper has it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from icrl_plugins.methods.mql.adaptation import adapt, proximal_coefficients
from icrl_plugins.methods.mql.agent import MQLAgent
from icrl_plugins.methods.mql.collection import EpisodeCollector
from icrl_plugins.methods.mql.config import MQLConfig
from icrl_plugins.methods.mql.td3 import TD3, target_tensors
from icrl_plugins.training.checkpoints import module_tensors
from icrl_registry.contracts import AdaptationSetting, Transitions
from icrl_registry.testing.toy import ToyPoint

K, H = 3, 8


def play(agent: MQLAgent, num_episodes: int, seed: int = 0, shifts=(0.0, 2.0, 4.0), ends=(H, H, H)) -> np.ndarray:
    """Random observations, tasks that differ in their rewards, and in when their first episodes end; actions (T, K, A)."""
    generator = np.random.default_rng(seed)
    agent.begin(AdaptationSetting(K, num_episodes, "online", np.random.SeedSequence(seed)))
    elapsed, actions = np.zeros(K, dtype=int), []
    first = np.ones(K, dtype=bool)
    for _ in range(num_episodes * H):
        observations, following = (generator.uniform(-1, 1, (K, 3)).astype(np.float32) for _ in range(2))
        chosen = agent.act(observations)
        actions.append(chosen)
        elapsed += 1
        terminated = first & (elapsed == np.array(ends)) & (np.array(ends) < H)
        truncated = elapsed == H
        first &= ~(terminated | truncated)
        elapsed[terminated | truncated] = 0
        rewards = np.asarray(shifts, dtype=np.float32)
        taken = generator.uniform(-1, 1, chosen.shape).astype(np.float32)  # so that histories don't depend on the agent
        agent.observe(
            Transitions(observations, taken, rewards, following, terminated, truncated, np.ones(K, dtype=np.bool_))
        )
    return np.stack(actions)


def parameters(networks) -> dict[str, np.ndarray]:
    return module_tensors(networks)


def test_adapting_changes_every_task_and_begin_rolls_all_back_exactly(mql):
    meta = mql.meta()
    agent = MQLAgent(meta, mql.spec, "cpu")
    before = {**parameters(meta.networks), **target_tensors(meta.targets), **meta.replay.tensors()}
    first = play(agent, 3)
    for name, tensor in parameters(agent.networks).items():
        for task in range(K):
            if name.startswith("model.actor"):
                assert not np.array_equal(tensor[task], before[name][0]), name
    after = {**parameters(meta.networks), **target_tensors(meta.targets), **meta.replay.tensors()}
    for name, tensor in before.items():
        np.testing.assert_array_equal(tensor, after[name], name)
    play(agent, 2, seed=5)  # elsewhere
    agent.begin(AdaptationSetting(K, 3, "online", np.random.SeedSequence(0)))
    for name, tensor in parameters(agent.networks).items():
        for task in range(K):
            np.testing.assert_array_equal(tensor[task], before[name][0], name)
    np.testing.assert_array_equal(play(agent, 3), first)


def test_every_adaptation_has_optimisers_without_memory(mql, monkeypatch):
    learners: list[TD3] = []
    make = TD3.__init__

    def remember(self, *arguments):
        make(self, *arguments)
        assert not self.actor_optimiser.state
        assert not self.critic_optimiser.state
        learners.append(self)

    monkeypatch.setattr(TD3, "__init__", remember)
    meta = mql.meta(readapt_every=1)
    play(MQLAgent(meta, mql.spec, "cpu"), 3)
    assert len(learners) == 3
    assert all(learner.critic_optimiser.state for learner in learners)
    steps = {float(state["step"]) for learner in learners for state in learner.critic_optimiser.state.values()}
    assert steps == {meta.config.own_updates + meta.config.replay_updates}


def test_the_first_episode_is_the_meta_trained_policys(mql):
    """And nothing changes before it has ended."""
    adapting, fixed = mql.meta(), mql.meta(own_updates=0, replay_updates=0, pad_evaluation=True)
    first, second = (play(MQLAgent(meta, mql.spec, "cpu"), 2) for meta in (adapting, fixed))
    np.testing.assert_array_equal(first[:H], second[:H])
    assert not np.array_equal(first[H:], second[H:])


def test_tasks_that_end_apart_adapt_as_they_would_alone(mql):
    """One episode ends early; what its task does afterwards is what it would have done in other company."""
    meta = mql.meta()
    early = play(MQLAgent(meta, mql.spec, "cpu"), 2, ends=(5, H, H))
    changed = play(MQLAgent(meta, mql.spec, "cpu"), 2, ends=(5, H, H), shifts=(0.0, -3.0, 9.0))
    np.testing.assert_array_equal(early[:, 0], changed[:, 0])
    assert not np.array_equal(early[:, 1], changed[:, 1])


def test_histories_after_adaptation(mql):
    """Published: no padding then. Unbounded histories differ from windows once an episode is longer than these."""
    base = {"own_updates": 0, "replay_updates": 0}
    unpadded, padded, unbounded = (
        play(MQLAgent(mql.meta(**base, **more), mql.spec, "cpu"), 2)
        for more in ({}, {"pad_evaluation": True}, {"unbounded_history": True})
    )
    np.testing.assert_array_equal(unpadded[:H], padded[:H])
    assert (unpadded[H : H + 2] != padded[H : H + 2]).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(unpadded[H + 2 :], padded[H + 2 :])  # 3 tuples: the window is full
    np.testing.assert_array_equal(unpadded[: H + 3], unbounded[: H + 3])
    assert (unpadded[H + 3 :] != unbounded[H + 3 :]).any(axis=(1, 2)).all()


def test_unbounded_histories_are_the_whole_episode(mql):
    """Equal to windows that are as long as an episode."""
    base = {"own_updates": 0, "replay_updates": 0}
    short = mql.meta(**base, unbounded_history=True)
    long = mql.meta(**base, history_length=H + 1)
    first, second = (play(MQLAgent(meta, mql.spec, "cpu"), 2) for meta in (short, long))
    np.testing.assert_allclose(first[H:], second[H:], atol=1e-6)


def test_diagnostics_say_what_happened(mql):
    agent = MQLAgent(mql.meta(), mql.spec, "cpu")
    play(agent, 2)
    numbers = agent.diagnostics()
    assert numbers["return_before_adaptation"] == pytest.approx(2.0 * H)
    assert numbers["return_after_adaptation"] == pytest.approx(2.0 * H)
    assert numbers["adaptations"] == 1
    assert 0.5 <= numbers["classifier_accuracy"] <= 1
    assert 0 <= numbers["effective_sample_size"] <= 1
    assert 0 <= numbers["zero_weight_fraction"] <= 1
    assert 0 <= numbers["proximal"] <= 1


def test_data_like_meta_trainings_get_weights_near_one(mql):
    """The same distribution: the classifier can't tell, so β ≈ 1, the effective sample size ≈ 1 and λ ≈ 0."""
    meta = mql.meta(propensity_regularisation=0.01)
    generator = np.random.default_rng(2)
    own = [[mql.episode(generator, 8, shift) for shift in range(4)] for _ in range(2)]
    _, diagnostics = adapt(meta, own, [np.random.SeedSequence(s) for s in range(2)])
    for each in diagnostics:
        assert each["mean_weight"] == pytest.approx(1, abs=0.3)
        assert each["effective_sample_size"] > 0.9
        assert each["proximal"] < 0.1


def test_proximal_coefficients():
    weights = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    of_sample_size = MQLConfig(proximal="ess", proximal_coefficient=0.3)
    np.testing.assert_allclose(proximal_coefficients(weights, of_sample_size), [0.0, 0.5, 1.0])
    np.testing.assert_allclose(proximal_coefficients(weights, MQLConfig(proximal="fixed")), [0.1, 0.1, 0.1])


@pytest.mark.parametrize(("settings", "deviation"), [({}, 0.3), ({"dummy_action_std": 0.05}, 0.05)])
def test_the_action_before_an_episode_is_drawn_as_exploration_is(mql, settings, deviation):
    meta = mql.meta(exploration_noise=0.3, **settings)
    agent = MQLAgent(meta, mql.spec, "cpu")
    agent.begin(AdaptationSetting(500, 1, "online", np.random.SeedSequence(0)))
    agent.act(np.zeros((500, 3), dtype=np.float32))
    assert agent._running.newest()[:, :2].std() == pytest.approx(deviation, rel=0.1)
    point = ToyPoint()
    collector = EpisodeCollector(point.make_batch(point.tasks(500)), point.spec, meta.config, "cpu")
    collected = collector.random(np.arange(500), 1, np.random.SeedSequence(0))
    first = np.stack([each.episode.rows[0, :2] for each in collected])
    assert first.std() == pytest.approx(deviation, rel=0.1)


def test_a_strong_pull_holds_the_parameters(mql):
    generator = np.random.default_rng(0)
    own, seeds = [[mql.episode(generator, 8, 3.0)]], [np.random.SeedSequence(0)]
    moved = []
    for pull in (0.0, 100.0):
        meta = mql.meta(proximal="fixed", proximal_coefficient=pull, own_updates=0, replay_updates=40)
        learner, _ = adapt(meta, own, seeds)
        pairs = zip(learner.networks.actor.parameters(), meta.networks.actor.parameters(), strict=True)
        moved.append(sum(float((mine - fixed).detach().square().sum()) for mine, fixed in pairs))
    assert moved[1] < 0.2 * moved[0]


def test_replay_features_are_the_actors_contexts(mql):
    meta = mql.meta(propensity_features="context_and_observation")
    batch = meta.replay.batch(np.array([[0, 9, 17]]), 3)
    with torch.no_grad():
        contexts = meta.networks.actor.encode(batch.histories)[0]
    expected = torch.cat([batch.observations[0], contexts], dim=-1).numpy()
    np.testing.assert_allclose(meta.features()[[0, 9, 17]], expected, atol=1e-6)


def test_settings_that_contradict_each_other_are_refused():
    for settings in (SimpleNamespace(select_best=True), SimpleNamespace(context_size=0)):
        with pytest.raises(ValueError, match=r"validation_every|context_and_observation"):
            MQLConfig(**vars(settings))
