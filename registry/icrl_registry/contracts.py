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

from icrl_registry.actions import CONTINUOUS
from icrl_registry.actions import ActionKind as ActionKind
from icrl_registry.arrays import Array as Array
from icrl_registry.arrays import BoolArray as BoolArray
from icrl_registry.arrays import FloatArray as FloatArray
from icrl_registry.arrays import LearningHistory as LearningHistory
from icrl_registry.batching import BatchedEnvironment as BatchedEnvironment
from icrl_registry.batching import BatchedStep as BatchedStep
from icrl_registry.batching import SequentialBatch
from icrl_registry.checkpoints import Checkpoint as Checkpoint
from icrl_registry.checkpoints import CheckpointStore as CheckpointStore

if TYPE_CHECKING:
    import gymnasium
    import torch

    from icrl_registry.configuration import ComponentConfig

Split = Literal["train", "validation", "test"]
Track = Literal["online", "offline"]
Difference = Literal["reward", "dynamics"]
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
    """What a method needs to know to build its networks. It says nothing about any task."""

    id: str
    observation_size: int  # O
    action_size: int  # A: components of a continuous action, or how many discrete ones there are
    horizon: int  # H, the number of steps after which an episode is truncated
    actions: ActionKind = "continuous"
    """What a row of A numbers means: a point of [-1, 1]ᴬ, or a choice of one of A actions (`icrl_registry.actions`)."""
    observation_values: tuple[int, ...] = ()
    """Of an environment with finitely many observations, how many values each component has, (O,): whole numbers from 0.
    Empty, the default: real numbers."""


@runtime_checkable
class Environment(Protocol):
    """A family of tasks that share a body. The task is in neither the observation nor `info`: it must be inferred.

    `make` returns a Gymnasium environment with float32 observations `Box(O,)`, actions `Box(-1, 1, (A,))` or, where
    `spec.actions` says so, `Discrete(A)`, and a time limit of `spec.horizon` steps; its `reset` never resamples the task.
    """

    Config: ClassVar[type[ComponentConfig]]
    id: ClassVar[str]
    task_parameter_names: ClassVar[tuple[str, ...]]  # with units, such as "target_velocity (m/s)"
    varies: ClassVar[tuple[Difference, ...]] = ("reward",)
    """What the tasks of the family differ in. Only where "dynamics" is named may equal seeds and actions lead to different
    observations in two tasks; the distribution of first observations is that of all tasks in any case."""
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
        """The training tasks, (count, P). Override to stratify; by default `count` independent draws, or draws without
        repeats of a family that lists its tasks."""
        every = self.all_task_parameters()
        if every is not None and count <= len(every):
            drawn: Array = every[generator.permutation(len(every))[:count]]
            return drawn
        return np.stack([self.sample_task_parameters(generator) for _ in range(count)])

    def all_task_parameters(self) -> Array | None:
        """Every task of a finite family, (N, P) float64, each once; None, the default: they cannot be listed."""
        return None

    def num_tasks(self) -> int | None:
        """How many tasks the family has; None, the default: more than can be counted. Draws of a finite one repeat."""
        every = self.all_task_parameters()
        return None if every is None else len(every)

    def why_outside(self, parameters: Array) -> str | None:
        """What keeps a task (P,) out of the family, in words; None: it is in it, or nobody can tell.

        Tasks that a user gives or a protocol lists are held to it. By default a family that lists its tasks has no others.
        Protocols round parameters to six decimals.
        """
        every = self.all_task_parameters()
        if every is None or (np.abs(every - np.asarray(parameters)).max(axis=1) <= 1e-6).any():
            return None
        examples = "; ".join(", ".join(f"{value:g}" for value in row) for row in every[:4])
        return f"it has {len(every)} tasks: {examples}{'; …' if len(every) > 4 else ''}"

    def task_distance(self, first: Array, second: Array) -> float:
        """How far apart two tasks are, in the unit of the protocol's `minimum_distance`; Euclidean by default."""
        return float(np.linalg.norm(np.asarray(first) - np.asarray(second)))

    def blind_return(self, tasks: Sequence[Task]) -> Array | None:
        """What the best policy that ignores the task returns at most in each task, (K,), where a closed form is known.

        "Best" is by the mean over `tasks`. None, the default: it has to be searched for.
        """
        return None

    def make_batch(self, tasks: Sequence[Task]) -> BatchedEnvironment:
        """K tasks stepped together; by default one Gymnasium environment a task."""
        return SequentialBatch([self.make(task) for task in tasks])


