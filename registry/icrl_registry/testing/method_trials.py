"""What the checks of a method work with: a toy training job, checkpoints in memory, and the loop in which an agent acts."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icrl_registry.actions import executed
from icrl_registry.contracts import (
    AdaptationSetting,
    Agent,
    Array,
    Checkpoint,
    CheckpointStore,
    FloatArray,
    Method,
    Task,
    Track,
    TrainingJob,
    Transitions,
)
from icrl_registry.errors import BenchError
from icrl_registry.testing.given_world import world_of
from icrl_registry.testing.toy import ToyPoint, ToyTrainingTasks, toy_backbone_class, toy_history
from icrl_registry.testing.trial import Trial

NUM_TASKS, HISTORY_EPISODES, EPISODES = 4, 12, 3


class Interrupted(BaseException):
    """Stands for a kill: raised in `save`, after the progress is kept."""


class MemoryStore(CheckpointStore):
    """Keeps the last checkpoint as safetensors and JSON text, as the harness does on disk."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.saves = 0
        self.interrupt_after = interrupt_after
        self._kept: tuple[bytes, str] | None = None

    def load(self) -> Checkpoint | None:
        return None if self._kept is None else unpack(*self._kept)

    def save(self, checkpoint: Checkpoint) -> None:
        self._kept = pack(checkpoint)
        self.saves += 1
        if self.saves == self.interrupt_after:
            raise Interrupted


def pack(checkpoint: Checkpoint) -> tuple[bytes, str]:
    """A checkpoint as safetensors and JSON."""
    from safetensors.numpy import save

    tensors = {name: np.array(tensor, order="C") for name, tensor in checkpoint.tensors.items()}
    return save(tensors), json.dumps(checkpoint.state, allow_nan=False)


def unpack(tensors: bytes, state: str) -> Checkpoint:
    """The way back from `pack`."""
    from safetensors.numpy import load

    return Checkpoint(load(tensors), json.loads(state))


@dataclass(frozen=True)
class PlayedTrial:
    """What an agent did in K tasks: actions (T, K, A), rewards (T, K)."""

    actions: Array
    rewards: Array


def make_method(trial: Trial) -> Method:
    """The method, with the trial's backbone, or a toy, if it uses one."""
    from icrl_registry.configuration import ComponentConfig, build_config

    if not trial.component.uses_backbone:
        return trial.make()  # type: ignore[no-any-return]
    build, config = toy_backbone_class(), ComponentConfig()
    if trial.backbone is not None:
        build = trial.backbone.component
        config = build_config(build.Config, getattr(build, "conformance_settings", {}), "backbone")
    return trial.make(lambda context_length: build(config, context_length=context_length))  # type: ignore[no-any-return]


def train(
    trial: Trial, store: CheckpointStore | None = None, seed: int = 0, environment: ToyPoint | None = None
) -> Checkpoint:
    """Trains on the toy of its actions, on what the method says that it wants: histories, tasks or nothing."""
    environment = environment or world_of(trial)
    tasks = environment.tasks(NUM_TASKS)
    wants = trial.component.training_data
    histories = [toy_history(environment, task, HISTORY_EPISODES, seed=5) for task in tasks]

    def expert(index: int, observations: FloatArray) -> FloatArray:
        return environment.best_actions(observations, np.asarray(tasks[index].parameters))

    job = TrainingJob(
        spec=environment.spec,
        histories=histories if wants == "histories" else [],
        tasks=ToyTrainingTasks(environment, tasks) if wants == "tasks" else None,
        seed=np.random.SeedSequence(seed),
        device="cpu",
        checkpoints=store or MemoryStore(),
        validate=lambda agent: _validate(agent, environment),
        report=lambda done, total, metrics: None,
        expert_actions=expert if wants == "histories" and environment.has_closed_form else None,
    )
    return make_method(trial).train(job)


@functools.lru_cache(maxsize=1)
def trained(trial: Trial) -> Checkpoint:
    """One training that the checks share."""
    return train(trial)


def make_agent(trial: Trial, checkpoint: Checkpoint, environment: ToyPoint | None = None) -> Agent:
    """An agent of a new instance of the method."""
    return make_method(trial).agent(checkpoint, (environment or world_of(trial)).spec, "cpu")


def play(
    agent: Agent,
    tasks: Sequence[Task],
    seed: int = 0,
    track: Track = "online",
    num_episodes: int = EPISODES,
    environment: ToyPoint | None = None,
) -> PlayedTrial:
    """The harness's adaptation loop, to the horizon in every episode: rows whose episode has ended are inactive."""
    environment = environment or ToyPoint()
    spec = environment.spec
    offline = [toy_history(environment, task, HISTORY_EPISODES, seed=9) for task in tasks]
    setting = AdaptationSetting(
        num_tasks=len(tasks),
        num_episodes=num_episodes,
        track=track,
        seed=np.random.SeedSequence(seed),
        offline_histories=offline if track == "offline" else None,
    )
    batch = environment.make_batch(tasks)
    actions, rewards = [], []
    agent.begin(setting)
    for episode in range(num_episodes):
        active = np.ones(len(tasks), dtype=np.bool_)
        observations = np.stack([batch.reset(row, seed=100 * row + episode) for row in range(len(tasks))])  # (K, O)
        for _ in range(environment.config.horizon):
            chosen = executed(checked_actions(agent.act(observations), len(tasks), spec.action_size), spec)
            step = batch.step(chosen, active)
            agent.observe(
                Transitions(
                    observations,
                    chosen,
                    step.rewards,
                    step.observations,
                    step.terminated,
                    step.truncated,
                    active.copy(),
                )
            )
            actions.append(np.where(active[:, None], chosen, 0))
            rewards.append(np.where(active, step.rewards, 0))
            observations = step.observations
            active &= ~(step.terminated | step.truncated)
            if not active.any():
                break
        missing = (episode + 1) * environment.config.horizon - len(actions)
        actions += [np.zeros_like(chosen)] * missing
        rewards += [np.zeros(len(tasks))] * missing
    batch.close()
    return PlayedTrial(np.stack(actions), np.stack(rewards))


def checked_actions(actions: Any, num_tasks: int, action_size: int = 2) -> Array:
    """Actions as the harness takes them, (K, A) float32, finite.

    Raises:
        BenchError: anything else.
    """
    chosen = np.asarray(actions, dtype=np.float32)
    if chosen.shape != (num_tasks, action_size):
        raise BenchError(f"act returned shape {chosen.shape} for {num_tasks} tasks", "return (K, A)")
    if not np.isfinite(chosen).all():
        raise BenchError("act returned a NaN or an infinity", "look at the observation and reward scaling")
    return chosen


def _validate(agent: Agent, environment: ToyPoint) -> Mapping[str, float]:
    tasks = environment.tasks(2, seed=1, split="validation")
    played = play(agent, tasks, seed=1, num_episodes=2, environment=environment)
    return {"return": float(played.rewards.sum(axis=0).mean())}
