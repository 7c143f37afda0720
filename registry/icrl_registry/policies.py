"""A trained agent as a folder: written by `icrl-bench policy export`, read here, without the harness that trained it.

    from icrl_registry.policies import load_policy

    agent = load_policy("policy")                # NumPy, torch and the plugin that the method comes from
    observation, _ = environment.reset(seed=0)
    action = agent.act(observation)              # then agent.observe(…), as `LoadedAgent` says

The folder holds `policy.json` (which method and backbone, with their whole configuration; sizes; the checkpoint's checksum),
`checkpoint.safetensors` (named tensors, and the method's own state as JSON in the metadata) and a README. None of it is code.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from icrl_registry.actions import action_numbers, executed, one_hot
from icrl_registry.contracts import (
    AdaptationSetting,
    Agent,
    Array,
    Checkpoint,
    EnvironmentSpec,
    Method,
    Transitions,
)
from icrl_registry.discovery import Plugin, load
from icrl_registry.errors import DamagedArtefactError, UsageError
from icrl_registry.policy_bounds import TooLarge, bounded_tensors, check_sizes

FORMAT = 1
DESCRIPTION, CHECKPOINT, README = "policy.json", "checkpoint.safetensors", "README.md"

_README = """# A policy of icrl-bench

{method}, meta-trained for `{environment}` (run `{run_id}`). It adapts while it acts, so it needs the observation, action and
reward of every step.

```python
import gymnasium
import icrl_bench.gymnasium_ids  # only for the environment's id; any environment of these sizes will do
from icrl_registry.policies import load_policy

agent = load_policy("{folder}")
environment = gymnasium.make("ID", task=(...))  # observations ({observation_size},), actions ({action_size},) in [-1, 1]
for episode in range({num_episodes}):
    observation, _ = environment.reset(seed=episode)
    done = False
    while not done:
        action = agent.act(observation)
        following, reward, terminated, truncated, _ = environment.step(action)
        agent.observe(observation, action, reward, following, terminated, truncated)
        observation, done = following, terminated or truncated
```

