"""The population's PPO is Stable-Baselines3's: the same advantages, the same steps, a policy of the same names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.logger import Logger

from icrl_plugins.environments.pusher_goal import PusherGoal
from icrl_plugins.environments.reacher_goal import ReacherGoal
from icrl_plugins.sources.hyperparameters import PPOConfig
from icrl_plugins.sources.population.ppo import (
    PPO,
    PopulationPPOConfig,
    PPOLearner,
    generalised_advantages,
    surrogate_gradients,
)
from icrl_plugins.sources.population.recorded import RecordedPopulation
from icrl_plugins.sources.recording import HistoryRecorder
from icrl_plugins.sources.stable_baselines3.ppo import Sb3PPO, Sb3PPOConfig
from icrl_plugins.sources.stable_baselines3.source import policy_tensors
from icrl_plugins.sources.stable_baselines3.vector_environment import (
    RecordedVectorEnvironment,
    action_space,
    observation_space,
)
from icrl_registry.contracts import EnvironmentSpec, Task
from icrl_registry.discovery import load
from icrl_registry.errors import UsageError
from icrl_registry.testing.conformance import run_checks
from icrl_registry.testing.method_trials import Interrupted, MemoryStore
from icrl_registry.testing.toy import ToyPoint

SPEC = EnvironmentSpec("sample-v1", observation_size=5, action_size=3, horizon=10)
NUM_TASKS, NUM_ROWS = 3, 60
SMALL = {"total_steps": 200, "num_envs": 2, "rollout_length": 20, "batch_size": 20, "num_epochs": 2}


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_advantages_are_those_of_the_rollout_buffer():
    """With episodes that end by themselves and by the time limit, also at the last step."""
    rows, steps = 4, 30
    rewards, values, next_values = draw(rows, steps, seed=1), draw(rows, steps, seed=2), draw(rows, steps, seed=3)
    rng = np.random.default_rng(4)
    terminated, truncated = rng.uniform(size=(2, rows, steps)) < 0.15
    terminated[0, -1], truncated[1, -1], terminated[1, -1] = True, True, False
    ended = terminated | truncated
    next_values[:, :-1] = np.where(ended[:, :-1], next_values[:, :-1], values[:, 1:])
    buffer = RolloutBuffer(steps, observation_space(SPEC), action_space(SPEC), "cpu", 0.9, 0.97, rows)
    starts = np.ones(rows)
    for t in range(steps):
        only_cut = truncated[:, t] & ~terminated[:, t]
        reward = rewards[:, t] + np.where(only_cut, 0.97 * next_values[:, t], 0.0)  # as `collect_rollouts` does
        zeros = np.zeros((rows, 5)), np.zeros((rows, 3))
        buffer.add(*zeros, reward, starts, torch.from_numpy(values[:, t]), torch.zeros(rows))
        starts = ended[:, t]
    buffer.compute_returns_and_advantage(torch.from_numpy(next_values[:, -1]), ended[:, -1])
    found = generalised_advantages(rewards, values, next_values, terminated, truncated, 0.97, 0.9)
    np.testing.assert_allclose(found, buffer.advantages.T, atol=2e-6)


@pytest.mark.parametrize("batch_size", [1, 40])
def test_the_surrogates_gradient_is_autograds(batch_size: int):
    log_ratios = torch.from_numpy(0.3 * draw(2, batch_size, 1)).requires_grad_()
    advantages = torch.from_numpy(draw(2, batch_size, 1, seed=1))
    normalised = advantages
    if batch_size > 1:
        mean, deviation = advantages.mean(dim=1, keepdim=True), advantages.std(dim=1, keepdim=True)
        normalised = (advantages - mean) / (deviation + 1e-8)
    ratios = log_ratios.exp()
    torch.min(ratios * normalised, ratios.clamp(0.8, 1.2) * normalised).mean(dim=1).sum().neg().backward()
    found = surrogate_gradients(log_ratios.detach(), advantages, 0.2)
    torch.testing.assert_close(found, log_ratios.grad)


class Reference:
    """Stable-Baselines3's PPO with the policy of one task, fed with minibatches instead of rollouts."""

    def __init__(self, config: PPOConfig, learner: PPOLearner, index: int) -> None:
        environment, task = ToyPoint(), ToyPoint().tasks(1)[0]
        recorder = HistoryRecorder(environment.make_batch([task]), [task], environment.spec, 10)
        settings = {name: getattr(config, name) for name in PPOConfig.model_fields}
        one_batch = {"rollout_length": NUM_ROWS, "batch_size": NUM_ROWS, "num_epochs": 1, "num_envs": 1}
        source = Sb3PPO(Sb3PPOConfig(**{**settings, **one_batch}))
        self.model = source.build_model(RecordedVectorEnvironment(recorder, environment.spec), seed=0)
        self.model.set_logger(Logger(folder=None, output_formats=[]))
        self.load(learner, index)

    def load(self, learner: PPOLearner, index: int) -> None:
        tensors = learner.policy_tensors(index)
        assert set(tensors) == set(policy_tensors(self.model.policy))
        self.model.policy.load_state_dict(
            {name.removeprefix("policy."): torch.from_numpy(values) for name, values in tensors.items()}
        )

    def update(self, minibatch: torch.Tensor) -> None:
        """(B, columns): what `PPOLearner.update` gets for this task."""
        buffer, rows = self.model.rollout_buffer, minibatch.numpy()
        buffer.reset()
        for name, columns in COLUMNS.items():
            getattr(buffer, name)[:, 0] = (
                rows[:, columns] if columns.stop - columns.start > 1 else rows[:, columns.start]
            )
        buffer.pos, buffer.full, buffer.generator_ready = NUM_ROWS, True, False
        self.model.train()


