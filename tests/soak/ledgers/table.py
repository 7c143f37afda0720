"""The table of a soak: what each campaign tried, survived and found, from the ledgers of all its tests.

A ledger travels with the report of its test, so that tests may run side by side in processes (pytest-xdist). The file is
written anew after every test: a soak of hours that is stopped, or whose machine goes down, leaves what it has tried.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from icrl_bench.machine.provenance import hardware, source_revision

from .ledger import Ledger, Size

PROPERTY = "campaign"


def report(item: pytest.Item, ledger: Ledger) -> None:
    """Has the report of a test carry its ledger."""
    item.user_properties.append((PROPERTY, [ledger.name, ledger.tried, ledger.survived, len(ledger.found)]))


@dataclass
class Line:
    """One campaign's trials, and the seconds that its tests took."""

    tried: int = 0
    survived: int = 0
    found: int = 0
    seconds: float = 0.0


class Table:
    """Adds up what tests report; registered as a plugin of pytest where the reports come together."""

    def __init__(self, size: Size, file: Path | None) -> None:
        self.lines: dict[str, Line] = {}
        self._size, self._file, self._seconds = size, file, dict[str, float]()
        self._begun = datetime.now(UTC)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if report.when != "teardown":
            return
        for name, counts in report.user_properties:
            if name == PROPERTY:
                campaign, tried, survived, found = counts
                line = self.lines.setdefault(campaign, Line())
                line.tried += tried
                line.survived += survived
                line.found += found
                line.seconds += self._seconds[report.nodeid]
                if self._file is not None:
                    self._file.write_text("\n".join([*self.head(), "", *self.rows()]) + "\n", encoding="utf-8")

    def head(self) -> Iterator[str]:
        """When, where and on what: a paragraph."""
        now = datetime.now(UTC)
        machine, source = hardware("cpu"), source_revision()
        commit = "no commit known"
        if source:
            commit = f"commit {source['git_revision'][:7]}{' with changes' if source['git_dirty'] else ''}"
        yield f"{self._size.name}, {self._begun:%d %B %Y %H:%M} to {now:%H:%M} UTC, {commit},"
        yield f"{machine['processor']}, {machine['cores']} cores, Python {platform.python_version()}"

    def rows(self) -> Iterator[str]:
        """The table in Markdown, with a last line for all."""
        yield "| campaign | tried | survived | found | minutes |"
        yield "|---|---:|---:|---:|---:|"
        everything = Line()
        for name, line in self.lines.items():
            yield _row(name, line)
            for key, value in vars(line).items():
                setattr(everything, key, getattr(everything, key) + value)
        yield _row("all", everything)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.lines:
            terminalreporter.section("campaigns")
            for line in (*self.head(), "", *self.rows()):
                terminalreporter.write_line(line)


def _row(name: str, line: Line) -> str:
    return f"| {name} | {line.tried:,} | {line.survived:,} | {line.found:,} | {line.seconds / 60:.1f} |"
