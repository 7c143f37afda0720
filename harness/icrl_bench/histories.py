"""Learning histories as artefacts: one per task, below the data set's address."""

from __future__ import annotations

from typing import Any

import numpy as np

from icrl_bench.store import Store
from icrl_bench.tensors import map_file, to_bytes
from icrl_registry.contracts import Array, LearningHistory, SourceRun, Task
from icrl_registry.errors import DamagedArtefactError, PluginError

HISTORY_FILE = "history.safetensors"
POLICY_FILE = "policy.safetensors"
COLUMNS = ("observations", "actions", "rewards", "next_observations", "terminated", "truncated")
OPTIONAL_COLUMNS = ("policy_means",)
ORACLE_FRACTION = 0.1


def dataset_kind(address: str) -> str:
    """The store's kind that holds the histories of one data set."""
    return f"datasets/{address}"


def save_run(store: Store, address: str, run: SourceRun, about: dict[str, Any]) -> None:
    """Writes a task's history and last policy; refuses shapes, ranges and NaN that break the contract."""
    history = run.history
    _check_shapes(history)
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
        (folder / HISTORY_FILE).write_bytes(to_bytes(columns))
        (folder / POLICY_FILE).write_bytes(to_bytes(run.policy))


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
        raise DamagedArtefactError(f"{path} lacks {', '.join(missing)}", "`icrl-bench data verify --discard-damaged`")
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
    return np.mean([[part.mean() for part in np.array_split(stream, parts)] for stream in returns], axis=0)


def _mean_over_streams(history: LearningHistory, which: slice) -> float | None:
    tenth = round(1 / ORACLE_FRACTION)
    parts = []
    for stream in range(history.num_streams):
        returns = history.episode_returns(stream)
        if len(returns):
            parts.append(np.array_split(returns, min(tenth, len(returns)))[which][0].mean())
    return float(np.mean(parts)) if parts else None


def _check_shapes(history: LearningHistory) -> None:
    streams, steps = history.rewards.shape
    for name in (*COLUMNS, *OPTIONAL_COLUMNS):
        column = getattr(history, name)
        if column is None:
            continue
        if column.shape[:2] != (streams, steps):
            raise PluginError(
                f"{history.task.label}: {name} has shape {column.shape}, rewards {history.rewards.shape}",
                "the source must return (S, T, …) arrays",
            )
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            stream, step = np.argwhere(~np.isfinite(column).reshape(streams, steps, -1).all(-1))[0]
            raise PluginError(
                f"{history.task.label}: {name} is not finite in stream {stream}, step {step}", "repair the source"
            )
    if np.abs(history.actions).max(initial=0.0) > 1.0:
        raise PluginError(
            f"{history.task.label}: actions leave [-1, 1]", "the source must record executed, rescaled actions"
        )