COLUMNS = {
    "observations": slice(0, 2),
    "actions": slice(2, 4),
    "log_probs": slice(4, 5),
    "advantages": slice(5, 6),
    "returns": slice(6, 7),
}


def test_updates_are_those_of_stable_baselines3():
    """Four steps of three tasks at once: gradients, their norms, the moments of Adam and the order of it all."""
    config = PPOConfig(learning_rate=3e-3, entropy_coefficient=0.01, log_std_init=-0.4, max_grad_norm=0.3)
    learner = PPOLearner(ToyPoint().spec, config, 1000, np.random.SeedSequence(5).spawn(NUM_TASKS))
    references = [Reference(config, learner, index) for index in range(NUM_TASKS)]
    before = learner.policy_tensors(0)
    for step in range(4):
        minibatch = torch.from_numpy(draw(NUM_TASKS, NUM_ROWS, 7, seed=step))
        minibatch[..., 4] = minibatch[..., 4] * 0.2 - 2.0  # log-densities near those of the policy
        minibatch[1, :, 6] *= 100.0  # one task's gradient is much longer than the others'
        learner.update(minibatch)
        for reference, rows in zip(references, minibatch, strict=True):
            reference.update(rows)
    for index, reference in enumerate(references):
        expected = policy_tensors(reference.model.policy)
        for name, values in learner.policy_tensors(index).items():
            np.testing.assert_allclose(values, expected[name], atol=2e-5, err_msg=f"{index} {name}")
    assert max(np.abs(values - before[name]).max() for name, values in learner.policy_tensors(0).items()) > 5e-3


