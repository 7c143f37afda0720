"""The contracts between the harness and a plugin: four kinds of component, and the data that passes between them.

Axis letters, here and in every shape comment of the project:

    B batch · T time steps in a context or history · E episodes · K tasks · S streams of a history · H episode horizon
    O observation size · A action size · D model width · N state size · L layers · P task parameters

A component is a class that an entry point names (groups `icrl_bench.environments`, `.sources`, `.backbones`,
`.methods`). It carries its hyper-parameters' type as the class attribute `Config` and is constructed with an instance of
it. Arrays are NumPy at every boundary, so a plugin may use any numerical library inside.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import gymnasium
    import torch

    from icrl_registry.configuration import ComponentConfig

Array = NDArray[Any]
FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

Split = Literal["train", "validation", "test"]
Track = Literal["online", "offline"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


# --- Tasks and environments ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """One MDP of a family: what is hidden from the agent, and where in the protocol's splits it stands."""

    parameters: tuple[float, ...]  # (P,), in the order of Environment.task_parameter_names, in the units named there
    split: Split = "test"
    index: int = 0

    @property
    def label(self) -> str:
        """`train-007`: unique within one protocol and environment, and sortable."""
        return f"{self.split}-{self.index:03d}"


@dataclass(frozen=True)
class EnvironmentSpec:
    """The sizes that a method needs to build its networks. It says nothing about any task."""

    id: str
    observation_size: int  # O
    action_size: int  # A
    horizon: int  # H, the number of steps after which an episode is truncated


@dataclass(frozen=True)
class BatchedStep:
    """What one step of K environments returned. Rows of inactive tasks hold their last observation and zeros."""

    observations: FloatArray  # (K, O), the true next observation, also where the episode ended
    rewards: FloatArray  # (K,)
    terminated: BoolArray  # (K,)
    truncated: BoolArray  # (K,)
    successes: FloatArray | None = (
        None  # (K,), in [0, 1] where an episode ended, NaN elsewhere; see Environment.success
    )


class BatchedEnvironment(Protocol):
    """K tasks of one environment stepped together. Nothing resets by itself: the caller says which row starts anew."""

    num_tasks: int

    @abstractmethod
    def reset(self, row: int, seed: int) -> FloatArray:
        """Starts an episode of task `row`; returns its first observation, (O,)."""

    @abstractmethod
    def step(self, actions: FloatArray, active: BoolArray) -> BatchedStep:
        """Steps the rows where `active` (K,) holds with `actions` (K, A) in [-1, 1]."""

    @abstractmethod
    def close(self) -> None:
        """Frees simulators and windows."""

    def save(self) -> Mapping[str, Array] | None:
        """All rows' states in the midst of their episodes, (K, …) each, finite; None, the default: it cannot be saved."""
        return None

    def restore(self, state: Mapping[str, Array]) -> None:
        """Goes back to what `save` gave, here or in another batch of the same tasks: the next steps are the same bits."""
        raise RuntimeError(f"{type(self).__name__} can neither save nor restore its state")