# --- Sources -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourceRun:
    """What a source leaves behind for one task."""

    history: LearningHistory
    policy: Mapping[str, Array]  # the last policy's tensors by name; stored as safetensors beside the history
    statistics: Mapping[str, float] = field(default_factory=dict)  # for example the greedy policy's mean return


GreedyPolicy = Callable[[FloatArray], FloatArray]
"""Observations (N, O) → actions (N, A) in [-1, 1], or one-hot; without exploration and without memory from call to call."""


@runtime_checkable
class Source(Protocol):
    """An RL algorithm that writes learning histories."""

    Config: ClassVar[type[ComponentConfig]]
    is_recorded: ClassVar[bool] = False  # its histories were recorded elsewhere: it trains nothing, and no seed enters
    action_kinds: ClassVar[tuple[ActionKind, ...]] = CONTINUOUS
    """The kinds of action that it can learn; an environment of another kind is refused before anything is collected."""

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

    def greedy_policy(
        self, policy_tensors: Mapping[str, Array], environment_spec: EnvironmentSpec
    ) -> GreedyPolicy | None:
        """The trained policy back from the tensors of `SourceRun.policy`; None, the default: this source can't.

        Raises:
            UsageError: the tensors don't belong to a policy of this source and configuration.
        """
        return None

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
    actions: FloatArray  # (K, A), as executed, in [-1, 1] or one-hot
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
        """(K, O) → actions (K, A). The harness refuses NaN and clips them to [-1, 1]; of discrete ones it executes the one
        with a row's largest number. At an episode's first step the observation is that of the reset."""

    @abstractmethod
    def observe(self, transitions: Transitions) -> None:
        """Learns from one step: an in-context agent appends to its context, a gradient agent may take its steps."""

    def diagnostics(self) -> dict[str, float]:
        """Numbers worth keeping with the row, such as the number of tokens seen."""
        return {}


class TrainingTasks(Protocol):
    """The training tasks, for methods that meta-train online. Every step is counted against the run."""

    tasks: Sequence[Task]

    @abstractmethod
    def make_batch(self, indices: Sequence[int]) -> BatchedEnvironment:
        """A metered batch of the training tasks with these indices (repeats allowed)."""


ExpertActions = Callable[[int, FloatArray], FloatArray]
"""Index i of a training history and observations (N, O) → the actions (N, A), in [-1, 1] or one-hot, of the final greedy policy
of the source run that wrote `TrainingJob.histories[i]`: the labels of decision-pretrained transformers (Lee et al., 2023)."""


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
    expert_actions: ExpertActions | None = None  # None without histories, or if the source has no `greedy_policy`


@runtime_checkable
class Method(Protocol):
    """A way to meta-train and to adapt.

    `adaptation` says where its results come from: "agent", what its agent does in the harness's loop; or "source", the
    source's recorded runs on the test tasks, in which case `agent` is never called.
    """

    Config: ClassVar[type[ComponentConfig]]
    uses_backbone: ClassVar[bool] = False  # if so, `NAME-BACKBONE` runs it with any registered backbone
    action_kinds: ClassVar[tuple[ActionKind, ...]] = CONTINUOUS
    """The kinds of action that it can learn; what replays its source's runs takes any."""
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
