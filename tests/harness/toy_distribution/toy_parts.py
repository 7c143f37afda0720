"""Parts so small that a whole run takes a moment, and that can be told to fail in every way a run must survive."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from typing import Literal

import gymnasium
import numpy as np
from pydantic import Field

from icrl_registry.batching import SequentialBatch
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Agent, Checkpoint, Environment, Method, Source, SourceRun
from icrl_registry.errors import BenchError
from icrl_registry.testing.toy import STEP_LENGTH, ToyPoint, ToyPointConfig, reward_at, toy_history

__all__ = [
    "BlindPoint",
    "FaultyPoint",
    "MeasuredPoint",
    "ToyMethod",
    "ToyOnline",
    "ToyPoint",
    "ToyPopulation",
    "ToySource",
    "UnsolvedPoint",
]


class FaultyPointConfig(ToyPointConfig):
    fault: Literal["none", "reward", "observation", "reset"] = Field("none", description="what is NaN")
    resets_before: int = Field(0, description="resets of a batch that go well")


class FaultyPoint(ToyPoint):
    """The toy with a NaN in the third step of an episode."""

    Config = FaultyPointConfig
    id = "toy-faulty-v1"

    def __init__(self, config: ComponentConfig | None = None) -> None:
        self.config = config if isinstance(config, FaultyPointConfig) else FaultyPointConfig()

    def make_batch(self, tasks):
        return FaultyBatch([self.make(task) for task in tasks], self.config)


class FaultyBatch(SequentialBatch):
    def __init__(self, environments, config: FaultyPointConfig) -> None:
        super().__init__(environments)
        self.config, self.resets, self.steps = config, 0, 0

    def reset(self, row, seed):
        self.resets, self.steps = self.resets + 1, 0
        observation = super().reset(row, seed)
        return observation * np.nan if self.config.fault == "reset" and self._is_due() else observation

    def step(self, actions, active):
        self.steps += 1
        step = super().step(actions, active)
        if self.steps == 3 and self._is_due() and self.config.fault in ("reward", "observation"):
            name = {"reward": "rewards", "observation": "observations"}[self.config.fault]
            broken = np.array(getattr(step, name))
            broken[-1] = np.nan
            return dataclasses.replace(step, **{name: broken})
        return step

    def _is_due(self) -> bool:
        return self.resets > self.config.resets_before


class MeasuredPoint(ToyPoint):
    """The toy with a measure of success: at the goal in the end."""

    id = "toy-measured-v1"
    success = "within 0.3 of the goal at the end"

    def make(self, task, render_mode=None):
        return self.measured(super().make(task, render_mode), np.asarray(task.parameters))

    def measured(self, environment, goal):
        return _Measured(environment, lambda position: float(reward_at(position, goal) > -0.3))


class UnsolvedPoint(MeasuredPoint):
    """Nobody succeeds here."""

    id = "toy-unsolved-v1"

    def measured(self, environment, goal):
        return _Measured(environment, lambda position: 0.0)


class BlindPoint(MeasuredPoint):
    """Every task pays and succeeds alike, to a thousandth: to stay where one is."""

    id = "toy-blind-v1"

    def measured(self, environment, goal):
        return _Measured(environment, lambda position: 1.0, lambda position: float(reward_at(position, goal / 1000)))


class _Measured(gymnasium.Wrapper):
    def __init__(self, environment, success, reward=None) -> None:
        super().__init__(environment)
        self.success, self.paid = success, reward

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if self.paid is not None:
            reward = self.paid(observation)
        if terminated or truncated:
            info = {**info, "success": self.success(observation)}
        return observation, reward, terminated, truncated, info


class ToySourceConfig(ComponentConfig):
    total_steps: int = Field(80, ge=1, description="environment steps a task")
    pause: float = Field(0.0, ge=0, description="seconds that a task takes")
    fault: Literal["none", "not_finite", "wide", "shape", "raise", "exit", "kill", "bench", "order", "few", "print"] = (
        Field("none", description="how to fail")
    )
    faulty_task: str = Field("train-001", description="the task to fail on")


class ToySource(Source):
    """Writes the closed-form history of `icrl_registry.testing.toy`."""

    Config = ToySourceConfig

    def __init__(self, config: ToySourceConfig) -> None:
        self.config = config

    def collect(self, environment: Environment, tasks, seeds, report_steps, checkpoints=None):
        for given, seed in zip(tasks, seeds, strict=True):
            task = given if given.parameters else dataclasses.replace(given, parameters=(0.0, 0.0))  # a mixture's
            horizon = environment.spec.horizon
            history = toy_history(environment, task, self.config.total_steps // horizon, int(seed.generate_state(1)[0]))
            for _ in range(4):
                time.sleep(self.config.pause / 4)
                report_steps(self.config.total_steps // 4)
            if task.label == self.config.faulty_task:
                if self.config.fault == "few":
                    return
                history = self._break(history)
            policy = {"goal": np.asarray(task.parameters, dtype=np.float32)}
            yield SourceRun(history, policy, {"greedy_return": float(history.rewards.max())})

    def greedy_policy(self, policy_tensors, environment_spec):
        goal = policy_tensors["goal"]
        return lambda observations: np.clip((goal - observations) / STEP_LENGTH, -1, 1).astype(np.float32)

    def _break(self, history):
        fault = self.config.fault
        if fault == "not_finite":
            rewards = np.array(history.rewards)
            rewards[0, 23] = np.nan
            return dataclasses.replace(history, rewards=rewards)
        if fault == "wide":
            return dataclasses.replace(history, actions=history.actions * np.float32(3))
        if fault == "shape":
            return dataclasses.replace(history, rewards=history.rewards[0])
        if fault == "order":
            return dataclasses.replace(history, task=dataclasses.replace(history.task, index=7))
        if fault == "raise":
            raise ZeroDivisionError("the source stumbled")
        if fault == "exit":
            sys.exit(0)
        if fault == "bench":
            raise BenchError("the source gave up", "ask it nicely")
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "print":
            print("noise on standard output")  # noqa: T201
            os.write(1, b"noise below Python\n")
        return history


class ToyPopulationConfig(ComponentConfig):
    total_steps: int = Field(80, ge=1, description="environment steps a task")
    population: int = Field(3, ge=1, description="tasks that are trained together")
    pause: float = Field(0.0, ge=0, description="seconds that a round takes")


class ToyPopulation(Source):
    """Trains tasks together, in eight rounds. A history tells who was in the company, and everything that was drawn."""

    Config = ToyPopulationConfig

    def __init__(self, config: ToyPopulationConfig) -> None:
        self.config = config

    def group_size(self):
        return self.config.population

    def collect(self, environment: Environment, tasks, seeds, report_steps, checkpoints=None):
        generators = [np.random.default_rng(seed) for seed in seeds]
        drawn, first = np.zeros(len(tasks), dtype=np.int64), 0
        kept = checkpoints.load() if checkpoints else None
        if kept is not None:
            drawn, first = kept.tensors["drawn"], kept.state["rounds"]
            for generator, state in zip(generators, kept.state["generators"], strict=True):
                generator.bit_generator.state = state
        for done in range(first + 1, 9):
            drawn += [int(generator.integers(1000)) for generator in generators]
            time.sleep(self.config.pause)
            report_steps(self.config.total_steps // 8 * len(tasks))
            if checkpoints and checkpoints.due():
                states = [generator.bit_generator.state for generator in generators]
                checkpoints.save(Checkpoint({"drawn": drawn}, {"rounds": done, "generators": states}))
        for task in tasks:
            time.sleep(self.config.pause)
            episodes = self.config.total_steps // environment.spec.horizon
            yield SourceRun(toy_history(environment, task, episodes, int(drawn.sum())), {"drawn": drawn})


class ToyMethodConfig(ComponentConfig):
    updates: int = Field(12, ge=1, description="updates of training")
    checkpoint_every: int = Field(5, ge=1, description="updates between two saves of progress")
    step_size: float = Field(0.3, gt=0, description="how far an update goes")
    pause: float = Field(0.0, ge=0, description="seconds that an update takes")
    fault: Literal["none", "nan_weight", "nan_action", "wide", "shape", "ragged", "raise", "eof", "exit", "print"] = (
        Field("none", description="how to fail")
    )


class ToyMethod(Method):
    """Learns the mean last action of the histories, with noise from a generator that its progress carries on."""

    Config = ToyMethodConfig
    training_data = "histories"

    def __init__(self, config: ToyMethodConfig, backbone=None) -> None:
        self.config = config

    def train(self, job):
        generator = np.random.default_rng(job.seed)
        weights, done = np.zeros(job.spec.action_size, dtype=np.float32), 0
        progress = job.checkpoints.load()
        if progress is not None:
            weights, done = np.array(progress.tensors["model.weights"]), progress.state["done"]
            generator.bit_generator.state = progress.state["generator"]
        if self.config.fault == "print":
            print("noise on standard output")  # noqa: T201
        while done < self.config.updates:
            target = self._target(job, done)
            noise = generator.normal(0, 0.1, weights.shape).astype(np.float32)
            weights = weights + np.float32(self.config.step_size) * (target - weights) + noise
            done += 1
            time.sleep(self.config.pause)
            job.report(done, self.config.updates, {"loss": float(np.abs(target - weights).mean())})
            if done % self.config.checkpoint_every == 0:
                job.checkpoints.save(self._checkpoint(weights, done, generator))
            self._maybe_fail()
        if self.config.fault == "nan_weight":
            weights = weights * np.float32(np.nan)
        return self._checkpoint(weights, done, generator)

    def _target(self, job, done: int):
        history = job.histories[done % len(job.histories)]
        return np.asarray(history.actions[0, -1], dtype=np.float32)

    def _checkpoint(self, weights, done, generator):
        scale = np.array(0.5, dtype=np.float32)  # no dimension at all
        state = {"done": done, "generator": generator.bit_generator.state, "counts": {2: "two", 10: "ten"}}
        return Checkpoint({"model.weights": weights, "scale": scale}, state)

    def _maybe_fail(self) -> None:
        if self.config.fault == "raise":
            raise ZeroDivisionError("the method stumbled")
        if self.config.fault == "eof":
            raise EOFError("nothing more to read")
        if self.config.fault == "exit":
            sys.exit(0)

    def agent(self, checkpoint, spec, device):
        assert checkpoint.tensors["scale"].shape == ()
        return ToyAgent(checkpoint.tensors["model.weights"], self.config)


class ToyAgent(Agent):
    """Acts near the weights and moves to whatever was rewarded best in each task so far."""

    def __init__(self, weights, config: ToyMethodConfig) -> None:
        self.weights, self.config = weights, config

    def begin(self, setting) -> None:
        self.setting, self.steps = setting, 0
        self.generator = np.random.default_rng(setting.seed)
        self.best = np.tile(self.weights, (setting.num_tasks, 1)).astype(np.float32)  # (K, A)
        self.best_reward = np.full(setting.num_tasks, -np.inf)

    def act(self, observations):
        actions = self.best + self.generator.normal(0, 0.3, self.best.shape).astype(np.float32)
        if self.config.fault == "nan_action" and self.steps == 4:
            actions[1] = np.nan
        if self.config.fault == "wide":
            return actions * 100
        if self.config.fault == "shape":
            return actions[:, :1]
        if self.config.fault == "ragged":
            return [[0.0], [0.0, 1.0]]
        return actions

    def observe(self, transitions) -> None:
        self.steps += 1
        time.sleep(self.config.pause)
        better = transitions.active & (transitions.rewards > self.best_reward)
        self.best[better] = transitions.actions[better]
        self.best_reward[better] = transitions.rewards[better]

    def diagnostics(self):
        return {"steps_seen": float(self.steps)}


class ToyOnline(ToyMethod):
    """The same on metered steps in the training tasks: one step in two tasks an update."""

    training_data = "tasks"

    def _target(self, job, done: int):
        batch = job.tasks.make_batch([0, 1])
        for row in range(2):
            batch.reset(row, done)
        step = batch.step(np.full((2, job.spec.action_size), 0.5, np.float32), np.array([True, done % 2 == 0]))
        batch.close()
        return step.observations[0]
