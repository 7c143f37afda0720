"""One update of the population against stable-baselines3's own update of each task, on the same batch and noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC as Sb3Algorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from icrl_plugins.networks.stacked_layers import StackedLayerNorm, StackedLinear
from icrl_plugins.sources.population.droq import DroQLearner, PopulationDroQConfig
from icrl_plugins.sources.population.sac import NUM_CRITICS, PopulationSACConfig, SACLearner
from icrl_plugins.sources.recording import HistoryRecorder, TransitionColumns
from icrl_plugins.sources.stable_baselines3.droq import DroQAlgorithm as Sb3DroQAlgorithm
from icrl_plugins.sources.stable_baselines3.droq import DroQPolicy
from icrl_registry.contracts import EnvironmentSpec
from icrl_registry.testing.toy import ToyPoint

TASKS, BATCH, WIDTHS = 3, 32, (12, 9)
SPEC = EnvironmentSpec("toy-point-v1", observation_size=2, action_size=2, horizon=10)
COLUMNS = TransitionColumns(2, 2)
SETTINGS = {
    "hidden_sizes": WIDTHS,
    "batch_size": BATCH,
    "learning_rate": 1e-2,
    "discount": 0.9,
    "tau": 0.1,
    "initial_temperature": 0.3,
    "target_entropy": -1.3,
}


def sb3_model(algorithm_type, policy_type, policy_kwargs, seed: int, **arguments):
    toy = ToyPoint()
    model = algorithm_type(
        policy_type,
        DummyVecEnv([lambda: toy.make(toy.tasks(1)[0])]),
        learning_rate=SETTINGS["learning_rate"],
        gamma=SETTINGS["discount"],
        tau=SETTINGS["tau"],
        ent_coef=f"auto_{SETTINGS['initial_temperature']}",
        target_entropy=SETTINGS["target_entropy"],
        policy_kwargs={"net_arch": list(WIDTHS), **policy_kwargs},
        seed=seed,
        device="cpu",
        buffer_size=10,
        **arguments,
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    model.policy.double()
    model.log_ent_coef = model.log_ent_coef.detach().double().requires_grad_(True)
    model.ent_coef_optimizer = torch.optim.Adam([model.log_ent_coef], lr=SETTINGS["learning_rate"])
    return model


def load_actor(learner: SACLearner, task: int, actor: nn.Module) -> None:
    layers = [layer for layer in learner.actor if isinstance(layer, StackedLinear)]
    for mine, theirs in zip(layers[:-1], [m for m in actor.latent_pi if isinstance(m, nn.Linear)], strict=True):
        mine.load(task, theirs)
    with torch.no_grad():
        layers[-1].weight[task].copy_(torch.cat([actor.mu.weight, actor.log_std.weight]).T)
        layers[-1].bias[task, 0].copy_(torch.cat([actor.mu.bias, actor.log_std.bias]))


def load_critics(stacked: nn.Sequential, task: int, critic: nn.Module) -> None:
    layers = [layer for layer in stacked if isinstance(layer, StackedLinear | StackedLayerNorm)]
    for number, network in enumerate(critic.q_networks):
        index = task * NUM_CRITICS + number
        for mine, theirs in zip(layers, [m for m in network if isinstance(m, nn.Linear | nn.LayerNorm)], strict=True):
            if isinstance(mine, StackedLinear):
                mine.load(index, theirs)


def learner_of(learner_type, config, models) -> SACLearner:
    learner = learner_type(SPEC, config, 1000, [np.random.SeedSequence(seed) for seed in range(len(models))])
    learner.networks.double()
    learner._make_optimisers()
    for task, model in enumerate(models):
        load_actor(learner, task, model.actor)
        load_critics(learner.critics, task, model.critic)
        load_critics(learner.targets, task, model.critic_target)
    return learner


def batches(generator: torch.Generator) -> torch.Tensor:
    """(K, B, columns), some of them terminal."""
    batch = torch.randn(TASKS, BATCH, COLUMNS.width, generator=generator, dtype=torch.float64)
    batch[..., COLUMNS.actions] = batch[..., COLUMNS.actions].tanh()
    batch[..., COLUMNS.terminated] = (torch.rand(TASKS, BATCH, generator=generator) < 0.2).double()
    return batch


def sb3_update(model, batch: torch.Tensor, noise: list[torch.Tensor], monkeypatch) -> None:
    """`noise`: what its draws give, in turn."""
    samples = ReplayBufferSamples(
        batch[:, COLUMNS.observations],
        batch[:, COLUMNS.actions],
        batch[:, COLUMNS.next_observations],
        batch[:, COLUMNS.terminated, None],
        batch[:, COLUMNS.reward, None],
    )
    queue = list(noise)
    # The library casts observations to float32 on their way into the networks.
    monkeypatch.setattr("stable_baselines3.common.policies.preprocess_obs", lambda values, *args, **kwargs: values)
    monkeypatch.setattr(model.replay_buffer, "sample", lambda *args, **kwargs: samples)
    monkeypatch.setattr("torch.distributions.normal._standard_normal", lambda *args, **kwargs: queue.pop(0))
    model.train(gradient_steps=1, batch_size=BATCH)
    assert not queue


def assert_equal_networks(learner: SACLearner, models, reference: SACLearner) -> None:
    """`reference` holds the models' parameters after their update, in the learner's layout."""
    for (name, mine), theirs in zip(learner.networks.named_parameters(), reference.networks.parameters(), strict=True):
        if name != "log_temperature":
            torch.testing.assert_close(
                mine, theirs, rtol=1e-7, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
            )
    temperatures = torch.stack([model.log_ent_coef.detach() for model in models])[..., None]
    torch.testing.assert_close(learner.log_temperature.detach(), temperatures, rtol=1e-9, atol=1e-10)


def test_sac_updates_are_those_of_stable_baselines3(monkeypatch):
    models = [sb3_model(Sb3Algorithm, SACPolicy, {}, seed) for seed in range(TASKS)]
    config = PopulationSACConfig(**SETTINGS)
    learner = learner_of(SACLearner, config, models)
    before = learner.actor[0].weight.detach().clone()
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        batch = batches(generator)
        noise = torch.randn(TASKS, 2, BATCH, 2, generator=generator, dtype=torch.float64)
        monkeypatch.setattr(learner.streams, "normal", lambda *shape, noise=noise: noise)
        learner.update(batch, COLUMNS)
        for task, model in enumerate(models):
            sb3_update(model, batch[task], [noise[task, 0], noise[task, 1]], monkeypatch)
    assert_equal_networks(learner, models, learner_of(SACLearner, config, models))
    assert not torch.allclose(learner.actor[0].weight, before, atol=1e-3)
    assert not torch.allclose(learner.log_temperature, torch.tensor(np.log(0.3)), atol=1e-3)


def test_droq_updates_are_those_of_the_reference(monkeypatch):
    """Without dropout, whose masks come from other generators; with layer normalisation and a policy delay of two."""
    delays = {"policy_delay": 2}
    models = [
        sb3_model(Sb3DroQAlgorithm, DroQPolicy, {"dropout": 0.0, "layer_norm": True}, seed, **delays)
        for seed in range(TASKS)
    ]
    config = PopulationDroQConfig(**SETTINGS, dropout=0.0, **delays)
    learner = learner_of(DroQLearner, config, models)
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 5):
        batch = batches(generator)
        noise = torch.randn(TASKS, 2, BATCH, 2, generator=generator, dtype=torch.float64)
        monkeypatch.setattr(learner.streams, "normal", lambda *shape, noise=noise: noise)
        actor = learner.actor[0].weight.detach().clone()
        learner.update(batch, COLUMNS)
        assert torch.equal(actor, learner.actor[0].weight) == (step % 2 == 1)
        for task, model in enumerate(models):
            draws = [noise[task, 1]] if step % 2 else [noise[task, 0], noise[task, 1]]
            sb3_update(model, batch[task], draws, monkeypatch)
    reference = learner_of(DroQLearner, config, models)
    for stacked, name in ((reference.critics, "critic"), (reference.targets, "critic_target")):
        norms = [layer for layer in stacked if isinstance(layer, StackedLayerNorm)]
        for task, model in enumerate(models):
            for number, network in enumerate(getattr(model, name).q_networks):
                theirs = [layer for layer in network if isinstance(layer, nn.LayerNorm)]
                with torch.no_grad():
                    for mine, norm in zip(norms, theirs, strict=True):
                        mine.weight[task * 2 + number, 0] = norm.weight
                        mine.bias[task * 2 + number, 0] = norm.bias
    assert_equal_networks(learner, models, reference)


def test_critics_of_droq_are_linear_dropout_norm_relu():
    learner = DroQLearner(SPEC, PopulationDroQConfig(hidden_sizes=(8, 8)), 1000, [np.random.SeedSequence(0)])
    kinds = ["StackedLinear", "StackedDropout", "StackedLayerNorm", "ReLU"] * 2 + ["StackedLinear"]
    for critics in (learner.critics, learner.targets):
        assert [type(layer).__name__ for layer in critics] == kinds
    assert [type(layer).__name__ for layer in learner.actor] == ["StackedLinear", "ReLU"] * 2 + ["StackedLinear"]


def test_dropout_is_active_in_the_target_critics_with_fresh_masks():
    learner = DroQLearner(
        SPEC, PopulationDroQConfig(hidden_sizes=(8, 8), dropout=0.3), 1000, [np.random.SeedSequence(0)]
    )
    batch = batches(torch.Generator().manual_seed(0))[:1].float()
    noise, temperature = torch.zeros(1, BATCH, 2), torch.ones(1, 1, 1)
    first, second = (learner.target_q_values(batch, COLUMNS, noise, temperature) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("buffer_size", "oldest"), [(1_000_000, 0), (12, 3)])
def test_replay_is_uniform_over_the_last_transitions_of_the_own_task(buffer_size, oldest):
    toy, streams, steps = ToyPoint(), 2, 9
    tasks = toy.tasks(2)
    recorder = HistoryRecorder(
        toy.make_batch([task for task in tasks for _ in range(streams)]), tasks, toy.spec, steps + 5
    )
    for row in range(4):
        recorder.reset(row, seed=row)
    for _ in range(steps):
        recorder.step(np.zeros((4, 2), np.float32))
    recorder.rewards[:] = np.arange(4 * (steps + 5)).reshape(4, -1)  # every place its own number
    config = PopulationSACConfig(buffer_size=buffer_size, batch_size=6_000, num_envs=streams)
    learner = SACLearner(SPEC, config, 1000, [np.random.SeedSequence(seed) for seed in range(2)])
    drawn = learner.sample(recorder)[..., recorder.columns.reward].numpy()
    for index in range(2):
        places = recorder.rewards[index * streams : (index + 1) * streams, oldest:steps].ravel()
        found, counts = np.unique(drawn[index], return_counts=True)
        np.testing.assert_array_equal(found, places)
        expected = 6_000 / len(places)
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
