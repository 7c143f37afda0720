"""The types of a record's fields: what each checks, how it is brought to plain Python, and the axes it must share.

A value is checked before pydantic sees it, so every refusal names its place (`returns[3][7] is nan`) and what was expected.
Axes: K test tasks, E episodes per task, P parameters of a task.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, ValidationInfo

from icrl_registry.errors import BenchError, NumericalError

#: The largest integer that every database stores in a BIGINT.
LARGEST_INTEGER = 2**63 - 1
LONGEST_EPISODE = 2**31 - 1
LONGEST_RUN_ID = 255
LONGEST_KEY = 255
_DEEPEST_JSON = 64

Checked = TypeVar("Checked")
#: Gives back the value in plain Python; the place stands in the message of what it refuses.
Checker = Callable[[Any, str], Checked]


class RecordError(BenchError):
    """A run record breaks its form; the message names the place, such as `returns[3][7]`."""

    kind = "invalid_record"


@dataclass(frozen=True)
class Axes:
    """The axes of a field, such as ("K", "E"): fields of one record agree on every axis that they share."""

    names: tuple[str, ...]
    may_be_empty: bool = False  # no entry at all stands for "not known"


@dataclass(frozen=True)
class PerTaskReference:
    """Marks a field as something that a task's returns are measured against: one number, or None, per test task."""


def checked_by(check: Checker[Checked]) -> BeforeValidator:
    """Calls `check` with the field's name as the place."""

    def before(value: Any, info: ValidationInfo) -> Checked:
        return check(value, str(info.field_name))

    return BeforeValidator(before)


def _if_known(check: Checker[Checked]) -> Checker[Checked | None]:
    """The same check, where None stands for what is not known."""
    return lambda value, place: None if value is None else check(value, place)


def _each(check: Checker[Checked]) -> Checker[list[Checked]]:
    """The check of every entry of a list, at its own place."""

    def entries(values: Any, place: str) -> list[Checked]:
        if not _is_row(values):
            raise RecordError(f"{place} is {type(values).__name__}", "expected a list, one entry per test task")
        return [check(value, f"{place}[{index}]") for index, value in enumerate(values)]

    return entries


def _is_row(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)


# --- Single values -----------------------------------------------------------------------------------------------------


def text(value: Any, place: str) -> str:
    """Text that UTF-8 can write."""
    if not isinstance(value, str):
        raise RecordError(f"{place} is {type(value).__name__}", "expected text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RecordError(f"{place} holds half of a surrogate pair", "expected text that UTF-8 can write") from error
    return str(value)


def run_id(value: Any, place: str) -> str:
    """Text of 1 to `LONGEST_RUN_ID` characters."""
    if not 0 < len(text(value, place)) <= LONGEST_RUN_ID:
        raise RecordError(f"{place} has {len(value)} characters", f"give it 1 to {LONGEST_RUN_ID}")
    return str(value)


def count(value: Any, place: str) -> int:
    """A whole number that every database can store."""
    if (
        isinstance(value, bool | np.bool_)
        or not isinstance(value, int | np.integer)
        or not 0 <= value <= LARGEST_INTEGER
    ):
        raise RecordError(f"{place} is {value!r}", "expected a whole number from 0 to 2^63 - 1")
    return int(value)


def finite(value: Any, place: str) -> float:
    """A finite number."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise RecordError(f"{place} is {value!r}", "expected a number")
    try:
        number = float(value)
    except OverflowError:  # a whole number of more digits than any double
        number = math.inf
    if not math.isfinite(number):
        raise NumericalError(f"{place} is {number}", "expected a finite number")
    return number


def utc(value: Any, place: str) -> str:
    """A moment in ISO 8601 with its time zone, brought to UTC."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise RecordError(f"{place} is {value!r}", "expected ISO 8601, such as 2026-01-31T12:00:00+00:00") from error
    if moment.tzinfo is None:
        raise RecordError(f"{place} {value!r} has no time zone", "end it with +00:00")
    return moment.astimezone(UTC).isoformat()


# A constraint stands before the check: it describes the type within, and the check wraps both.
Text = Annotated[str, checked_by(text)]
OptionalText = Annotated[str | None, checked_by(_if_known(text))]
RunId = Annotated[str, Field(min_length=1, max_length=LONGEST_RUN_ID), checked_by(run_id)]
Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER), checked_by(count)]
Moment = Annotated[str, checked_by(utc), Field(json_schema_extra={"format": "date-time"})]


# --- Arrays ------------------------------------------------------------------------------------------------------------


def matrix(rows: Any, place: str) -> NDArray[np.float64]:
    """A rectangular, finite (rows, columns) array with at least one row and one column."""
    if not _is_row(rows) or len(rows) == 0:
        raise RecordError(f"{place} holds no rows", "expected a list of lists of numbers, one row per test task")
    width = len(rows[0]) if isinstance(rows[0], Sequence | np.ndarray) else 0
    for index, row in enumerate(rows):
        if not _is_row(row) or len(row) != width or width == 0:
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
    numbers = values.astype(np.float64)
    _refuse_where(~np.isfinite(numbers), numbers, place, "expected finite numbers", NumericalError)
    return numbers


