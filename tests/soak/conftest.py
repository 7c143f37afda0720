"""Campaigns that look for the next fault: sizes, the table at the end, and runs that take a moment.

`pytest` runs each campaign at the size of a test; `make soak` (`pytest tests/soak --soak full`) runs them for hours.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .commands.running import TOY_DISTRIBUTION, Starter
from .ledgers.ledger import Ledger, Size
from .ledgers.table import Table, report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", choices=[size.name for size in Size], default="small", help="size of the campaigns in tests/soak"
    )
    parser.addoption("--soak-table", type=Path, metavar="FILE", help="where the table is kept up to date")


def pytest_configure(config: pytest.Config) -> None:
    """The table lies where reports come together: not in a process that others' tests are handed to."""
    if not hasattr(config, "workerinput") and not config.pluginmanager.has_plugin("soak-table"):
        size = Size[config.getoption("--soak", "small")]
        config.pluginmanager.register(Table(size, config.getoption("--soak-table", None)), "soak-table")


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> Size:
    """How long the campaigns take."""
    return Size[request.config.getoption("--soak", "small")]


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """Where a test of a campaign notes its trials; a campaign is a file."""
    path = request.path.relative_to(Path(__file__).parent).with_suffix("")
    ledger = Ledger(": ".join(part.removeprefix("test_").replace("_", " ") for part in path.parts))
    yield ledger
    report(request.node, ledger)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy distribution."""
    folder = tmp_path_factory.mktemp("soak") / "site"
    shutil.copytree(TOY_DISTRIBUTION, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="session")
def starter(site: Path) -> Iterator[Starter]:
    """Starts commands of this installation and the toy distribution."""
    starter = Starter(site, site.parent / "tmp")
    yield starter
    starter.close()