Needed: {distributions}. Weights are in `checkpoint.safetensors`, everything else in `policy.json`.
"""


@dataclass(frozen=True)
class LoadedAgent:
    """A trained method that acts in any loop: one task at a time, or K side by side.

    >>> agent = icrl_bench.load_agent("ad-mamba", "reacher-goal", protocol="smoke", num_tasks=4)
    >>> agent.act(observations).shape  # observations (4, O)
    (4, 2)
    """

    agent: Agent
    num_tasks: int
    spec: EnvironmentSpec

    def act(self, observations: ArrayLike) -> Array:
        """(O,) → (A,) with one task, else (K, O) → (K, A); actions in [-1, 1]. Discrete ones are numbers, () and (K,).

        >>> action = agent.act(observation)
        """
        rows = np.asarray(observations, dtype=np.float32).reshape(self.num_tasks, -1)
        actions: Any = executed(np.asarray(self.agent.act(rows), dtype=np.float32), self.spec)
        if self.spec.actions == "discrete":
            actions = action_numbers(actions)
        return cast("Array", actions[0] if np.ndim(observations) == 1 else actions)

    def observe(
        self,
        observation: ArrayLike,
        action: ArrayLike,
        reward: ArrayLike,
        next_observation: ArrayLike,
        terminated: ArrayLike,
        truncated: ArrayLike,
    ) -> None:
        """What one step of every task brought; shapes as `act` has them, numbers where there is one task.

        >>> following, reward, terminated, truncated, _ = environment.step(action)
        >>> agent.observe(observation, action, reward, following, terminated, truncated)
        """
        count = self.num_tasks
        if self.spec.actions == "discrete":
            action = one_hot(np.asarray(action), self.spec.action_size)
        self.agent.observe(
            Transitions(
                observations=np.asarray(observation, dtype=np.float32).reshape(count, -1),
                actions=np.asarray(action, dtype=np.float32).reshape(count, -1),
                rewards=np.asarray(reward, dtype=np.float32).reshape(count),
                next_observations=np.asarray(next_observation, dtype=np.float32).reshape(count, -1),
                terminated=np.asarray(terminated, dtype=np.bool_).reshape(count),
                truncated=np.asarray(truncated, dtype=np.bool_).reshape(count),
                active=np.ones(count, dtype=np.bool_),
            )
        )


@dataclass(frozen=True)
class Part:
    """A method or a backbone with its whole configuration."""

    name: str
    distribution: str
    version: str
    content_hash: str
    config: Mapping[str, Any]

    @classmethod
    def of(cls, plugin: Plugin, config: Mapping[str, Any]) -> Part:
        """The part that a loaded plugin and its configuration, as JSON, make."""
        entry = plugin.entry
        return cls(entry.name, entry.distribution, entry.distribution_version, plugin.content_hash, dict(config))


@dataclass(frozen=True)
class PolicyDescription:
    """Everything of an exported policy but its tensors."""

    run_id: str
    method_name: str  # as typed, such as ad-mamba
    method: Part
    backbone: Part | None
    spec: EnvironmentSpec
    num_episodes: int  # the budget that it was made for
    seed: np.random.SeedSequence  # of the agent's own noise in the run


def write_policy(folder: Path, about: PolicyDescription, checkpoint: bytes) -> None:
    """Writes the folder, which may be there but must be empty. `checkpoint`: a safetensors file with `state` in its metadata.

    Raises:
        UsageError: the folder holds something.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", "give --out a new folder")
    parts = [part for part in (about.method, about.backbone) if part is not None]
    document = {
        "format": FORMAT,
        "run_id": about.run_id,
        "method_name": about.method_name,
        "method": vars(about.method),
        "backbone": vars(about.backbone) if about.backbone is not None else None,
        "environment": vars(about.spec),
        "num_episodes": about.num_episodes,
        "agent_seed": {"entropy": about.seed.entropy, "spawn_key": list(about.seed.spawn_key)},
        "checkpoint_sha256": hashlib.sha256(checkpoint).hexdigest(),
    }
    readme = _README.format(
        method=about.method_name,
        environment=about.spec.id,
        run_id=about.run_id,
        folder=folder.name,
        observation_size=about.spec.observation_size,
        action_size=about.spec.action_size,
        num_episodes=about.num_episodes,
        distributions=", ".join(sorted({f"{part.distribution} {part.version}" for part in parts})),
    )
    (folder / CHECKPOINT).write_bytes(checkpoint)
    (folder / README).write_text(readme, encoding="utf-8")
    (folder / DESCRIPTION).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load_policy(
    folder: Path | str, *, num_tasks: int = 1, num_episodes: int | None = None, device: str = "cpu"
) -> LoadedAgent:
    """The exported agent at the beginning of `num_tasks` unseen tasks of `num_episodes` episodes (by default the run's budget).

    A plugin whose code has changed since gives a warning.

    Raises:
        DamagedArtefactError: the folder is no exported policy, a file of it was changed, or its sizes ask for far more
            memory than the file has bytes.
        UnknownNameError, PluginError: the method or its backbone is not installed, or broken.
    """
    folder = Path(folder)
    about = _read_description(folder)
    checkpoint = _read_checkpoint(folder, about["checkpoint_sha256"])
    try:
        spec = _specification(about["environment"])
        episodes = num_episodes or int(about["num_episodes"])
        seed = np.random.SeedSequence(
            about["agent_seed"]["entropy"], spawn_key=tuple(map(int, about["agent_seed"]["spawn_key"]))
        )
        check_sizes(spec, checkpoint.tensors)
        method = _make_method(about["method"], about["backbone"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedArtefactError(f"{folder / DESCRIPTION} is incomplete: {error!r}", _again(folder)) from error
    try:
        with bounded_tensors((folder / CHECKPOINT).stat().st_size, num_tasks):
            agent = method.agent(checkpoint, spec, device)
            agent.begin(AdaptationSetting(num_tasks, episodes, "online", seed))
    except TooLarge as error:
        raise DamagedArtefactError(f"{folder} cannot be loaded: {error}", _again(folder)) from error
    return LoadedAgent(agent, num_tasks, spec)


def _specification(about: Mapping[str, Any]) -> EnvironmentSpec:
    spec = EnvironmentSpec(**about)
    for name in ("observation_size", "action_size", "horizon"):
        if type(getattr(spec, name)) is not int or getattr(spec, name) < 1:
            raise ValueError(f"{name} is {getattr(spec, name)!r}, no number of at least 1")
    return spec


def _read_description(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if about["format"] != FORMAT or not isinstance(about["checkpoint_sha256"], str):
            raise ValueError(f"format {about['format']}, this version reads {FORMAT}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedArtefactError(f"{folder} is no exported policy: {error}", _again(folder)) from error
    return dict(about)


def _read_checkpoint(folder: Path, sha256: str) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    path = folder / CHECKPOINT
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise DamagedArtefactError(f"{path} was changed since it was exported", _again(folder))
        with safe_open(path, framework="numpy") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
            state = json.loads((opened.metadata() or {})["state"])
    except (OSError, ValueError, KeyError, RecursionError, SafetensorError) as error:
        raise DamagedArtefactError(f"cannot read {path}: {error}", _again(folder)) from error
    return Checkpoint(tensors, state)


def _again(folder: Path) -> str:
    return f"`icrl-bench policy export RUN --out {folder}` writes it anew"


def _make_method(method: Mapping[str, Any], backbone: Mapping[str, Any] | None) -> Method:
    component, config = _part("method", method)
    if backbone is None:
        return cast(Method, component(config))
    network, settings = _part("backbone", backbone)
    return cast(Method, component(config, lambda context_length: network(settings, context_length=context_length)))


def _part(kind: str, about: Mapping[str, Any]) -> tuple[Any, Any]:
    """The class and the configuration of a method or a backbone."""
    plugin = load(kind, str(about["name"]))
    if plugin.content_hash != about["content_hash"]:
        warnings.warn(
            f"{kind} {about['name']}: the code here is not that of {about['distribution']} {about['version']}, which "
            "trained this policy",
            stacklevel=4,
        )
    return plugin.component, plugin.component.Config.model_validate(about["config"])
