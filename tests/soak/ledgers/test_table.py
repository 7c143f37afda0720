"""The table of a soak adds up what tests report, and its file is whole after each."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from .ledger import Ledger, Size
from .table import Table, report


def ended(name: str, ledger: Ledger, seconds: float) -> list[pytest.TestReport]:
    """The reports of a test that took `seconds` and noted a ledger."""
    item: Any = SimpleNamespace(user_properties=[])
    report(item, ledger)
    shared: dict[str, Any] = {"nodeid": name, "location": (name, 0, name), "keywords": {}, "longrepr": None}
    return [
        pytest.TestReport(**shared, outcome="passed", when="call", duration=seconds),
        pytest.TestReport(
            **shared, outcome="passed", when="teardown", duration=0.0, user_properties=item.user_properties
        ),
    ]


def test_what_tests_noted_is_added_up_and_written_after_each(tmp_path: Path):
    table, file = Table(Size.small, tmp_path / "soak.md"), tmp_path / "soak.md"
    first, second = Ledger("kill"), Ledger("kill")
    first.note("one blow", None)
    second.note("two blows", "an orphan is left")
    second.note("three blows", None)
    for each in ended("a", first, 30.0):
        table.pytest_runtest_logreport(each)
    assert "| kill | 1 | 1 | 0 | 0.5 |" in file.read_text().splitlines()
    for each in ended("b", second, 60.0):
        table.pytest_runtest_logreport(each)
    lines = file.read_text().splitlines()
    assert "| kill | 3 | 2 | 1 | 1.5 |" in lines
    assert lines[-1] == "| all | 3 | 2 | 1 | 1.5 |"
    assert lines[0].startswith("small, ")


def test_a_test_that_notes_nothing_is_no_campaign(tmp_path: Path):
    table = Table(Size.full, tmp_path / "soak.md")
    quiet = pytest.TestReport("a", ("a", 0, "a"), {}, "passed", None, "teardown", duration=1.0)
    table.pytest_runtest_logreport(quiet)
    assert not table.lines
    assert not (tmp_path / "soak.md").exists()
