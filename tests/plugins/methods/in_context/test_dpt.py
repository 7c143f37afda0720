"""DPT: labels are the expert's at every step, whatever the source did there; what it learns is the task."""

from dataclasses import replace

import numpy as np
import pytest

from icrl_plugins.methods.decision_pretraining import DecisionPretraining
from icrl_registry.errors import UsageError

SMALL = {"episode_sampling": "random", "episodes_per_window": 3, "batch_size": 16, "dropout": 0.0}


def expert_of(goals):
    """What a policy that knows the goal does on the line: as far towards it as one step goes."""
    return lambda index, observations: np.clip((goals[index] - observations) / 0.5, -1, 1).astype(np.float32)


def make_job(toy, goals, episodes: int = 12):
    generator = np.random.default_rng(1)
    histories = [toy.history(goal, episodes, generator, index) for index, goal in enumerate(goals)]
    return replace(toy.job(histories), expert_actions=expert_of(goals))


def test_every_step_is_labelled_by_the_expert_of_its_own_history(toy) -> None:
    goals = [0.5, -0.7, 0.9]
    method = DecisionPretraining(DecisionPretraining.Config(**SMALL, token_noise=0.0), toy.backbone)
    learner = method.make_learner(make_job(toy, goals))
    batch = learner.batch(0)
    for row, window in enumerate(batch.windows):
        observations = window.stream.observations[window.current]
        expected = expert_of(goals)(window.stream.history, observations)
        np.testing.assert_array_equal(batch.targets[row, : window.count], expected)
        assert not np.allclose(batch.targets[row, : window.count], window.stream.actions[window.current], atol=0.1)


def test_without_experts_it_says_what_to_do(toy) -> None:
    method = DecisionPretraining(DecisionPretraining.Config(**SMALL), toy.backbone)
    with pytest.raises(UsageError, match="final policies") as caught:
        method.train(replace(make_job(toy, [0.5]), expert_actions=None))
    assert "method without experts" in caught.value.hint
