"""Campaigns that look for the next fault: sizes, the table at the end, and runs that take a moment.

`pytest` runs each campaign at the size of a test; `make soak` (`pytest tests/soak --soak full`) runs them for hours.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .commands.running import TOY_DISTRIBUTION, Starter
from .ledger import Ledger, Size

LEDGERS = pytest.StashKey[dict[str, Ledger]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", choices=[size.name for size in Size], default="small", help="size of the campaigns in tests/soak"
    )


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> Size:
    """How long the campaigns take."""
    return Size[request.config.getoption("--soak", "small")]


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """Where a campaign notes its trials."""
    path = request.path.relative_to(Path(__file__).parent).with_suffix("")
    name = ": ".join(part.removeprefix("test_").replace("_", " ") for part in path.parts)
    return request.config.stash.setdefault(LEDGERS, {}).setdefault(name, Ledger(name))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ledgers = config.stash.get(LEDGERS, {}).values()
    if not ledgers:
        return
    terminalreporter.section("campaigns")
    terminalreporter.write_line("| campaign | tried | survived | found |")
    terminalreporter.write_line("|---|---:|---:|---:|")
    for ledger in ledgers:
        terminalreporter.write_line(ledger.line())


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
