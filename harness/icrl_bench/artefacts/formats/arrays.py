"""What all formats share: a history's columns as arrays, and the way from arrays that somebody else wrote to a history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icrl_bench.artefacts.histories import COLUMNS, OPTIONAL_COLUMNS
from icrl_registry.contracts import SPLITS, Array, LearningHistory, Split, Task
from icrl_registry.errors import UsageError

FORMAT_HINT = "docs/data.md says what a file must hold"
LONGEST_NAME = 200  # letters
MOST_PARAMETERS = 10_000  # of one task
#: Rank of a column with its axis of streams; a file of one stream may leave that axis out.
_RANKS = dict.fromkeys(("observations", "actions", "next_observations", *OPTIONAL_COLUMNS), 3)


@dataclass(frozen=True)
class ForeignHistory:
    """One task's history as a file had it: the task is known as far as the file says it."""

    where: str  # the file, for messages
    columns: Mapping[str, Array]  # (S, T, …), converted
    parameters: tuple[float, ...] | None = None  # (P,)
    split: Split | None = None
    index: int | None = None
    environment: str | None = None  # an id, such as `reacher-goal-v1`


def columns_of(history: LearningHistory) -> dict[str, Array]:
    """A history's arrays by name; what its source did not record is left out."""
    columns = {name: getattr(history, name) for name in (*COLUMNS, *OPTIONAL_COLUMNS)}
    return {name: array for name, array in columns.items() if array is not None}


def convert_columns(arrays: Mapping[str, Array], where: str) -> dict[str, Array]:
    """Arrays as a history has them: (S, T, …), float32 and bool; numbers that do not fit are refused, nothing is guessed.

    Raises:
        UsageError: a column is missing, has no such type, or has another number of axes.
    """
    missing = [name for name in COLUMNS if name not in arrays]
    if missing:
        raise UsageError(f"{where} lacks {', '.join(missing)}", FORMAT_HINT)
    converted = {}
    for name in (*COLUMNS, *OPTIONAL_COLUMNS):
        if name in arrays:
            converted[name] = _convert(name, np.asarray(arrays[name]), where)
    return converted


def _convert(name: str, array: Array, where: str) -> Array:
    rank = _RANKS.get(name, 2)
    if array.ndim == rank - 1:
        array = array[None]  # one stream
    if array.ndim != rank:
        axes = "(S, T, size)" if rank == 3 else "(S, T)"
        raise UsageError(f"{where}: {name} has shape {array.shape}, expected {axes}", FORMAT_HINT)
    is_flag = name in ("terminated", "truncated")
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{where}: {name} holds {array.dtype}, not numbers", FORMAT_HINT)
    if is_flag and not np.isin(array, (0, 1)).all():
        raise UsageError(f"{where}: {name} holds other numbers than 0 and 1", FORMAT_HINT)
    return array.astype(np.bool_ if is_flag else np.float32, copy=False)


def task_fields(where: str, parameters: Any = None, split: Any = None, index: Any = None) -> dict[str, Any]:
    """Parameters, split and index as a file says them, typed.

    Raises:
        UsageError: one of them is none.
    """
    fields: dict[str, Any] = {}
    try:
        if parameters is not None:
            numbers = np.asarray(parameters, dtype=np.float64).reshape(-1)
            if len(numbers) > MOST_PARAMETERS:
                raise ValueError(f"{len(numbers):,} task parameters")
            if not np.isfinite(numbers).all():
                raise ValueError("not finite")
            fields["parameters"] = tuple(float(number) for number in numbers)
        if index is not None:
            fields["index"] = int(index)
            if not 0 <= fields["index"] < 1_000_000:
                raise ValueError(f"index {index}")
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{where}: the task cannot be read: {error}", FORMAT_HINT) from error
    if split is not None:
        said = text_of(split, where)
        if said not in SPLITS:
            raise UsageError(f"{where}: split is {said[:40]!r}", f"one of {', '.join(SPLITS)}")
        fields["split"] = said
    return fields


def text_of(value: Any, where: str) -> str:
    """A name in a file, as text.

    Raises:
        UsageError: it is longer than any name, or an array of several.
    """
    array = np.asarray(value)
    if array.size == 1 and array.dtype.itemsize <= 4 * LONGEST_NAME:
        return str(array.reshape(-1)[0])
    raise UsageError(
        f"{where}: a name is {array.dtype} of shape {array.shape}", f"one of at most {LONGEST_NAME} letters"
    )


def number_tasks(found: Sequence[ForeignHistory]) -> list[LearningHistory]:
    """Histories of distinct tasks; where a file says no split it is `train`, and no index, the next free one.

    Raises:
        UsageError: a file says no task parameters, or two say the same task or the same place.
    """
    taken = {(each.split or "train", each.index) for each in found if each.index is not None}
    histories: list[LearningHistory] = []
    places: dict[str, str] = {}
    for each in found:
        split: Split = each.split or "train"
        if each.parameters is None:
            raise UsageError(
                f"{each.where} does not say its task", "add the array `parameters`, or give --task VALUE,VALUE"
            )
        index = each.index
        if index is None:
            index = next(number for number in range(len(found) + 1) if (split, number) not in taken)
            taken.add((split, index))
        task = Task(each.parameters, split, index)
        for what in (task.label, f"the task {_rounded(task)}"):
            if what in places:
                raise UsageError(f"{places[what]} and {each.where} both hold {what}", "give one history a task")
            places[what] = each.where
        columns = {name: each.columns.get(name) for name in (*COLUMNS, *OPTIONAL_COLUMNS)}
        histories.append(LearningHistory(task, **columns))  # type: ignore[arg-type]
    return sorted(histories, key=lambda history: (SPLITS.index(history.task.split), history.task.index))


def one_environment(found: Iterable[ForeignHistory], given: str | None) -> str:
    """The environment that was given, or the one that all files name.

    Raises:
        UsageError: none is named, or two are.
    """
    named = {each.environment for each in found if each.environment}
    if given is not None:
        return given
    if len(named) != 1:
        said = f"the files name {' and '.join(sorted(named))}" if named else "the files do not name an environment"
        raise UsageError(said, "add --env ENVIRONMENT")
    return named.pop()


def _rounded(task: Task) -> tuple[float, ...]:
    return tuple(round(value, 6) for value in task.parameters)
