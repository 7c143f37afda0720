"""Learning on tasks with a known answer: the return rises over episodes on unseen tasks, and the rewards are why."""

import numpy as np
import pytest

from icrl_plugins.methods.algorithm_distillation import AlgorithmDistillation


def train(toy, goals, episodes: int, **settings):
    """An agent and the losses of its training on scripted histories of these goals."""
    generator = np.random.default_rng(1)
    histories = [toy.history(goal, episodes, generator, index) for index, goal in enumerate(goals)]
    config = AlgorithmDistillation.Config(learning_rate=8e-3, dropout=0.0, **settings)
    method = AlgorithmDistillation(config, lambda context_length: toy.TinyGRU(32, 16))
    losses = []
    checkpoint = method.train(toy.job(histories, report=lambda done, total, metrics: losses.append(metrics["loss"])))
    return method.agent(checkpoint, toy.spec, "cpu"), losses


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["transition", "three"])
def test_unseen_tasks_are_learned_in_context_and_not_without_true_rewards(toy, layout: str) -> None:
    training_goals = toy.goals(64, np.random.default_rng(0))
    settings = {"episode_stride": 2, "updates": 250, "batch_size": 32, "token_noise": 0.02, "token_layout": layout}
    agent, _ = train(toy, training_goals, 12, **settings)
    goals = toy.goals(32, np.random.default_rng(99))
    true = toy.adapt(agent, goals, 6)
    zeroed = toy.adapt(agent, goals, 6, spoil_rewards=lambda rewards: 0 * rewards)
    swapped = toy.adapt(agent, goals, 6, spoil_rewards=lambda rewards: np.roll(rewards, 5))
    stay_put = -toy.horizon * np.abs(goals).mean()  # about -6.5: the best that ignores the task
    gain = true[:, -1] - true[:, 0]  # (K,)
    assert gain.mean() - 2 * gain.std() / np.sqrt(len(gain)) > 3.0
    assert true[:, -1].mean() > 0.5 * stay_put
    assert zeroed[:, -1].mean() < stay_put
    assert swapped[:, -1].mean() < stay_put


def test_one_history_is_fitted_to_its_noise_and_relearned_in_context(toy) -> None:
    """The script adds noise of std 0.1 before clipping: a squared error of at most 0.01 is all that need be left."""
    settings = {"episode_stride": 1, "updates": 250, "batch_size": 2, "token_noise": 0.0, "weight_decay": 0.0}
    agent, losses = train(toy, [0.7], 6, **settings)
    assert losses[0] > 0.1
    assert np.mean(losses[-20:]) < 0.01
    returns = toy.adapt(agent, [0.7] * 8, 6).mean(axis=0)  # (E,)
    assert returns[-1] > returns[0] + 3


def test_a_gaussian_head_learns_how_much_the_source_explores(toy) -> None:
    """The script's noise of std 0.1 is what is left of its actions when the mean is known."""
    settings = {"episode_stride": 1, "updates": 400, "batch_size": 2, "token_noise": 0.0, "weight_decay": 0.0}
    agent, losses = train(toy, [0.7], 6, head="gaussian", **settings)
    spreads, draw = [], agent._draw
    agent._draw = lambda predicted, generator: (
        spreads.append(predicted[:, 1].exp().mean().item()),
        draw(predicted, generator),
    )[1]
    assert np.mean(losses[-20:]) < 0.5 * np.log(2 * np.pi * np.e * 0.1**2) + 0.3
    returns = toy.adapt(agent, [0.7] * 8, 6).mean(axis=0)  # (E,)
    assert returns[-1] > returns[0] + 3
    assert 0.05 < np.mean(spreads[-toy.horizon :]) < 0.2
