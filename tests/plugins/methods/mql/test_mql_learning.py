"""What it learns: as much as Stable-Baselines3's TD3 on one task, and with a context what it can't know without."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from icrl_registry.contracts import Task
from icrl_registry.testing.method_trials import play
from icrl_registry.testing.toy import ToyPoint

GOAL = (0.6, -0.5)
SHARED = {"learning_rate": 1e-3, "batch_size": 64, "tau": 0.02, "discount": 0.9}


def greedy_returns(act, environment: ToyPoint, episodes: int) -> np.ndarray:
    """Undiscounted returns of a deterministic policy on the fixed goal."""
    returns = []
    env = environment.make(Task(GOAL))
    for episode in range(episodes):
        observation, total, ended = env.reset(seed=episode)[0], 0.0, False
        while not ended:
            observation, reward, terminated, truncated, _ = env.step(act(observation))
            total, ended = total + float(reward), terminated or truncated
        returns.append(total)
    return np.array(returns)


def stable_baselines_returns(environment: ToyPoint, steps: int, seed: int) -> np.ndarray:
    from stable_baselines3 import TD3
    from stable_baselines3.common.noise import NormalActionNoise

    model = TD3(
        "MlpPolicy",
        environment.make(Task(GOAL)),
        learning_rate=SHARED["learning_rate"],
        batch_size=SHARED["batch_size"],
        tau=SHARED["tau"],
        gamma=SHARED["discount"],
        learning_starts=200,
        train_freq=(2, "episode"),
        gradient_steps=20,
        policy_delay=2,
        action_noise=NormalActionNoise(np.zeros(2), 0.2 * np.ones(2)),
        policy_kwargs={"net_arch": [32, 32]},
        seed=seed,
        device="cpu",
    )
    model.learn(steps)
    return greedy_returns(lambda o: model.predict(o, deterministic=True)[0], environment, 10)


def own_returns(mql, environment: ToyPoint, steps: int, seed: int) -> np.ndarray:
    method, checkpoint = mql.train_toy(
        environment,
        [Task(GOAL, "train", 0)],
        seed=seed,
        hidden_sizes=(32, 32),
        context_size=0,
        propensity_features="context_and_observation",
        updates=steps - 200,
        updates_per_round=20,
        episodes_per_round=2,
        initial_steps_least=200,
        initial_steps_per_task=200,
        initial_episode_fraction=1.0,
        own_updates=0,
        replay_updates=0,
        **SHARED,
    )
    rewards = play(method.agent(checkpoint, environment.spec, "cpu"), [Task(GOAL)], num_episodes=10).rewards  # (T, 1)
    return rewards.reshape(10, environment.config.horizon).sum(axis=1)


def interval(returns: list[float]) -> tuple[float, float]:
    """95 % of a mean by Student's t."""
    half = scipy.stats.t.ppf(0.975, len(returns) - 1) * scipy.stats.sem(returns)
    return float(np.mean(returns) - half), float(np.mean(returns) + half)


@pytest.mark.slow
def test_td3_core_learns_a_fixed_goal_as_stable_baselines_does(mql):
    """Equal hyper-parameters, networks and budgets; random actions give -8, the best policy -0.8."""
    environment, steps = ToyPoint(), 1000
    own = [float(own_returns(mql, environment, steps, seed).mean()) for seed in range(4)]
    theirs = [float(stable_baselines_returns(environment, steps, seed).mean()) for seed in range(4)]
    (low, high), (their_low, their_high) = interval(own), interval(theirs)
    assert low <= their_high
    assert their_low <= high
    assert min(np.mean(own), np.mean(theirs)) > -3


def returns_near_and_far(mql, seed: int, **settings: object) -> np.ndarray:
    """Returns of an agent that was trained on a near goal and a far one: (episodes, K)."""
    environment = ToyPoint()
    tasks = [Task((x, 0.0), "train", index) for index, x in enumerate((0.1, 0.9))]
    method, checkpoint = mql.train_toy(
        environment,
        tasks,
        seed=seed,
        hidden_sizes=(32, 32),
        history_length=4,
        propensity_features="context_and_observation",
        updates=1600,
        updates_per_round=20,
        episodes_per_round=2,
        initial_steps_least=2000,
        initial_steps_per_task=100,
        initial_episode_fraction=1.0,
        own_updates=0,
        replay_updates=0,
        pad_evaluation=True,
        standardise=True,
        **SHARED,
        **settings,
    )
    rewards = play(method.agent(checkpoint, environment.spec, "cpu"), tasks, num_episodes=4).rewards  # (T, K)
    return rewards.reshape(4, environment.config.horizon, len(tasks)).sum(axis=1)


@pytest.mark.slow
def test_a_context_tells_the_task(mql):
    """Whoever doesn't know the goal loses 4 on average wherever it stands between them; the first reward tells which."""
    blind = returns_near_and_far(mql, 0, context_size=0)
    seeing = returns_near_and_far(mql, 0, context_size=8)
    assert blind.mean() < -3.5
    assert seeing.mean() > -3
