"""The expert sees its task and plays it well; histories are its actions with noise that fades as the formula says."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from icrl_plugins.sources.annealed.expert import TaskFeatures, TaskSeeingBatch, training_tasks
from icrl_plugins.sources.annealed.source import AnnealedExpert, AnnealedExpertConfig
from icrl_registry.contracts import EnvironmentSpec, Task
from icrl_registry.discovery import load
from icrl_registry.errors import UsageError
from icrl_registry.testing.conformance import run_checks
from icrl_registry.testing.toy import ToyPoint

SMALL = {
    "total_steps": 120,
    "num_envs": 2,
    "expert_tasks": 4,
    "expert_steps": 400,
    "rollout_length": 20,
    "batch_size": 40,
    "hidden_sizes": (16,),
    "evaluation_episodes": 0,
    "record_policy_means": True,
}
TASKS = [Task((0.7,), "train", 0), Task((-0.4,), "train", 1)]


def source_of(**settings) -> AnnealedExpert:
    return AnnealedExpert(AnnealedExpertConfig(**{**SMALL, **settings}))


class TestTheNoise:
    def test_it_falls_evenly_and_ends(self):
        config = AnnealedExpertConfig(total_steps=500, num_envs=5, clean_fraction=0.2)
        assert [config.noise(step) for step in (0, 20, 40, 79)] == pytest.approx([1, 0.75, 0.5, 1 / 80])
        assert config.noise(80) == config.noise(99) == 0

    def test_with_curvature_two_it_is_a_quarter_circle(self):
        config = AnnealedExpertConfig(total_steps=500, num_envs=5, clean_fraction=0, curvature=2)
        for step in range(0, 100, 9):
            assert config.noise(step) ** 2 + (step / 100) ** 2 == pytest.approx(1)

    @pytest.mark.parametrize(
        "settings", [{"clean_fraction": 1}, {"curvature": 0}, {"expert_tasks": 0}, {"expert_steps": 31_999}]
    )
    def test_what_makes_no_sense_is_refused(self, settings):
        with pytest.raises(ValidationError):
            AnnealedExpertConfig(**settings)


class TestWhatIsSeenOfATask:
    def test_a_circle_closes(self):
        see = TaskFeatures(["direction (rad)"], np.array([[0.0], [1.0]]))
        np.testing.assert_allclose(see(np.array([np.pi])), see(np.array([-np.pi])), atol=1e-6)
        np.testing.assert_allclose(see(np.array([[0.0], [np.pi / 2]])), [[1, 0], [0, 1]], atol=1e-6)

    def test_other_parameters_are_standardised(self):
        parameters = np.random.default_rng(0).normal([5.0, 100.0], [0.1, 30.0], size=(400, 2))
        seen = TaskFeatures(["x (m)", "y (m)"], parameters)(parameters)
        np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(seen.std(axis=0), 1, atol=1e-4)
        assert seen.dtype == np.float32

    def test_a_parameter_that_never_differs_is_no_division_by_zero(self):
        assert np.isfinite(TaskFeatures(["x"], np.ones((3, 1)))(np.ones((1, 1)))).all()

    def test_each_row_sees_its_own(self, point):
        environment = point()
        batch = TaskSeeingBatch(environment.make_batch(TASKS), np.array([[3.0], [4.0]], np.float32))
        assert batch.reset(1, seed=0).tolist()[1:] == [4.0]
        batch.reset(0, seed=0)
        step = batch.step(np.zeros((2, 1), np.float32), np.ones(2, bool))
        assert step.observations[:, 1].tolist() == [3.0, 4.0]


def test_an_action_is_the_experts_and_at_most_so_much_noise(point, collect):
    source = source_of()
    first, second = collect(source, point(), TASKS, [1, 2])
    shares = np.array([source.config.noise(step) for step in range(60)])
    for run in (first, second):
        history, act = run.history, source.greedy_policy(run.policy, point().spec)
        expert = np.stack([act(stream) for stream in history.observations])
        np.testing.assert_allclose(history.policy_means, (1 - shares)[:, None] * expert, atol=1e-6)
        noise = np.abs(history.actions - history.policy_means)
        assert (noise <= shares[:, None] + 1e-6).all()
        assert noise[:, :6].max() > 0.5
        np.testing.assert_array_equal(history.actions[:, 54:], np.clip(expert[:, 54:], -1, 1))
    assert (first.history.actions[:, 0] != second.history.actions[:, 0]).all()


def acted_for(source, run, environment) -> np.ndarray:
    """For which task the expert acted at each step, (S, T): −1 the own, or the index of one that it trained on."""
    history = run.history
    config = source.config
    drawn = training_tasks(environment, config.expert_tasks, config.expert_seed)
    see = TaskFeatures(environment.task_parameter_names, np.array([task.parameters for task in drawn]))
    features = [run.policy["task.features"], *(see(np.array(task.parameters)) for task in drawn)]
    policies = [source.greedy_policy({**run.policy, "task.features": each}, environment.spec) for each in features]
    actions = np.stack([[act(stream) for stream in history.observations] for act in policies])  # (1 + N, S, T, A)
    fits = np.isclose(actions, history.policy_means, atol=1e-6).all(axis=-1)
    assert fits.any(axis=0).all()
    return np.where(fits[0], -1, fits.argmax(axis=0) - 1)


def test_exploring_tasks_it_acts_for_others_ever_less(point, collect):
    source = source_of(exploration="tasks", exploration_hold=5, total_steps=2_000, num_envs=4, clean_fraction=0.2)
    environment = point()
    shares = np.array([source.config.noise(step) for step in range(0, 500, 5)])  # when a task is chosen
    others = []
    for run in collect(source, environment, TASKS, [1, 2]):
        chosen = acted_for(source, run, environment)
        assert (chosen[:, 400:] == -1).all()
        others.append((chosen != -1).reshape(4, 100, 5).all(axis=-1))  # none of five steps is the own task's
        blocks = chosen.reshape(4, 100, 5)
        assert (blocks == blocks[:, :, :1]).mean() > 0.95  # the same throughout, but where two tasks' actions are equal
    found = np.concatenate(others).reshape(8, 10, 10).mean(axis=(0, 2))  # ten choices of eight streams
    wanted = shares.reshape(10, 10).mean(axis=1)
    deviation = np.sqrt(np.maximum(wanted * (1 - wanted), 1e-9) / 80)
    assert (np.abs(found - wanted) < 4 * deviation + 1e-9).all(), (found, wanted)


def test_exploring_tasks_the_noise_on_the_actions_fades_as_well(point, collect):
    settings = {"exploration": "tasks", "total_steps": 4_000, "num_envs": 4, "clean_fraction": 0.2}
    (still,) = collect(source_of(**settings), point(), TASKS[:1], [1])
    assert (still.history.actions == np.clip(still.history.policy_means, -1, 1)).all()
    (run,) = collect(source_of(**settings, exploration_std=0.01), point(), TASKS[:1], [1])
    inside = np.abs(run.history.policy_means) < 0.95
    noise = np.where(inside, run.history.actions - run.history.policy_means, np.nan)[..., 0].reshape(4, 10, 100)
    found = np.sqrt(np.nanmean(np.square(noise), axis=(0, 2)))
    wanted = [
        0.01 * np.sqrt(np.mean([(1 - step / 800) ** 2 for step in range(n, n + 100)])) for n in range(0, 800, 100)
    ]
    np.testing.assert_allclose(found[:8], wanted, rtol=0.15)
    assert (found[8:] < 1e-6).all()


def test_the_expert_knows_tasks_that_it_never_saw(point, collect):
    """x starts within ±0.1 and moves by 0.2 at most, so the best return is that of walking straight to the goal."""
    settings = {"expert_steps": 40_000, "expert_tasks": 16, "learning_rate": 3e-3, "discount": 0.9, "total_steps": 400,
                "entropy_coefficient": 0.0, "hidden_sizes": (32,), "evaluation_episodes": 20}  # fmt: skip
    environment = point()
    unseen = [Task((goal,), "test", index) for index, goal in enumerate((-0.9, -0.35, 0.15, 0.6))]
    runs = collect(source_of(**settings), environment, unseen, [1, 2, 3, 4])
    for task, run in zip(unseen, runs, strict=True):
        distance = abs(task.parameters[0])
        best = -sum(max(distance - 0.2 * step, 0.0) for step in range(1, 11))
        resting = -10 * distance
        assert run.statistics["greedy_return"] > best - 0.25 * (best - resting) - 0.3, (task, best, run.statistics)
        returns = [run.history.episode_returns(stream) for stream in range(2)]
        late, early = np.mean([each[-2:] for each in returns]), np.mean([each[:2] for each in returns])
        assert late > early


def test_the_experts_tasks_come_from_its_own_seed():
    environment = ToyPoint()
    assert training_tasks(environment, 5, 0) == training_tasks(environment, 5, 0)
    assert training_tasks(environment, 5, 0) != training_tasks(environment, 5, 1)


@pytest.mark.parametrize("name", ["task.features", "policy.log_std"])
def test_a_policy_that_lacks_a_tensor_is_refused(point, collect, name):
    source = source_of()
    run = collect(source, point(), TASKS[:1], [1])[0]
    with pytest.raises(UsageError, match="tensors"):
        source.greedy_policy({key: values for key, values in run.policy.items() if key != name}, point().spec)


def test_a_policy_of_another_environment_is_refused(point, collect):
    source = source_of()
    run = collect(source, point(), TASKS[:1], [1])[0]
    with pytest.raises(UsageError, match="tensors"):
        source.greedy_policy(run.policy, EnvironmentSpec("other-v1", 4, 1, 10))


def test_it_keeps_what_the_contract_promises():
    results = run_checks(load("source", "annealed-expert"))
    assert [(each.name, each.message) for each in results if not each.passed] == []
