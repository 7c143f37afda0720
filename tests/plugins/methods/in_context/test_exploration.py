"""Noise that ends and that holds: its deviation by the clock of each task, its autocorrelation, the same by default."""

import numpy as np
import pytest

from icrl_plugins.methods.in_context.config import InContextConfig
from icrl_plugins.methods.in_context.exploration import ExecutionNoise


def make_noise(seed: int = 0, **settings) -> ExecutionNoise:
    return ExecutionNoise(InContextConfig(**settings), horizon=50, generator=np.random.default_rng(seed))


def play(noise: ExecutionNoise, steps: int, num_tasks: int = 4000):
    nothing = np.zeros((num_tasks, 2), np.float32)
    return np.stack([noise.added_to(nothing, np.full(num_tasks, t)) for t in range(steps)])  # (T, K, A)


def test_it_falls_linearly_over_the_first_episodes() -> None:
    played = play(make_noise(execution_noise=0.4, execution_noise_episodes=2.0), 120)
    for t in (0, 25, 50, 75, 99):
        assert played[t].std() == pytest.approx(0.4 * (1 - t / 100), rel=0.05)
    assert not played[100:].any()


def test_each_task_has_its_own_clock() -> None:
    noise = make_noise(execution_noise=0.4, execution_noise_episodes=1.0)
    deviations = noise.deviations(np.array([0, 10, 50, 70]))[:, 0]
    np.testing.assert_allclose(deviations, [0.4, 0.32, 0.0, 0.0], rtol=1e-6)


def test_a_draw_is_held_for_as_many_steps_as_asked() -> None:
    played = play(make_noise(execution_noise=0.3, execution_noise_hold=5), 20)
    blocks = played.reshape(4, 5, *played.shape[1:])
    assert (blocks == blocks[:, :1]).all()
    correlation = np.corrcoef(blocks[0, 0].ravel(), blocks[1, 0].ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(blocks[0, 0].size)


def test_by_default_it_is_white_and_never_ends() -> None:
    played = play(make_noise(execution_noise=0.3), 3, num_tasks=2)
    generator = np.random.default_rng(0)
    expected = [np.float32(0.3) * generator.standard_normal((2, 2), dtype=np.float32) for _ in range(3)]
    np.testing.assert_array_equal(played, expected)


def test_without_it_nothing_is_drawn() -> None:
    noise = make_noise()
    actions = np.full((3, 2), 0.25, np.float32)
    assert noise.added_to(actions, np.zeros(3)) is actions
    assert noise._generator.random() == np.random.default_rng(0).random()
