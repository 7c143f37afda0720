"""On points on a line with hidden goals, whose best policy is known: one step fits an unseen task, and only that step does."""

import numpy as np
import pytest

from icrl_plugins.methods.macaw import MACAW
from icrl_registry.contracts import AdaptationSetting, Agent

SETTINGS = {
    "updates": 250,
    "hidden_size": 32,
    "latent_size": 16,
    "inner_batch_size": 100,
    "outer_batch_size": 100,
    "adaptation_batch_size": 100,
    "discount": 0.9,
    "learning_rate": 2e-3,
    "value_learning_rate": 2e-3,
    "rate_learning_rate": 1e-2,
    "initial_rate": 0.01,
    "exploration": "random",
}


class Offline(Agent):
    """The agent on the offline track of the given goals."""

    def __init__(self, agent, histories) -> None:
        self.agent, self.histories = agent, histories

    def begin(self, setting: AdaptationSetting) -> None:
        self.agent.begin(
            AdaptationSetting(setting.num_tasks, setting.num_episodes, "offline", setting.seed, self.histories)
        )

    def act(self, observations):
        return self.agent.act(observations)

    def observe(self, transitions) -> None:
        self.agent.observe(transitions)


def histories_of(toy, goals, first: int = 0):
    return [toy.history(goal, 20, np.random.default_rng(first + i), i) for i, goal in enumerate(goals)]


def offline_return(toy, goals, **settings) -> float:
    method = MACAW(MACAW.Config(**{**SETTINGS, **settings}))
    training = histories_of(toy, toy.goals(24, np.random.default_rng(0)))
    agent = method.agent(method.train(toy.job(training)), toy.spec, "cpu")
    return float(toy.adapt(Offline(agent, histories_of(toy, goals, 100)), goals, 2).mean())


@pytest.mark.slow
def test_one_step_adapts_to_unseen_tasks_and_the_same_network_without_it_does_not(toy) -> None:
    goals = toy.goals(16, np.random.default_rng(5))  # on both sides of the start: nothing suits all
    best = -np.mean([sum(max(0.0, abs(goal) - 0.5 * (t + 1)) for t in range(toy.horizon)) for goal in goals])
    standing = -toy.horizon * np.abs(goals).mean()
    adapted = offline_return(toy, goals)
    unadapted = offline_return(toy, goals, initial_rate=1e-9, rate_learning_rate=1e-9)
    assert best > adapted > best - 0.25 * (best - standing)
    assert unadapted < best - 0.75 * (best - standing)
