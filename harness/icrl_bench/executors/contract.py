"""What an executor is: something that takes units and says how each ended.

An executor makes a unit again, from its last kept progress, as often as `RETRIES` if the process or machine under it died.
A unit that fails by itself fails once, with its traceback and the node where it did.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Set
from dataclasses import dataclass
from types import TracebackType

from icrl_bench.stages.stage import Unit

RETRIES = 3  # of a unit whose process died; one that is killed by itself each time is given up then

UnitKey = tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """Why a unit, and all that waited for it, is not there."""

    message: str
    hint: str = ""
    node: str = ""  # where; empty where it is this machine
    traceback: str = ""

    @property
    def text(self) -> str:
        """In one line."""
        return f"{self.message} (on {self.node})" if self.node else self.message

    @property
    def detail(self) -> str:
        """What helps: the hint of an error that has one, else where it arose."""
        return self.hint or self.traceback.rstrip()


@dataclass(frozen=True)
class UnitOutcome:
    """How a unit ended."""

    unit: Unit
    seconds: float  # of work; the waiting before it is not in it
    node: str
    failure: Failure | None = None


class Executor(ABC):
    """Makes units, many at a time. As a context manager: at its end nothing of it is left, whatever happened within."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """About how many units it can make at once, as far as is known now."""

    @abstractmethod
    def submit(self, unit: Unit) -> None:
        """Takes a unit, whose `reads` are in the driver's home. It is made as soon as there is room for it."""

    @abstractmethod
    def wait(self, seconds: float) -> list[UnitOutcome]:
        """The units that have ended since the last call; what they made is in the driver's home. Waits at most so long."""

    @abstractmethod
    def running(self) -> Set[UnitKey]:
        """Keys of the units that are being made now."""

    @abstractmethod
    def close(self) -> None:
        """Ends whatever is still made, and every process that belongs to it."""

    def __enter__(self) -> Executor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
