"""Discrete actions: the loss against torch's own, draws against the softmax, and learning in context on a small grid."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from icrl_plugins.methods.algorithm_distillation import AlgorithmDistillation
from icrl_plugins.methods.decision_pretraining import DecisionPretraining
from icrl_plugins.methods.in_context.imitation import draw_categorical, head_of
from icrl_plugins.methods.in_context.layout import TokenLayout
from icrl_plugins.methods.in_context.model import masked_cross_entropy
from icrl_registry.testing.method_trials import play
from icrl_registry.testing.toy import toy_history
from icrl_registry.testing.toy_grid import ToyGrid

GRID = ToyGrid()


def test_the_loss_is_the_cross_entropy_of_the_real_tokens() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, numbers = torch.randn(3, 4, 5, generator=generator), torch.randint(5, (3, 4), generator=generator)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    targets = torch.nn.functional.one_hot(numbers, 5).float()
    expected = torch.nn.functional.cross_entropy(logits[mask], numbers[mask])
    assert masked_cross_entropy(logits, targets, mask).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_actions_are_drawn_from_the_softmax(temperature: float) -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0, 0.5, 0.0]]).repeat(20_000, 1)
    drawn = draw_categorical(temperature)(logits, np.random.default_rng(0))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert (drawn.sum(axis=1) == 1).all()
    expected = (logits[0] / temperature).softmax(dim=0).numpy()
    np.testing.assert_allclose(drawn.mean(axis=0), expected, atol=0.015)  # four standard errors


def test_at_temperature_0_the_likeliest_is_taken() -> None:
    logits = torch.tensor([[0.0, 0.1, -1.0], [2.0, 0.1, 1.9]])
    drawn = draw_categorical(0.0)(logits, np.random.default_rng(0))
    assert drawn.tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize("head", ["linear", "tanh", "gaussian"])
def test_the_environment_decides_on_the_head(head: str) -> None:
    config = AlgorithmDistillation.Config(head=head)
    assert head_of(config, TokenLayout.of(GRID.spec)) == "categorical"
    assert head_of(config, TokenLayout(2, 2)) == head


def make_job(toy, count: int, episodes: int):
    tasks = GRID.tasks(count, seed=1)
    histories = [toy_history(GRID, task, episodes, seed=5) for task in tasks]
    experts = [np.asarray(task.parameters) for task in tasks]
    job = toy.job(histories, spec=GRID.spec)
    return replace(job, expert_actions=lambda index, seen: GRID.best_actions(seen, experts[index]))


@pytest.mark.parametrize(
    ("method", "settings", "share"),
    [
        (AlgorithmDistillation, {"episode_stride": 2, "temperature": 0.5}, 0.8),
        (DecisionPretraining, {"episode_sampling": "random", "episodes_per_window": 4}, 0.5),
    ],
)
def test_unseen_goals_are_learned_in_context(toy, method, settings, share) -> None:
    """Rewards tell the distance; whoever ignores them does best to stay in the middle."""
    common = {"batch_size": 32, "updates": 250, "learning_rate": 1e-2, "dropout": 0.0, "token_noise": 0.0}
    made = method(method.Config(**common, **settings), lambda context_length: toy.TinyGRU(32, 16))
    checkpoint = made.train(make_job(toy, 20, 12))
    tasks = GRID.tasks(25, seed=1, split="test")[20:]  # a permutation of all 25 goals: these were not trained on
    played = play(made.agent(checkpoint, GRID.spec, "cpu"), tasks, num_episodes=10, environment=GRID)
    episodes = played.rewards.reshape(10, -1, len(tasks)).sum(axis=1).mean(axis=1)  # (E,)
    goals = np.array([task.parameters for task in tasks])
    middle = -10 * np.abs(goals - 2).sum(axis=1).mean()
    assert episodes[-5:].mean() > share * middle
    assert episodes[-5:].mean() > episodes[:2].mean() + 5
    assert set(np.unique(played.actions)) == {0.0, 1.0}
