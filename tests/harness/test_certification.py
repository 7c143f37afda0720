"""The mixture draws tasks evenly and plays them truly; policies are scored in their own task; a certificate's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from icrl_bench.certification.mixture import TaskMixture, drawn_task
from icrl_bench.certification.playing import play, steps_to_tell_apart
from icrl_leaderboards.runs.certificates import Certificate
from icrl_plugins.sources.annealed.source import AnnealedExpert, AnnealedExpertConfig
from icrl_registry.contracts import Task
from icrl_registry.protocols.model import CertificatePlan
from icrl_registry.testing.toy import STEP_LENGTH, ToyPoint

ENVIRONMENT = ToyPoint()
TASKS = ENVIRONMENT.tasks(4)


def to_goal(task):
    """The best policy of the toy: straight to the goal."""
    goal = np.asarray(task.parameters)
    return lambda observations: np.clip((goal - observations) / STEP_LENGTH, -1, 1).astype(np.float32)


# --- The mixture ------------------------------------------------------------------------------------------------------


def test_an_episode_of_the_mixture_is_an_episode_of_the_drawn_task():
    mixture = TaskMixture(ENVIRONMENT, TASKS).make_batch(TASKS[:2])
    for seed in range(6):
        alone = ENVIRONMENT.make_batch([TASKS[drawn_task(seed, len(TASKS))]])
        observation = mixture.reset(1, seed)
        assert np.array_equal(observation, alone.reset(0, seed))
        generator = np.random.default_rng(seed)
        for _ in range(ENVIRONMENT.spec.horizon):
            actions = generator.uniform(-1, 1, (2, 2)).astype(np.float32)
            step, expected = (
                mixture.step(actions, np.array([False, True])),
                alone.step(actions[1:], np.array([True])),
            )
            assert np.array_equal(step.observations[1], expected.observations[0])
            assert step.rewards[1] == expected.rewards[0]
            assert step.truncated[1] == expected.truncated[0]


def test_the_mixture_as_a_gymnasium_environment_is_the_same():
    mixture = TaskMixture(ENVIRONMENT, TASKS)
    one, batch = mixture.make(TASKS[0]), mixture.make_batch(TASKS[:1])
    for seed in range(6):
        assert np.array_equal(one.reset(seed=seed)[0], batch.reset(0, seed))
        action = np.array([0.3, -0.7], np.float32)
        assert one.step(action)[1] == pytest.approx(batch.step(action[None], np.array([True])).rewards[0], abs=1e-6)


def test_tasks_are_drawn_evenly():
    counts = np.bincount([drawn_task(seed, 4) for seed in range(4000)], minlength=4)
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(4000 * 0.25 * 0.75)


def test_two_rows_in_one_task_do_not_disturb_each_other():
    seed = next(seed for seed in range(100) if drawn_task(seed, 4) == drawn_task(seed + 1, 4))
    mixture = TaskMixture(ENVIRONMENT, TASKS).make_batch(TASKS[:2])
    first, second = mixture.reset(0, seed), mixture.reset(1, seed + 1)
    actions = np.array([[1, 0], [0, 0]], np.float32)
    step = mixture.step(actions, np.array([True, True]))
    assert np.allclose(step.observations, [first + np.array([STEP_LENGTH, 0]), second], atol=1e-6)


def test_a_source_that_sees_its_task_learns_in_the_mixture_as_well():
    source = AnnealedExpert(
        AnnealedExpertConfig(
            total_steps=40,
            num_envs=2,
            expert_tasks=2,
            expert_steps=40,
            rollout_length=10,
            hidden_sizes=(8,),
            batch_size=20,
        )
    )
    mixture, learner = TaskMixture(ENVIRONMENT, TASKS), Task((0.0,), "train", 0)
    (run,) = source.collect(mixture, [learner], [np.random.SeedSequence(0)], lambda steps: None)
    assert (run.policy["task.features"] == 0).all()
    observations = np.zeros((3, ENVIRONMENT.spec.observation_size), np.float32)
    assert source.greedy_policy(run.policy, ENVIRONMENT.spec)(observations).shape == (3, ENVIRONMENT.spec.action_size)


# --- Playing ----------------------------------------------------------------------------------------------------------


def test_each_policy_is_played_in_its_own_task():
    right = play(ENVIRONMENT, TASKS, [to_goal(task) for task in TASKS], 3, data_seed=0)
    wrong = play(ENVIRONMENT, TASKS, [to_goal(task) for task in [*TASKS[1:], TASKS[0]]], 3, data_seed=0)
    assert right.returns.shape == (4, 3)
    assert right.successes is None  # the toy measures none
    assert (right.returns.mean(axis=1) > wrong.returns.mean(axis=1)).all()
    for task, returns in zip(TASKS, right.returns, strict=True):  # at most one step a fifth of the way at a time
        distance = np.abs(np.asarray(task.parameters)).max()
        assert returns.mean() > -distance * np.ceil(distance / STEP_LENGTH) * np.sqrt(2)


def test_tasks_that_pay_differently_at_once_are_told_apart_at_once():
    steps = steps_to_tell_apart(ENVIRONMENT, TASKS, data_seed=0)
    assert steps.shape == (5, 6)
    assert np.median(steps) == 1


def test_a_task_is_never_told_from_itself():
    assert (steps_to_tell_apart(ENVIRONMENT, [TASKS[0], TASKS[0]], 0) == ENVIRONMENT.spec.horizon + 1).all()


# --- The certificate --------------------------------------------------------------------------------------------------


def certificate(**changes):
    numbers = {
        "environment": "toy-v1",
        "protocol": "toy",
        "source": "ppo",
        "task_labels": ("a", "b"),
        "random": (-10.0, -20.0),
        "oracle": (-1.0, -1.0),
        "oracle_greedy": (0.0, 0.0),
        "success": (1.0, 0.4),
        "blind": {"zero_action": (-8.0, -12.0), "cloned": (-6.0, -10.0)},
        "wrong_task": (-9.0, -9.0),
        "steps_to_tell_apart": 1.0,
        "horizon": 10,
        "env_steps": 100,
    }
    return Certificate(**{**numbers, **changes})


def test_what_it_concludes_by_hand():
    found = certificate()
    assert found.blind_policy == "cloned"
    assert found.blind_ceiling == (-6.0, -10.0)
    assert found.solved == 0.5
    assert found.headroom == pytest.approx((-1 - -8) / (-1 - -15))
    assert found.wrong_task_score == pytest.approx((-9 - -15) / (-1 - -15))
    low, high = found.headroom_interval  # of two tasks: 5 of 9, 9 of 19, or both
    assert low == pytest.approx(9 / 19)
    assert high == pytest.approx(5 / 9)


def test_an_oracle_no_better_than_random_leaves_no_headroom():
    assert certificate(oracle=(-10.0, -20.0)).headroom == 0.0
    assert certificate(oracle=(-10.0, -20.0)).wrong_task_score is None


@pytest.mark.parametrize(
    ("demanded", "words"),
    [
        (CertificatePlan(), None),
        (CertificatePlan(solved=0.5, headroom=0.5), None),
        (CertificatePlan(solved=0.8), "solves 50% of the test tasks, demanded are 80%"),
        (CertificatePlan(headroom=0.6), "headroom is 0.50, demanded is 0.60"),
    ],
)
def test_what_a_protocol_demands(demanded, words):
    verdict = certificate().verdict(demanded)
    assert verdict.passed == (words is None)
    if words:
        assert words in verdict.missing[0]


def test_without_a_measure_of_success_nothing_is_solved():
    assert "measures no success" in certificate(success=None).verdict(CertificatePlan(solved=0.1)).missing[0]


@pytest.mark.parametrize("changes", [{"random": (1.0,)}, {"blind": {}}, {"blind": {"cloned": (1.0,)}}])
def test_numbers_that_do_not_fit_are_refused(changes):
    with pytest.raises(ValidationError):
        certificate(**changes)


def test_it_survives_json():
    assert Certificate.model_validate_json(certificate().model_dump_json()) == certificate()
