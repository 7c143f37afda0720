"""What one run leaves behind: `RunRecord`, which the harness fills and the store gives back equal.

Everything is checked and brought to one form when the record is made (plain Python numbers, lists, JSON values, UTC), so
whatever reaches the store or a report is finite, rectangular and printable as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np

from icrl_registry.errors import BenchError, NumericalError

Matrix = list[list[float]]

#: The largest integer that every database stores in a BIGINT.
LARGEST_INTEGER = 2**63 - 1
LONGEST_EPISODE = 2**31 - 1
LONGEST_RUN_ID = 255
LONGEST_KEY = 255
_DEEPEST_JSON = 64


class RecordError(BenchError):
    """A run record breaks its form; the message names the place, such as `returns[3][7]`."""

    kind = "invalid_record"


@dataclass(frozen=True)
class PluginUse:
    """A plugin that took part in a run, by what it was then."""

    kind: str  # "environment", "source", "backbone", "method"
    name: str
    distribution: str
    version: str
    content_hash: str

    def __post_init__(self) -> None:
        for name in ("kind", "name", "distribution", "version", "content_hash"):
            _check_text(getattr(self, name), f"plugin {name}")


@dataclass(frozen=True)
class RunRecord:
    """One run: (method, environment, protocol, seed), its raw returns on the K test tasks, and how it came about.

    Raises:
        NumericalError: a NaN or infinity; the message names the place.
        RecordError: a value of the wrong type, shape or range; the message names the place.
    """

    run_id: str
    method: str  # as typed, such as "ad-mamba"
    backbone: str | None
    environment: str  # versioned id
    protocol: str
    track: str
    seed: int
    parameters: int  # trainable parameters
    task_parameters: Matrix  # (K, P)
    task_labels: list[str]  # (K,)
    returns: Matrix  # (K, E), raw undiscounted return per test task and episode
    episode_lengths: list[list[int]]  # (K, E), environment steps
    random: list[float]  # (K,), mean return of uniform actions
    zero_action: list[float]  # (K,), mean return of the zero action
    oracle: list[float | None]  # (K,), the source trained on the test task: mean of its last 10 % episodes
    oracle_greedy: list[float | None]  # (K,), the same source's deterministic policy
    train_env_steps: int
    adapt_env_steps: int
    collect_env_steps: int
    seconds: dict[str, float]  # wall-clock per stage
    checkpoint: str  # address of the artefact
    dataset: str  # address of the artefact
    created_at: str  # ISO 8601, UTC
    variant: dict[str, Any] = field(default_factory=dict)  # settings that differ from the protocol's
    config: dict[str, Any] = field(default_factory=dict)  # fully resolved, by section
    plugins: list[PluginUse] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)  # versions, git revision, hardware, kernel, device, …
    diagnostics: dict[str, float] = field(default_factory=dict)
    #: K learning curves of the source on the test tasks, mean return in equal parts of its training; empty if unknown
    source_curves: Matrix = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("run_id", "method", "environment", "protocol", "track", "checkpoint", "dataset"):
            _check_text(getattr(self, name), name)
        if self.backbone is not None:
            _check_text(self.backbone, "backbone")
        if not 0 < len(self.run_id) <= LONGEST_RUN_ID:
            raise RecordError(f"run_id has {len(self.run_id)} characters", f"give it 1 to {LONGEST_RUN_ID}")
        for name in ("seed", "parameters", "train_env_steps", "adapt_env_steps", "collect_env_steps"):
            self._set(name, _count(getattr(self, name), name))
        self._set("created_at", _utc(self.created_at))
        self._check_tasks()
        for name in ("seconds", "diagnostics"):
            table = {_key(key, name): _finite(value, f"{name}.{key}") for key, value in getattr(self, name).items()}
            self._set(name, table)
        for name in ("variant", "config", "provenance"):
            value = _json_value(getattr(self, name), name)
            if not isinstance(value, dict):
                raise RecordError(f"{name} is {type(value).__name__}", "expected a mapping")
            self._set(name, value)
        for name in ("seconds", "diagnostics", "provenance"):  # their keys are columns of the store
            longest = max(map(len, getattr(self, name)), default=0)
            if longest > LONGEST_KEY:
                raise RecordError(f"a key of {name} has {longest} characters", f"expected at most {LONGEST_KEY}")
        self._set("plugins", [self._plugin(use, index) for index, use in enumerate(self.plugins)])

    def _check_tasks(self) -> None:
        returns = _matrix(self.returns, "returns")
        tasks = len(returns)
        lengths = _matrix(self.episode_lengths, "episode_lengths")
        if lengths.shape != returns.shape:
            problem = f"episode_lengths has shape {lengths.shape}, returns {returns.shape}"
            raise RecordError(problem, "give one length per return")
        wrong = (lengths != np.floor(lengths)) | (lengths < 0) | (lengths > LONGEST_EPISODE)
        if wrong.any():
            task, episode = np.argwhere(wrong)[0]
            problem = f"episode_lengths[{task}][{episode}] is {lengths[task, episode]}"
            raise RecordError(problem, f"expected a whole number of steps up to {LONGEST_EPISODE}")
        self._set("returns", returns.tolist())
        self._set("episode_lengths", lengths.astype(np.int64).tolist())
        self._set("task_parameters", _matrix(self.task_parameters, "task_parameters").tolist())
        for name in ("task_parameters", "task_labels", "random", "zero_action", "oracle", "oracle_greedy"):
            if len(getattr(self, name)) != tasks:
                raise RecordError(
                    f"{name} has {len(getattr(self, name))} entries for {tasks} tasks", "give one per test task"
                )
        for index, label in enumerate(self.task_labels):
            _check_text(label, f"task_labels[{index}]")
        self._set("task_labels", list(self.task_labels))
        for name in ("random", "zero_action"):
            self._set(name, [_finite(value, f"{name}[{index}]") for index, value in enumerate(getattr(self, name))])
        for name in ("oracle", "oracle_greedy"):
            values = enumerate(getattr(self, name))
            self._set(name, [None if value is None else _finite(value, f"{name}[{index}]") for index, value in values])
        if len(self.source_curves) not in (0, tasks):
            problem = f"source_curves has {len(self.source_curves)} entries for {tasks} tasks"
            raise RecordError(problem, "give one curve per test task, or none at all")
        self._set(
            "source_curves", [_curve(row, f"source_curves[{index}]") for index, row in enumerate(self.source_curves)]
        )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the dataclass is frozen; this is its own construction

    @staticmethod
    def _plugin(use: Any, index: int) -> PluginUse:
        if not isinstance(use, PluginUse):
            raise RecordError(f"plugins[{index}] is {type(use).__name__}", "expected a PluginUse")
        return use

    def to_json_object(self) -> dict[str, Any]:
        """The record as plain JSON values; `from_json_object` gives an equal record."""
        return asdict(self)

    @classmethod
    def from_json_object(cls, document: Mapping[str, Any]) -> RunRecord:
        """A record from `to_json_object`'s form.

        Raises:
            RecordError: a field is unknown or missing, or breaks the form.
            NumericalError: a number is not finite.
        """
        known = {each.name for each in fields(cls)}
        unknown, missing = sorted(set(document) - known), sorted(known - set(document))
        if unknown or missing:
            problem = f"unknown field {unknown[0]!r}" if unknown else f"field {missing[0]!r} is missing"
            raise RecordError(f"not a run record: {problem}", "give exactly the fields of RunRecord")
        values = dict(document)
        try:
            values["plugins"] = [PluginUse(**use) for use in document["plugins"]]
            return cls(**values)
        except (TypeError, AttributeError) as error:
            raise RecordError(f"not a run record: {error}", "compare the field types with RunRecord") from error


# --- Checks, each naming the place -----------------------------------------------------------------------------------


def _check_text(value: Any, place: str) -> None:
    if not isinstance(value, str):
        raise RecordError(f"{place} is {type(value).__name__}", "expected text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RecordError(f"{place} holds half of a surrogate pair", "expected text that UTF-8 can write") from error


def _key(key: Any, place: str) -> str:
    _check_text(key, f"a key of {place}")
    return str(key)


def _count(value: Any, place: str) -> int:
    if (
        isinstance(value, bool | np.bool_)
        or not isinstance(value, int | np.integer)
        or not 0 <= value <= LARGEST_INTEGER
    ):
        raise RecordError(f"{place} is {value!r}", "expected a whole number from 0 to 2^63 - 1")
    return int(value)


def _finite(value: Any, place: str) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise RecordError(f"{place} is {value!r}", "expected a number")
    if not np.isfinite(float(value)):
        raise NumericalError(f"{place} is {float(value)}", "expected a finite number")
    return float(value)


def _curve(values: Any, place: str) -> list[float]:
    if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str):
        raise RecordError(f"{place} is {type(values).__name__}", "expected a list of numbers")
    return [_finite(value, f"{place}[{index}]") for index, value in enumerate(values)]


def _matrix(rows: Any, place: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A rectangular, finite (rows, columns) float64 array with at least one row and one column."""
    if not isinstance(rows, Sequence | np.ndarray) or isinstance(rows, str) or len(rows) == 0:
        raise RecordError(f"{place} holds no rows", "expected a list of lists of numbers, one row per test task")
    width = len(rows[0]) if isinstance(rows[0], Sequence | np.ndarray) else 0
    for index, row in enumerate(rows):
        if not isinstance(row, Sequence | np.ndarray) or isinstance(row, str) or len(row) != width or width == 0:
            raise RecordError(
                f"{place}[{index}] is not a row of {max(width, 1)} numbers", "give every task equally many"
            )
    try:
        values = np.array(rows)
    except ValueError as error:
        raise RecordError(
            f"{place} is not a table of numbers: {error}", "expected a list of lists of numbers"
        ) from error
    if values.ndim != 2 or values.dtype.kind not in "iuf":
        raise RecordError(f"{place} holds something that is no number", "expected a list of lists of numbers")
    matrix = values.astype(np.float64)
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise NumericalError(f"{place}[{row}][{column}] is {matrix[row, column]}", "expected finite numbers")
    return matrix


def _utc(value: Any) -> str:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise RecordError(f"created_at is {value!r}", "expected ISO 8601, such as 2026-01-31T12:00:00+00:00") from error
    if moment.tzinfo is None:
        raise RecordError(f"created_at {value!r} has no time zone", "end it with +00:00")
    return moment.astimezone(UTC).isoformat()


def _json_value(value: Any, place: str, depth: int = 0) -> Any:
    """`value` as what JSON gives back: lists for tuples and arrays, Python numbers for NumPy's."""
    if depth > _DEEPEST_JSON:
        raise RecordError(f"{place} is nested more than {_DEEPEST_JSON} levels deep", "flatten it")
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > 2**64:
            raise RecordError(f"{place} is an integer of {value.bit_length()} bits", "expected at most 64 bits")
        return int(value)
    if isinstance(value, float):
        return _finite(value, place)
    if isinstance(value, str):
        _check_text(value, place)
        return str(value)
    if isinstance(value, Mapping):
        return {_key(key, place): _json_value(item, f"{place}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes | set | frozenset):
        return [_json_value(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value)]
    raise RecordError(f"{place} is {type(value).__name__}", "expected what JSON can hold")