def test_a_rollout_holds_what_stable_baselines3_would_learn_from(point):
    """Log-densities and values of the sampled, unclipped actions; advantages over the ends of episodes; a scaled reward."""
    environment, tasks = point(horizon=7, wall=0.6), [Task((0.7,), "train", 0), Task((-0.4,), "train", 1)]
    config = PPOConfig(total_steps=80, num_envs=2, rollout_length=20, log_std_init=0.5, reward_scale=3.0, num_epochs=1)
    learner = PPOLearner(environment.spec, config, 80, np.random.SeedSequence(5).spawn(2))
    population = RecordedPopulation(environment, tasks, [1, 2], 2, 40)
    population.begin()
    sampled = []
    for _ in range(20):
        sampled.append(learner.act(population.observations)[0].copy())
        population.step(sampled[-1])
    rows = learner.rollout(population.recorder)  # (2, 2·20, 1 + 1 + 3)
    recorder = population.recorder
    assert np.abs(sampled).max() > 1
    assert recorder.terminated[:, :20].any()
    assert recorder.truncated[:, :20].any()
    for index in range(2):
        policy = Sb3PPO(Sb3PPOConfig()).policy_type(
            observation_space(environment.spec), action_space(environment.spec), lambda _: 0.0,
            net_arch={"pi": [64, 64], "vf": [64, 64]},
        )  # fmt: skip
        policy.load_state_dict(
            {name.removeprefix("policy."): torch.from_numpy(v) for name, v in learner.policy_tensors(index).items()}
        )
        streams = slice(2 * index, 2 * index + 2)
        observations = torch.from_numpy(recorder.observations[streams, :20].copy())  # (S, R, 1)
        actions = torch.from_numpy(np.stack(sampled, axis=1)[streams])
        with torch.no_grad():
            values, densities, _ = policy.evaluate_actions(observations.reshape(-1, 1), actions.reshape(-1, 1))
            following = torch.from_numpy(recorder.next_observations[streams, :20].copy())
            next_values = policy.predict_values(following.reshape(-1, 1))
        advantages = generalised_advantages(
            3.0 * recorder.rewards[streams, :20], values.view(2, 20).numpy(), next_values.view(2, 20).numpy(),
            recorder.terminated[streams, :20] != 0, recorder.truncated[streams, :20], 0.99, 0.95,
        )  # fmt: skip
        expected = [observations.reshape(-1), actions.reshape(-1), densities, torch.from_numpy(advantages).reshape(-1)]
        for column, numbers in enumerate(expected):
            torch.testing.assert_close(rows[index, :, column], numbers, atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(rows[index, :, 4], rows[index, :, 3] + values[:, 0], atol=2e-5, rtol=1e-5)


def test_the_untrained_policy_is_drawn_as_in_stable_baselines3():
    """Orthogonal, with gains of √2 inside, 0.01 for the means and 1 for the value; the deviations as configured."""
    learner = PPOLearner(SPEC, PPOConfig(log_std_init=-1.0), 1000, np.random.SeedSequence(5).spawn(2))
    tensors = learner.policy_tensors(1)
    inner = tensors["policy.mlp_extractor.policy_net.2.weight"]
    np.testing.assert_allclose(inner @ inner.T, 2.0 * np.eye(64), atol=1e-5)
    means = tensors["policy.action_net.weight"]
    np.testing.assert_allclose(means @ means.T, 1e-4 * np.eye(3), atol=1e-8)
    assert np.square(tensors["policy.value_net.weight"]).sum() == pytest.approx(1.0, rel=1e-5)
    assert (tensors["policy.log_std"] == -1.0).all()
    assert not any(values.any() for name, values in tensors.items() if name.endswith("bias"))
    other = learner.policy_tensors(0)["policy.action_net.weight"]
    assert np.abs(other - means).max() > 1e-3


def test_a_policy_moves_between_the_two_sources(point, task, collect):
    """The same names and the same actions; a stranger's tensors are refused."""
    source = PPO(PopulationPPOConfig(**SMALL))
    (run,) = collect(source, point(), [task], [0])
    observations = draw(6, 1)
    mine = source.greedy_policy(run.policy, point().spec)(observations)
    theirs = Sb3PPO(Sb3PPOConfig(**SMALL)).greedy_policy(run.policy, point().spec)(observations)
    np.testing.assert_allclose(mine, theirs, atol=1e-6)
    with pytest.raises(UsageError, match="not those of a policy"):
        source.greedy_policy({**run.policy, "policy.log_std": np.zeros(2)}, point().spec)


@pytest.mark.parametrize(("total_steps", "learns"), [(40, True), (38, False)], ids=["complete", "incomplete"])
def test_a_last_rollout_is_learnt_from_if_it_is_complete(total_steps, learns, point, task, collect):
    policies = []
    for learning_rate in (1e-2, 1e-30):
        settings = {**SMALL, "total_steps": total_steps, "learning_rate": learning_rate}
        (run,) = collect(PPO(PopulationPPOConfig(**settings)), point(), [task], [0])
        policies.append(np.concatenate([values.ravel() for values in run.policy.values()]))
    assert learns == (np.abs(policies[0] - policies[1]).max() > 1e-3)


def test_the_learning_rate_falls_to_zero_at_the_end(point, task, collect):
    """The update of the last rollout has a rate of 0, so it changes nothing."""
    policies = []
    for total_steps in (40, 80):
        settings = {**SMALL, "total_steps": total_steps, "learning_rate_schedule": "linear", "learning_rate": 1e-2}
        learner_source = PPO(PopulationPPOConfig(**settings))
        (run,) = collect(learner_source, point(), [task], [0])
        policies.append(run.policy["policy.action_net.weight"])
    untrained = PPO(PopulationPPOConfig(**SMALL)).make_learner(point().spec, [np.random.SeedSequence(0)])
    np.testing.assert_array_equal(policies[0], untrained.policy_tensors(0)["policy.action_net.weight"])
    assert np.abs(policies[1] - policies[0]).max() > 1e-4


def test_means_are_recorded_as_they_would_be_executed(point, task, collect):
    source = PPO(PopulationPPOConfig(**SMALL, record_policy_means=True, log_std_init=-20.0))
    (run,) = collect(source, point(), [task], [0])
    np.testing.assert_allclose(run.history.policy_means, run.history.actions, atol=1e-6)
    assert np.abs(run.history.policy_means).max() > 0


def test_it_keeps_the_contract_of_a_source():
    results = run_checks(load("source", "ppo"))
    assert [(each.name, each.message) for each in results if not each.passed] == []


@pytest.mark.parametrize("saves", [1, 4], ids=["within a rollout", "after an update"])
def test_killed_on_a_simulator_it_goes_on_bit_by_bit(saves: int):
    """Reacher-Goal: progress is kept at 20, 40, … steps; rollouts have 30, episodes 50."""
    environment = ReacherGoal(ReacherGoal.Config())
    generator = np.random.default_rng(0)
    tasks = [Task(tuple(environment.sample_task_parameters(generator)), "train", index) for index in range(3)]
    seeds = np.random.SeedSequence(8).spawn(3)
    source = PPO(PopulationPPOConfig(**{**SMALL, "rollout_length": 30, "batch_size": 25, "record_policy_means": True}))
    whole = list(source.collect(environment, tasks, seeds, lambda steps: None))
    store = MemoryStore(interrupt_after=saves)
    with pytest.raises(Interrupted):
        list(source.collect(environment, tasks, seeds, lambda steps: None, store))
    for first, second in zip(whole, source.collect(environment, tasks, seeds, lambda steps: None, store), strict=True):
        for name in ("observations", "actions", "rewards", "next_observations", "truncated", "policy_means"):
            np.testing.assert_array_equal(getattr(first.history, name), getattr(second.history, name), err_msg=name)
        for name, values in first.policy.items():
            np.testing.assert_array_equal(values, second.policy[name], err_msg=name)
        assert first.statistics == second.statistics


def test_a_history_does_not_depend_on_the_company():
    """To the last bit, where the layers' widths are multiples of 16: at any place of a group of any size, and alone."""
    environment = PusherGoal(PusherGoal.Config())
    generator = np.random.default_rng(0)
    tasks = [Task(tuple(environment.sample_task_parameters(generator)), "train", index) for index in range(4)]
    seeds = np.random.SeedSequence(8).spawn(4)
    settings = {**SMALL, "total_steps": 615, "num_envs": 5, "batch_size": 35, "hidden_sizes": (64, 32)}
    source = PPO(PopulationPPOConfig(**settings, evaluation_episodes=0))

    def history(*company: int):
        runs = source.collect(environment, [tasks[i] for i in company], [seeds[i] for i in company], lambda steps: None)
        return next(run for run in runs if run.history.task == tasks[2])

    first = history(2, 3)
    for company in ((0, 2), (3, 0, 2, 1), (2,)):
        run = history(*company)
        np.testing.assert_array_equal(run.history.actions, first.history.actions, err_msg=str(company))
        for name, values in run.policy.items():
            np.testing.assert_array_equal(values, first.policy[name], err_msg=f"{company} {name}")


@pytest.mark.slow
def test_it_learns_as_stable_baselines3_does():
    """Ten tasks of the toy at equal settings: the last returns and the areas under the curves in each other's intervals."""
    settings = {
        "total_steps": 4000, "num_envs": 4, "rollout_length": 50, "batch_size": 50, "learning_rate": 1e-3,
        "discount": 0.9, "entropy_coefficient": 0.0, "log_std_init": -0.5, "hidden_sizes": (32, 32),
    }  # fmt: skip
    environment, tasks = ToyPoint(), ToyPoint().tasks(10)
    curves = []
    for source in (PPO(PopulationPPOConfig(**settings)), Sb3PPO(Sb3PPOConfig(**settings))):
        runs = source.collect(environment, tasks, np.random.SeedSequence(1).spawn(10), lambda steps: None)
        curves.append(np.array([np.mean([run.history.episode_returns(s) for s in range(4)], axis=0) for run in runs]))
    tenth = curves[0].shape[1] // 10
    assert (curves[0][:, -tenth:].mean(axis=1) > curves[0][:, :tenth].mean(axis=1) + 1.0).all()  # all have learnt
    for name, part in (("last tenth", slice(-tenth, None)), ("whole curve", slice(None))):
        population, reference = (curve[:, part].mean(axis=1) for curve in curves)  # (10,)
        differences = population - reference
        half_width = 2.262 * differences.std(ddof=1) / np.sqrt(10)  # of the 95 % interval, t with 9 degrees
        assert abs(differences.mean()) <= half_width, (name, differences)
        assert half_width < 0.6, name  # a wide interval would say nothing
