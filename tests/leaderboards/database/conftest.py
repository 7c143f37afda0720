"""A PostgreSQL server for all tests of this folder, and an empty database for each."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .postgres_server import Server, binaries


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server; a test that stops it starts it again."""
    folder = binaries()
    if folder is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed: .ci/system-packages installs it")
        pytest.skip("PostgreSQL is not installed")
    server = Server(folder)
    yield server
    server.remove()


@pytest.fixture
def database(server: Server, request: pytest.FixtureRequest) -> str:
    """The name of an empty database."""
    return server.make_database(f"bench_{abs(hash(request.node.nodeid))}")


@pytest.fixture
def url(server: Server, database: str) -> str:
    """Its URL, without a password."""
    return server.url(database)