@runtime_checkable
class Environment(Protocol):
    """A family of tasks that share a body. The task is in neither the observation nor `info`: it must be inferred.

    `make` returns a Gymnasium environment with float32 observations `Box(O,)`, actions `Box(-1, 1, (A,))` and a time limit
    of `spec.horizon` steps; its `reset` never resamples the task.
    """

    Config: ClassVar[type[ComponentConfig]]
    id: ClassVar[str]
    task_parameter_names: ClassVar[tuple[str, ...]]  # with units, such as "target_velocity (m/s)"
    success: ClassVar[str | None] = None
    """When an episode counts as a success, in words and units ("within 5 cm of the goal at the last step"); None: unsaid.

    An environment that says so measures each episode with a number in [0, 1]: 1 and 0 where the condition is met or not,
    between them where it is met in part. The measure is of the episode as a whole and known when it ends, so that it may
    read the whole trajectory (its last ten steps, a mean after the first fifty). It is `info["success"]` of the last step
    and of no other (so it is measured where the end is known: outside `TimeLimit`); in a batch it is
    `BatchedStep.successes`. It is for the record alone: `Transitions` lacks it, and an agent never sees it.
    """

    def __init__(self, config: ComponentConfig) -> None: ...

    @property
    @abstractmethod
    def spec(self) -> EnvironmentSpec:
        """The sizes."""

    @abstractmethod
    def sample_task_parameters(self, generator: np.random.Generator) -> Array:
        """One task drawn from the family's distribution, (P,) float64."""

    @abstractmethod
    def make(self, task: Task, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        """A Gymnasium environment of this one task."""

    def sample_training_parameters(self, count: int, generator: np.random.Generator) -> Array:
        """The training tasks, (count, P). Override to stratify; by default `count` independent draws."""
        return np.stack([self.sample_task_parameters(generator) for _ in range(count)])

    def task_distance(self, first: Array, second: Array) -> float:
        """How far apart two tasks are, in the unit of the protocol's `minimum_distance`; Euclidean by default."""
        return float(np.linalg.norm(np.asarray(first) - np.asarray(second)))

    def make_batch(self, tasks: Sequence[Task]) -> BatchedEnvironment:
        """K tasks stepped together; by default one Gymnasium environment a task."""
        from icrl_registry.batching import SequentialBatch

        return SequentialBatch([self.make(task) for task in tasks])


# --- Learning histories and sources --------------------------------------------------------------------------------


@dataclass(frozen=True)
class LearningHistory:
    """All transitions of one source run on one task, in order, as S parallel streams of T steps each.

    A stream is what one of the source's parallel environments saw. `next_observations` are the true successors (at the end
    of an episode the terminal observation, not the next reset), `actions` are those executed, in [-1, 1].
    """

    task: Task
    observations: FloatArray  # (S, T, O)
    actions: FloatArray  # (S, T, A)
    rewards: FloatArray  # (S, T)
    next_observations: FloatArray  # (S, T, O)
    terminated: BoolArray  # (S, T), the MDP ended here
    truncated: BoolArray  # (S, T), the time limit cut here
    policy_means: FloatArray | None = None  # (S, T, A), the source policy's mean action where the source records it

    @property
    def num_streams(self) -> int:
        return int(self.rewards.shape[0])

    @property
    def num_steps(self) -> int:
        """Environment steps over all streams."""
        return int(self.rewards.size)

    def episode_bounds(self, stream: int) -> list[tuple[int, int]]:
        """Start and end (exclusive) of every complete episode of a stream, in order; a last incomplete one is left out."""
        ends = np.flatnonzero(self.terminated[stream] | self.truncated[stream]) + 1
        starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
        return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]

    def episode_returns(self, stream: int) -> Array:
        """Undiscounted return of every complete episode of a stream, (E,) float64."""
        rewards = np.asarray(self.rewards[stream], dtype=np.float64)
        return np.array([rewards[start:end].sum() for start, end in self.episode_bounds(stream)])


@dataclass(frozen=True)
class SourceRun:
    """What a source leaves behind for one task."""

    history: LearningHistory
    policy: Mapping[str, Array]  # the last policy's tensors by name; stored as safetensors beside the history
    statistics: Mapping[str, float] = field(default_factory=dict)  # for example the greedy policy's mean return


@runtime_checkable
class Source(Protocol):
    """An RL algorithm that writes learning histories."""

    Config: ClassVar[type[ComponentConfig]]

    def __init__(self, config: ComponentConfig) -> None: ...

    @abstractmethod
    def collect(
        self,
        environment: Environment,
        tasks: Sequence[Task],
        seeds: Sequence[np.random.SeedSequence],
        report_steps: Callable[[int], None],
        checkpoints: CheckpointStore | None = None,
    ) -> Iterator[SourceRun]:
        """Trains on each task with its own seed and yields the tasks' runs in the order given.

        `report_steps(n)` says that n more environment steps (over all tasks) were taken. The result for a task depends on
        the task and its seed only, not on the other tasks of the call, and no global random state is left changed.

        A source that trains tasks together may keep its progress in `checkpoints` whenever `checkpoints.due()`, after it
        has reported the steps so far. Called again with the same tasks and seeds it goes on from there, reports what it
        steps itself, and yields the same bytes. A source that trains one task after the other need not look at it.
        """

    def group_size(self) -> int:
        """How many tasks one `collect` call gets at most: 1 unless the source trains tasks together."""
        return 1

    def total_steps(self) -> int:
        """Environment steps a task, for the plan and the progress bar."""
        return int(getattr(self.config, "total_steps"))  # noqa: B009

    config: ComponentConfig


# --- Backbones -----------------------------------------------------------------------------------------------------


