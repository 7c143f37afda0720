"""ic-td3bc: its targets by hand, which loss reaches which parameters, and training that survives interruption."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from icrl_plugins.methods.in_context_td3bc import InContextTD3BC, Steps, TD3BCLearner

SMALL = {
    "episode_sampling": "random",
    "episodes_per_window": 2,
    "batch_size": 4,
    "updates": 6,
    "checkpoint_every": 2,
    "token_noise": 0.0,
    "dropout": 0.0,
    "tau": 0.1,
    "head_size": 16,
}


def make_learner(toy, histories, **settings) -> TD3BCLearner:
    method = InContextTD3BC(InContextTD3BC.Config(**{**SMALL, **settings}), toy.backbone)
    learner = method.make_learner(toy.job(histories))
    assert isinstance(learner, TD3BCLearner)
    return learner


@pytest.fixture(scope="module")
def histories(toy):
    generator = np.random.default_rng(0)
    return [toy.aimless(goal, 8, generator, index) for index, goal in enumerate([0.5, -0.7, 0.9])]


@pytest.fixture(scope="module")
def ending(histories):
    """The same, with some episodes that end because the MDP does."""
    terminated = histories[0].truncated & (np.arange(80) // 10 % 2 == 0)
    return [replace(h, terminated=terminated, truncated=h.truncated & ~terminated) for h in histories]


def tensors(*arrays):
    return tuple(torch.from_numpy(array) for array in arrays)


def steps_of(learner: TD3BCLearner, batch) -> Steps:
    rewards = {i: learner.normalisation.rewards(w.stream.rewards[w.current]) for i, w in enumerate(batch.windows)}
    return Steps.of(batch, rewards)


def test_steps_have_a_target_where_the_next_token_is_their_successor_or_they_have_none(toy, ending) -> None:
    learner = make_learner(toy, ending)
    batch = learner.batch(0)
    steps = steps_of(learner, batch)
    for row, window in enumerate(batch.windows):
        for t, step in enumerate(window.current):
            last = t + 1 == window.count
            successor = not last and np.array_equal(
                window.stream.observations[window.current[t + 1]], ending[0].next_observations[0, step]
            )
            follows = not last and window.current[t + 1] == step + 1 and (step + 1) % toy.horizon != 0
            assert steps.has_target[row, t] == (follows or window.stream.terminated[step])
            assert steps.terminated[row, t] == window.stream.terminated[step]
            assert follows or not successor
    assert steps.terminated.any()
    assert not steps.has_target.all()


def test_targets_are_those_of_td3_step_by_step(toy, ending) -> None:
    """The formula of the module, a token at a time: the context of t + 1 is the target network's state after it."""
    learner = make_learner(toy, ending, target_noise=0.0, discount=0.8)
    for parameter in learner.target.parameters():  # so that target and online network differ
        parameter.data += 0.05
    batch = learner.batch(0)
    steps = steps_of(learner, batch)
    tokens, rewards, terminated = tensors(batch.tokens, steps.rewards, steps.terminated)
    found = learner.target_values(tokens, rewards, terminated)
    target, state, features = learner.target, learner.target.initial_state(len(tokens)), []
    with torch.no_grad():
        for t in range(tokens.shape[1]):
            (embedded,) = target._embed(tokens[:, t])
            output, state = target.backbone.step(embedded, state)
            features.append(target.norm(output))
        for row, t in np.argwhere(steps.has_target):
            if steps.terminated[row, t]:
                worth = learner.normalisation.rewards(np.zeros(1, np.float32))[0] / (1 - 0.8)
            else:
                feature = features[t + 1][row]
                both = torch.cat([feature, torch.tanh(target.actor(feature))])
                worth = min(float(target.critics.first(both)), float(target.critics.second(both)))
            assert float(found[row, t]) == pytest.approx(float(rewards[row, t]) + 0.8 * worth, abs=1e-5)


def test_a_shift_of_all_rewards_changes_no_target_but_by_what_it_is_worth(toy, ending) -> None:
    """Standardised: (r - mean) / std has the value (V - mean / (1 - γ)) / std, in a terminal state (0 - …) / std."""
    learner = make_learner(toy, ending, reward_normalisation="standardise", discount=0.9)
    mean, scale = learner.normalisation.reward_mean, learner.normalisation.reward_scale
    assert mean != 0
    assert learner.terminal_value == pytest.approx((0 - mean / (1 - 0.9)) * scale, rel=1e-5)
    assert make_learner(toy, ending).terminal_value == 0


@pytest.mark.parametrize("what", ["critics", "actor", "actor, cloning shapes features"])
def test_each_loss_reaches_its_own_parameters(toy, histories, what: str) -> None:
    learner = make_learner(toy, histories, policy_frequency=1, cloning_shapes_features="cloning" in what)
    batch = learner.batch(0)
    tokens, actions, mask = tensors(batch.tokens, batch.targets, batch.mask)
    model = learner.actor_critic
    if what != "critics":
        learner.actor_loss(model.features(tokens), actions, mask)[0].backward()
    else:
        learner.settings = learner.settings.model_copy(update={"policy_frequency": 2})
        learner.training.update = 1  # an update without the actor
        learner.loss(batch)[0].backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    names = {name for name, _ in model.named_parameters()}
    actor, critics = ({name for name in names if name.startswith(head)} for head in ("actor.", "critics."))
    assert (
        reached == {"critics": names - actor, "actor": actor, "actor, cloning shapes features": names - critics}[what]
    )
    assert all(parameter.grad is None for parameter in learner.target.parameters())


def test_the_actor_climbs_the_first_critic(toy, histories) -> None:
    """Without behaviour cloning, at fixed critics: the loss's gradient is that of -Q₁ / mean|Q₁| by finite differences."""
    learner = make_learner(toy, histories, bc_weight=0.0)
    model = learner.actor_critic.double()
    batch = learner.batch(0)
    tokens, actions, mask = tensors(batch.tokens.astype(np.float64), batch.targets.astype(np.float64), batch.mask)
    features = model.features(tokens).detach()
    scale = model.critics(features, model.read_action(features))[0].abs()[mask].mean().item()
    learner.actor_loss(features, actions, mask)[0].backward()
    bias = model.actor[-1].bias
    values = []
    for shift in (1e-5, -1e-5):
        with torch.no_grad():
            bias += shift
            values.append(model.critics(features, model.read_action(features))[0][mask].mean().item())
            bias -= shift
    assert bias.grad.item() == pytest.approx(-(values[0] - values[1]) / 2e-5 / scale, rel=1e-4)


@pytest.mark.parametrize("at", [1, 4])
def test_killed_anywhere_it_ends_with_the_same_bytes(toy, histories, at: int) -> None:
    method = InContextTD3BC(InContextTD3BC.Config(**SMALL), toy.backbone)
    straight = method.train(toy.job(histories))
    store = toy.MemoryStore()

    class Killed(Exception):
        pass

    def kill(done: int, total: int, metrics) -> None:
        if done == at:
            raise Killed

    with pytest.raises(Killed):
        method.train(toy.job(histories, store, report=kill))
    resumed = method.train(toy.job(histories, store))
    assert straight.state == resumed.state
    assert set(straight.tensors) == set(resumed.tensors)
    for name, tensor in straight.tensors.items():
        np.testing.assert_array_equal(tensor, resumed.tensors[name], err_msg=name)


def test_the_target_follows_at_its_rate(toy, histories) -> None:
    learner = make_learner(toy, histories)
    before = [parameter.clone() for parameter in learner.target.parameters()]
    next(learner.updates())
    for old, new, online in zip(before, learner.target.parameters(), learner.model.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * online.detach())
