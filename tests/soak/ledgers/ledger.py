"""How much a campaign tries, and what it noted."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Size(enum.Enum):
    """In CI, by hand before a merge, and in `make soak`."""

    small = 0
    medium = 1
    full = 2

    def pick(self, small: int, medium: int, full: int) -> int:
        """The number for this size."""
        return (small, medium, full)[self.value]


@dataclass
class Ledger:
    """Trials of one test of a campaign: `found` has a line for each that the program did not survive."""

    name: str
    tried: int = 0
    survived: int = 0
    found: list[str] = field(default_factory=list)
    _settled: int = 0

    def note(self, what: str, problem: str | None) -> None:
        """One trial: what was done, and what went wrong, if anything."""
        self.tried += 1
        if problem:
            self.found.append(f"{what}: {problem}")
        else:
            self.survived += 1

    def settle(self) -> None:
        """At the end of a test: fails with what was found since the last."""
        news, self._settled = self.found[self._settled :], len(self.found)
        assert not news, "\n".join(news[:20])
