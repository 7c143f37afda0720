"""Learning histories as artefacts: one per task, below the data set's address."""

from __future__ import annotations

from typing import Any

import numpy as np

from icrl_bench.artefacts.store import Store
from icrl_bench.artefacts.tensors import encode_tensors, map_file
from icrl_registry.contracts import Array, LearningHistory, SourceRun, Task
from icrl_registry.errors import DamagedArtefactError, NumericalError, PluginError

HISTORY_FILE = "history.safetensors"
POLICY_FILE = "policy.safetensors"
COLUMNS = ("observations", "actions", "rewards", "next_observations", "terminated", "truncated")
OPTIONAL_COLUMNS = ("policy_means", "expert_actions")
ORACLE_FRACTION = 0.1


def dataset_kind(address: str) -> str:
    """The store's kind that holds the histories of one data set."""
    return f"datasets/{address}"


def save_run(store: Store, address: str, run: SourceRun, about: dict[str, Any]) -> None:
    """Writes a task's history and last policy; refuses shapes, types, ranges and NaN that break the contract.

    Raises:
        PluginError, NumericalError: the history breaks the contract; the message names task, stream, episode and step.
    """
    history = run.history
    check_history(history)
    for what, numbers in (("the policy's tensor", run.policy), ("the statistic", run.statistics)):
        for name, value in numbers.items():
            if np.asarray(value).dtype.kind == "f" and not np.isfinite(value).all():
                raise NumericalError(f"task {history.task.label}: {what} {name} is not finite", "repair the source")
    about = {
        **about,
        "task": {"split": history.task.split, "index": history.task.index, "parameters": list(history.task.parameters)},
        "streams": history.num_streams,
        "steps": history.num_steps,
        "episodes": sum(len(history.episode_bounds(stream)) for stream in range(history.num_streams)),
        "statistics": {name: float(value) for name, value in run.statistics.items()},
        "final_return": final_return(history),
        "initial_return": initial_return(history),
    }
    columns = {name: getattr(history, name) for name in COLUMNS}
    columns |= {name: value for name in OPTIONAL_COLUMNS if (value := getattr(history, name)) is not None}
    with store.write(dataset_kind(address), history.task.label, about) as folder:
        (folder / HISTORY_FILE).write_bytes(encode_tensors(columns))
        (folder / POLICY_FILE).write_bytes(encode_tensors(run.policy))


def load_history(store: Store, address: str, task: Task) -> LearningHistory:
    """A memory-mapped history, after its checksums were compared.

    Raises:
        DamagedArtefactError: a shard is missing or damaged; the message names it.
    """
    kind = dataset_kind(address)
    store.check(kind, task.label)
    path = store.path(kind, task.label) / HISTORY_FILE
    columns, _ = map_file(path)
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise DamagedArtefactError(
            f"{path} lacks {', '.join(missing)}", f"delete {path.parent}; the same run command then collects it again"
        )
    return LearningHistory(task, **{name: columns.get(name) for name in (*COLUMNS, *OPTIONAL_COLUMNS)})  # type: ignore[arg-type]


def load_policy(store: Store, address: str, task: Task) -> dict[str, Array]:
    """The source's last policy on a task, tensors by name."""
    return map_file(store.path(dataset_kind(address), task.label) / POLICY_FILE)[0]


def final_return(history: LearningHistory) -> float | None:
    """Mean return of the last tenth of the episodes over all streams: the oracle's score. None without a whole episode."""
    return _mean_over_streams(history, slice(-1, None))


def initial_return(history: LearningHistory) -> float | None:
    """Mean return of the first tenth of the episodes over all streams."""
    return _mean_over_streams(history, slice(0, 1))


def learning_curve(history: LearningHistory, points: int = 20) -> Array:
    """Mean return in `points` equal parts of the training, over all streams; (points,), fewer if there are fewer episodes."""
    returns = [history.episode_returns(stream) for stream in range(history.num_streams)]
    parts = min(points, min((len(r) for r in returns), default=0))
    if parts == 0:
        return np.zeros(0)
    curve: Array = np.mean([[part.mean() for part in np.array_split(stream, parts)] for stream in returns], axis=0)
    return curve


def _mean_over_streams(history: LearningHistory, which: slice) -> float | None:
    tenth = round(1 / ORACLE_FRACTION)
    parts = []
    for stream in range(history.num_streams):
        returns = history.episode_returns(stream)
        if len(returns):
            parts.append(np.array_split(returns, min(tenth, len(returns)))[which][0].mean())
    return float(np.mean(parts)) if parts else None


def check_history(history: LearningHistory) -> None:
    """Raises PluginError for shapes, types and ranges that break the contract, NumericalError for a NaN or infinity."""
    label = history.task.label
    _check_shapes(history)
    for name in (*COLUMNS, *OPTIONAL_COLUMNS):
        column = getattr(history, name)
        if column is None or column.dtype.kind != "f":
            continue
        finite = np.isfinite(column).reshape(*history.rewards.shape, -1).all(axis=-1)  # (S, T)
        if not finite.all():
            place = _place(history, *np.argwhere(~finite)[0])
            raise NumericalError(
                f"task {label}, {place}: {name} not finite",
                "repair the source, or the environment (`icrl-bench plugins check ID`)",
            )
    for name in ("actions", "expert_actions"):
        actions = getattr(history, name)
        if actions is not None and (outside := (np.abs(actions) > 1.0).any(axis=-1)).any():  # (S, T)
            raise PluginError(
                f"task {label}, {_place(history, *np.argwhere(outside)[0])}: {name} leave [-1, 1]",
                "the source must record executed, rescaled actions",
            )


def _check_shapes(history: LearningHistory) -> None:
    label, shape = history.task.label, history.rewards.shape
    expected: dict[str, tuple[int, ...]] = {
        "rewards": shape,
        "observations": (*shape, *history.observations.shape[2:]),
        "next_observations": history.observations.shape,
        "actions": (*shape, *history.actions.shape[2:]),
        "policy_means": history.actions.shape,
        "expert_actions": history.actions.shape,
        "terminated": shape,
        "truncated": shape,
    }
    ranks = dict.fromkeys(("observations", "next_observations", "actions", *OPTIONAL_COLUMNS), 3)
    for name in (*COLUMNS, *OPTIONAL_COLUMNS):
        column = getattr(history, name)
        if column is None:
            continue
        if column.shape != expected[name] or column.ndim != ranks.get(name, 2):
            raise PluginError(
                f"task {label}: {name} has shape {column.shape}, rewards {shape}",
                "the source must return (S, T, …) arrays",
            )
        kind = np.bool_ if name in ("terminated", "truncated") else np.float32
        if column.dtype != kind:
            raise PluginError(
                f"task {label}: {name} is {column.dtype}, expected {np.dtype(kind)}", "the source must convert it"
            )


def _place(history: LearningHistory, stream: int, step: int) -> str:
    """Stream, episode and step within the episode, counted from 0."""
    ends = np.flatnonzero(history.terminated[stream, :step] | history.truncated[stream, :step]) + 1
    return f"stream {stream}, episode {len(ends)}, step {step - (ends[-1] if len(ends) else 0)}"
