"""Scales come from the training data, exactly, and travel with the checkpoint."""

from dataclasses import replace

import numpy as np
import pytest

from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.contracts import LearningHistory, Task
from icrl_registry.errors import NumericalError


def make_history(seed: int, steps: int) -> LearningHistory:
    generator = np.random.default_rng(seed)
    observations = (1000 + generator.standard_normal((2, steps, 3)) * [0.1, 5.0, 0.0]).astype(np.float32)
    flags = np.zeros((2, steps), dtype=np.bool_)
    rewards = generator.standard_normal((2, steps)).astype(np.float32) * 3 - 1
    return LearningHistory(
        Task((0.0,), "train", seed),
        observations,
        np.zeros((2, steps, 1), np.float32),
        rewards,
        observations,
        flags,
        flags,
    )


def test_constants_are_those_of_all_the_data() -> None:
    histories = [make_history(0, 50), make_history(1, 300)]
    fitted = Normalisation.fit(histories, None)
    everything = np.concatenate([h.observations.reshape(-1, 3) for h in histories]).astype(np.float64)
    rewards = np.concatenate([h.rewards.ravel() for h in histories]).astype(np.float64)
    np.testing.assert_allclose(fitted.observation_mean, everything.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(fitted.observation_scale[:2], everything.std(axis=0)[:2], rtol=1e-5)
    assert fitted.observation_scale[2] == 1.0  # constant in the data: centred, not blown up
    assert fitted.reward_scale == pytest.approx(1 / np.sqrt((rewards**2).mean()), rel=1e-6)
    assert Normalisation.fit(histories, 0.25).reward_scale == 0.25


def test_values_are_scaled_and_observations_clipped() -> None:
    constants = Normalisation(np.array([1.0], np.float32), np.array([2.0], np.float32), 0.5)
    assert constants.observations(np.array([[5.0], [1e9], [-1e9]], np.float32)).ravel().tolist() == [2.0, 10.0, -10.0]
    assert constants.rewards(np.array([-3.0], np.float32)).tolist() == [-1.5]
    assert constants.observations(np.zeros((2, 1), np.float64)).dtype == np.float32


def test_they_come_back_from_a_checkpoint() -> None:
    fitted = Normalisation.fit([make_history(2, 40)], None)
    fitted = replace(fitted, reward_mean=0.5)
    again = Normalisation.from_tensors(fitted.tensors())
    assert np.array_equal(again.observation_mean, fitted.observation_mean)
    assert np.array_equal(again.observation_scale, fitted.observation_scale)
    assert (again.reward_scale, again.reward_mean) == (fitted.reward_scale, 0.5)


def test_standardised_rewards_have_mean_zero_and_deviation_one() -> None:
    history = make_history(2, 400)
    history.rewards[:] = 1.0 + 0.05 * np.random.default_rng(0).standard_normal(history.rewards.shape)
    scaled = Normalisation.fit([history], None).rewards(history.rewards)
    assert scaled.std() < 0.1  # a bonus in every step leaves the rest small
    standardised = Normalisation.fit([history], None, standardise_rewards=True).rewards(history.rewards)
    assert standardised.mean() == pytest.approx(0.0, abs=1e-3)
    assert standardised.std() == pytest.approx(1.0, rel=1e-3)
    history.rewards[:] = 3.0
    constant = Normalisation.fit([history], None, standardise_rewards=True)
    assert constant.reward_scale == 1.0
    assert not constant.rewards(history.rewards).any()


def test_a_nan_is_an_error_that_names_the_task() -> None:
    history = make_history(3, 20)
    history.rewards[1, 4] = np.nan
    with pytest.raises(NumericalError, match="train-003"):
        Normalisation.fit([make_history(0, 20), history], None)