@runtime_checkable
class Backbone(Protocol):
    """A causal sequence model, a `torch.nn.Module`: token embeddings in, features out, same width D.

    The output at t depends on the inputs up to and including t. `step` gives the same numbers one token at a time; its
    state is a tuple (nested if need be) of tensors with the batch first.
    """

    Config: ClassVar[type[ComponentConfig]]
    model_size: int  # D
    embedding_size: int  # width to which each of a token's parts is embedded before they are concatenated

    def __init__(self, config: ComponentConfig, *, context_length: int) -> None: ...

    @abstractmethod
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, D) → (B, T, D), for T up to `context_length`."""

    @abstractmethod
    def initial_state(self, batch_size: int) -> Any:
        """The state before the first token, on the module's device."""

    @abstractmethod
    def step(self, token: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        """(B, D) and a state → (B, D) and the next state. Works beyond `context_length` too, as documented there."""


BackboneFactory = Callable[[int], "Backbone"]
"""context_length → a new backbone with the plan's configuration; weights come from torch's default generator."""


# --- Methods and agents --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Transitions:
    """One step of K tasks as the agent saw it. Only rows where `active` holds are real; the others have finished."""

    observations: FloatArray  # (K, O), what the action was chosen from
    actions: FloatArray  # (K, A), as executed, in [-1, 1]
    rewards: FloatArray  # (K,)
    next_observations: FloatArray  # (K, O), true successors
    terminated: BoolArray  # (K,)
    truncated: BoolArray  # (K,)
    active: BoolArray  # (K,)


@dataclass(frozen=True)
class AdaptationSetting:
    """What an agent may know when it meets a batch of unseen tasks."""

    num_tasks: int  # K
    num_episodes: int  # E, the budget per task
    track: Track
    seed: np.random.SeedSequence
    offline_histories: Sequence[LearningHistory] | None = None  # the offline track's gift, one a task


class Agent(Protocol):
    """A trained method while it adapts. It sees K unseen tasks at once and treats each by itself."""

    @abstractmethod
    def begin(self, setting: AdaptationSetting) -> None:
        """Forgets everything about earlier tasks."""

    @abstractmethod
    def act(self, observations: FloatArray) -> FloatArray:
        """(K, O) → actions (K, A); the harness clips them to [-1, 1] and refuses NaN. At an episode's first step the
        observation is that of the reset."""

    @abstractmethod
    def observe(self, transitions: Transitions) -> None:
        """Learns from one step: an in-context agent appends to its context, a gradient agent may take its steps."""

    def diagnostics(self) -> dict[str, float]:
        """Numbers worth keeping with the row, such as the number of tokens seen."""
        return {}


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors and a JSON-able state; stored as safetensors and JSON."""

    tensors: Mapping[str, Array]
    state: Mapping[str, Any]


class CheckpointStore(Protocol):
    """Where a method, or a source, keeps its progress. Each save replaces the last one atomically."""

    @abstractmethod
    def load(self) -> Checkpoint | None:
        """The last saved progress, or None at the first start."""

    @abstractmethod
    def save(self, checkpoint: Checkpoint) -> None:
        """Keeps progress: everything that a resumed training needs to end with the same bytes."""

    def due(self) -> bool:
        """Whether so much was done since the last save that another one is worth its time. What is trained must not
        depend on the answer."""
        return True


class TrainingTasks(Protocol):
    """The training tasks, for methods that meta-train online. Every step is counted against the run."""

    tasks: Sequence[Task]

    @abstractmethod
    def make_batch(self, indices: Sequence[int]) -> BatchedEnvironment:
        """A metered batch of the training tasks with these indices (repeats allowed)."""


@dataclass(frozen=True)
class TrainingJob:
    """Everything a method gets for meta-training."""

    spec: EnvironmentSpec
    histories: Sequence[LearningHistory]  # of the training tasks, memory-mapped; empty if the method asked for none
    tasks: TrainingTasks | None  # only if the method's `training_data` is "tasks"
    seed: np.random.SeedSequence
    device: str
    checkpoints: CheckpointStore
    validate: Callable[[Agent], Mapping[str, float]]  # in-context return on the validation tasks, by the harness
    report: Callable[[int, int, Mapping[str, float]], None]  # (updates done, updates in all, metrics)


@runtime_checkable
class Method(Protocol):
    """A way to meta-train and to adapt.

    `adaptation` says where its results come from: "agent", what its agent does in the harness's loop; or "source", the
    source's recorded runs on the test tasks, in which case `agent` is never called.
    """

    Config: ClassVar[type[ComponentConfig]]
    uses_backbone: ClassVar[bool] = False  # if so, `NAME-BACKBONE` runs it with any registered backbone
    training_data: ClassVar[Literal["histories", "tasks", "none"]] = "histories"
    tracks: ClassVar[tuple[Track, ...]] = ("online",)
    adaptation: ClassVar[Literal["agent", "source"]] = "agent"

    def __init__(self, config: ComponentConfig, backbone: BackboneFactory | None = None) -> None: ...

    @abstractmethod
    def train(self, job: TrainingJob) -> Checkpoint:
        """Meta-trains from the last saved progress to the end and returns what an agent needs."""

    @abstractmethod
    def agent(self, checkpoint: Checkpoint, spec: EnvironmentSpec, device: str) -> Agent:
        """An agent from a checkpoint that `train` returned."""

    def parameter_count(self, checkpoint: Checkpoint) -> int:
        """Trainable parameters; by default all tensors of the checkpoint whose name begins with `model.`."""
        return sum(int(np.asarray(t).size) for name, t in checkpoint.tensors.items() if name.startswith("model."))