def _refuse_where(
    wrong: NDArray[np.bool_], values: NDArray[np.float64], place: str, hint: str, error: type[BenchError] = RecordError
) -> None:
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise error(f"{place}[{row}][{column}] is {values[row, column]}", hint)


def _numbers(rows: Any, place: str) -> list[list[float]]:
    numbers: list[list[float]] = matrix(rows, place).tolist()
    return numbers


def _fractions(rows: Any, place: str) -> list[list[float]]:
    values = matrix(rows, place)
    _refuse_where((values < 0) | (values > 1), values, place, "expected a fraction from 0 to 1")
    fractions: list[list[float]] = values.tolist()
    return fractions


def _lengths(rows: Any, place: str) -> list[list[int]]:
    values = matrix(rows, place)
    wrong = (values != np.floor(values)) | (values < 0) | (values > LONGEST_EPISODE)
    _refuse_where(wrong, values, place, f"expected a whole number of steps up to {LONGEST_EPISODE}")
    steps: list[list[int]] = values.astype(np.int64).tolist()
    return steps


_ROW = Field(min_length=1)
_Numbers = Annotated[list[float], _ROW]
_Fractions = Annotated[list[Annotated[float, Field(ge=0, le=1)]], _ROW]
_Steps = Annotated[list[Annotated[int, Field(ge=0, le=LONGEST_EPISODE)]], _ROW]

TaskLabels = Annotated[list[str], _ROW, checked_by(_each(text)), Axes(("K",))]
TaskParameters = Annotated[list[_Numbers], _ROW, checked_by(_numbers), Axes(("K", "P"))]
PerEpisode = Annotated[list[_Numbers], _ROW, checked_by(_numbers), Axes(("K", "E"))]
PerEpisodeLengths = Annotated[list[_Steps], _ROW, checked_by(_lengths), Axes(("K", "E"))]
PerEpisodeFractions = Annotated[list[_Fractions] | None, checked_by(_if_known(_fractions)), Axes(("K", "E"))]
PerStep = Annotated[list[_Numbers] | None, checked_by(_if_known(_numbers))]
Floor = Annotated[list[float], _ROW, checked_by(_each(finite)), Axes(("K",)), PerTaskReference()]
Ceiling = Annotated[list[float | None], _ROW, checked_by(_each(_if_known(finite))), Axes(("K",)), PerTaskReference()]
OptionalFloor = Annotated[list[float] | None, checked_by(_if_known(_each(finite))), Axes(("K",)), PerTaskReference()]
Curves = Annotated[list[list[float]], checked_by(_each(_each(finite))), Axes(("K",), may_be_empty=True)]


# --- Mappings ----------------------------------------------------------------------------------------------------------


def key(value: Any, place: str) -> str:
    """A mapping's key: text."""
    return text(value, f"a key of {place}")


def _short_keys(values: Any, place: str) -> None:
    """Refuses what is no mapping, and keys that a column of the database cannot hold."""
    if not isinstance(values, Mapping):
        raise RecordError(f"not a run record: {place} is {type(values).__name__}", "expected a mapping")
    longest = max((len(name) for name in values if isinstance(name, str)), default=0)
    if longest > LONGEST_KEY:
        raise RecordError(f"a key of {place} has {longest} characters", f"expected at most {LONGEST_KEY}")


def _named_numbers(values: Any, place: str) -> dict[str, float]:
    _short_keys(values, place)
    return {key(name, place): finite(value, f"{place}.{name}") for name, value in values.items()}


def json_object(value: Any, place: str) -> dict[str, Any]:
    """A mapping of whatever JSON can hold."""
    plain = json_value(value, place)
    if not isinstance(plain, dict):
        raise RecordError(f"{place} is {type(plain).__name__}", "expected a mapping")
    return plain


def _facts(value: Any, place: str) -> dict[str, Any]:
    plain = json_object(value, place)
    _short_keys(plain, place)
    return plain


def json_value(value: Any, place: str, depth: int = 0) -> Any:
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
        return finite(value, place)
    if isinstance(value, str):
        return text(value, place)
    if isinstance(value, Mapping):
        return {key(name, place): json_value(item, f"{place}.{name}", depth + 1) for name, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes | set | frozenset):
        return [json_value(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value)]
    raise RecordError(f"{place} is {type(value).__name__}", "expected what JSON can hold")


NamedNumbers = Annotated[dict[str, float], checked_by(_named_numbers)]
JsonObject = Annotated[dict[str, Any], checked_by(json_object)]
Facts = Annotated[dict[str, Any], checked_by(_facts)]
