"""Hill climbing on a linear policy: change it at random, keep the change if the next episode was better."""

import numpy as np
from pydantic import Field

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import LearningHistory, Source, SourceRun


class HillClimbConfig(ComponentConfig):
    total_steps: int = Field(2000, ge=1, description="environment steps per task")
    step_size: float = Field(1.0, gt=0, description="standard deviation of a change of the policy's weights")


class HillClimb(Source):
    """(1+1) evolution strategy: the policy is `tanh(W [observation, 1])`."""

    Config = HillClimbConfig
    conformance_settings = {"total_steps": 200}  # noqa: RUF012

    def __init__(self, config):
        self.config = config

    def collect(self, environment, tasks, seeds, report_steps, checkpoints=None):
        for task, seed in zip(tasks, seeds, strict=True):
            yield self.climb(environment, task, np.random.default_rng(seed))
            report_steps(self.config.total_steps)

    def climb(self, environment, task, generator):
        spec = environment.spec
        single = environment.make(task)
        best = np.zeros((spec.action_size, spec.observation_size + 1))  # (A, O + 1)
        tried, best_return, episode_return = best, -np.inf, 0.0
        rows = []
        observation, _ = single.reset(seed=int(generator.integers(2**31)))
        for _ in range(self.config.total_steps):
            action = np.tanh(tried @ np.append(observation, 1.0)).astype(np.float32)
            following, reward, terminated, truncated, _ = single.step(action)
            rows.append((observation, action, reward, following, terminated, truncated))
            episode_return += reward
            observation = following
            if terminated or truncated:
                if episode_return > best_return:
                    best, best_return = tried, episode_return
                tried, episode_return = best + generator.normal(0, self.config.step_size, best.shape), 0.0
                observation, _ = single.reset(seed=int(generator.integers(2**31)))
        single.close()
        return SourceRun(as_history(task, rows), {"weight": best.astype(np.float32)}, {"best_return": best_return})


def as_history(task, rows):
    """One stream: (1, T, …)."""
    observations, actions, rewards, followings, terminated, truncated = zip(*rows, strict=True)
    return LearningHistory(
        task=task,
        observations=np.stack(observations)[None].astype(np.float32),
        actions=np.stack(actions)[None],
        rewards=np.array(rewards, np.float32)[None],
        next_observations=np.stack(followings)[None].astype(np.float32),
        terminated=np.array(terminated, np.bool_)[None],
        truncated=np.array(truncated, np.bool_)[None],
    )
