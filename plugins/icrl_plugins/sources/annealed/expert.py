"""One policy for all tasks of a family: it sees the task beside the observation (Schaul et al., 2015, universal values).

PPO trains it (`population/ppo.py`, a population of one) in as many environments as there are training tasks, each of which is
a task of its own. A task is seen as its parameters, less their mean and divided by their deviation over those tasks; a
parameter in radians as its cosine and its sine, so that the policy need not learn where the circle closes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from icrl_plugins.randomness.seeds import child_seed, draw_episode_seed, episode_seeds, integer_seeds
from icrl_plugins.sources.hyperparameters import PPOConfig
from icrl_plugins.sources.population.ppo import PPOLearner
from icrl_plugins.sources.population.source import one_thread
from icrl_plugins.sources.recording import HistoryRecorder
from icrl_registry.contracts import (
    Array,
    BatchedEnvironment,
    BatchedStep,
    BoolArray,
    Environment,
    EnvironmentSpec,
    FloatArray,
    Task,
)

#: A parameter that is the same in all tasks is divided by this.
_LEAST_DEVIATION = 1e-6


class TaskFeatures:
    """What the expert sees of a task: parameters (P,) → features (F,)."""

    def __init__(self, names: Sequence[str], parameters: Array) -> None:
        """
        Args:
            names: the parameters' names with their units, P of them, as an environment gives them.
            parameters: of the tasks that the expert trains on, (N, P); gives mean and deviation.
        """
        self.is_angle = np.array(["(rad" in name for name in names])
        self.mean = parameters.mean(axis=0)
        self.deviation = np.maximum(parameters.std(axis=0), _LEAST_DEVIATION)

    def __call__(self, parameters: Array) -> FloatArray:
        """(…, P) → (…, F), float32."""
        angles, others = parameters[..., self.is_angle], ~self.is_angle
        standardised = ((parameters - self.mean) / self.deviation)[..., others]
        features: FloatArray = np.concatenate([np.cos(angles), np.sin(angles), standardised], -1, dtype=np.float32)
        return features


class TaskSeeingBatch(BatchedEnvironment):
    """K environments whose observations (O,) are followed by what is seen of each one's task, (F,)."""

    def __init__(self, batch: BatchedEnvironment, features: FloatArray) -> None:
        """`features`: of the K tasks, (K, F)."""
        self._batch, self._features = batch, features
        self.num_tasks = batch.num_tasks

    def reset(self, row: int, seed: int) -> FloatArray:
        return np.concatenate([self._batch.reset(row, seed), self._features[row]])

    def step(self, actions: FloatArray, active: BoolArray) -> BatchedStep:
        step = self._batch.step(actions, active)
        return replace(step, observations=np.concatenate([step.observations, self._features], axis=1))

    def close(self) -> None:
        self._batch.close()


class Expert:
    """A trained policy and how it sees tasks."""

    def __init__(self, learner: PPOLearner, see: TaskFeatures) -> None:
        self.learner, self.see = learner, see

    def act(self, observations: FloatArray, features: FloatArray) -> FloatArray:
        """Observations (N, O) and what is seen of each one's task, (N, F) → mean actions (N, A) in [-1, 1]."""
        return self.learner.act_greedily(np.concatenate([observations, features], axis=1))

    def tensors(self) -> dict[str, Array]:
        """The policy's, by name."""
        return self.learner.policy_tensors(0)


def training_tasks(environment: Environment, count: int, seed: int) -> list[Task]:
    """What the expert trains on: drawn from the family like a protocol's training tasks, but from `seed` alone."""
    parameters = environment.sample_training_parameters(count, np.random.default_rng(seed))
    return [Task(tuple(float(value) for value in row), "train", index) for index, row in enumerate(parameters)]


def seeing_spec(spec: EnvironmentSpec, num_features: int) -> EnvironmentSpec:
    """`spec` with F = `num_features` numbers more in an observation."""
    return replace(spec, observation_size=spec.observation_size + num_features)


def untrained_expert(
    environment: Environment, tasks: Sequence[Task], config: PPOConfig, seed: np.random.SeedSequence
) -> Expert:
    """With PPO's first weights, and features for these tasks."""
    see = TaskFeatures(environment.task_parameter_names, np.array([task.parameters for task in tasks]))
    num_features = see(np.array(tasks[0].parameters)).shape[-1]
    spec = seeing_spec(environment.spec, num_features)
    return Expert(PPOLearner(spec, config, config.total_steps, [child_seed(seed, 0)]), see)


def train_expert(
    environment: Environment, tasks: Sequence[Task], config: PPOConfig, seed: np.random.SeedSequence
) -> Expert:
    """PPO on `config.total_steps` steps of all `tasks` together, one environment each (`config.num_envs` of them).

    Whole rollouts are taken, so up to a rollout's steps may be left out.

    Raises:
        NumericalError: an action, reward or observation is not finite.
    """
    with one_thread():
        expert = untrained_expert(
            environment, tasks, config.model_copy(update={"learning_rate_schedule": "constant"}), seed
        )
        learner = expert.learner
        seen = expert.see(np.array([task.parameters for task in tasks]))
        batch = TaskSeeingBatch(environment.make_batch(tasks), seen)
        try:
            recorder = HistoryRecorder(
                batch, tasks[:1], seeing_spec(environment.spec, seen.shape[1]), config.rollout_length
            )
            generators = [episode_seeds(each) for each in integer_seeds(child_seed(seed, 1), len(tasks))]
            for row, generator in enumerate(generators):
                recorder.reset(row, draw_episode_seed(generator))
            num_updates = config.steps_per_stream // config.rollout_length
            for update in range(num_updates):
                if config.learning_rate_schedule == "linear":
                    learner.optimiser.learning_rate = config.learning_rate * (1.0 - update / num_updates)
                _one_rollout(learner, recorder, generators)
        finally:
            batch.close()
    return expert


def _one_rollout(learner: PPOLearner, recorder: HistoryRecorder, generators: Sequence[np.random.Generator]) -> None:
    """Fills the recorder, learns from it and lets it begin again: the expert needs no history."""
    while recorder.steps_taken < recorder.num_steps:
        step = recorder.step(learner.act(recorder.current)[0])
        for row in np.flatnonzero(step.terminated | step.truncated):
            recorder.reset(int(row), draw_episode_seed(generators[int(row)]))
        learner.learn(recorder)
    recorder.steps_taken = 0


def load_expert(
    environment_spec: EnvironmentSpec, config: PPOConfig, tensors: Mapping[str, Array], num_features: int
) -> PPOLearner:
    """The policy back from `Expert.tensors`.

    Raises:
        UsageError: the tensors don't belong to a policy of these sizes.
    """
    seed: Any = np.random.SeedSequence(0)  # its weights are overwritten
    learner = PPOLearner(seeing_spec(environment_spec, num_features), config, config.total_steps, [seed])
    learner.load_policy(tensors)
    return learner
