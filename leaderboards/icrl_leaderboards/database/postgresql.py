"""What a leaderboard that many machines share takes: few connections, none kept idle, and patience with the server.

Hundreds of writers share a server that allows a hundred connections. So a process has at most `CONNECTIONS` at once, gives each
back after its transaction, and waits while the server says that it has none left. A server that was there and has gone is taken
to be restarting, and what was under way is done again: every write of a run replaces the run, so twice is once.
"""

from __future__ import annotations

import threading
from typing import Any

from sqlalchemy import NullPool, exc
from sqlalchemy.engine import URL

CONNECTIONS = 4  # of a process at once; its threads wait for each other
CONNECT_SECONDS = 10
LONGEST_WAIT = 120.0  # seconds for a connection of this process
#: Serialisation failure, deadlock, lock not available.
_CONFLICTS = frozenset({"40001", "40P01", "55P03"})
#: Shut down by its owner, after a crash, or not yet up; too many connections.
_AWAY = frozenset({"57P01", "57P02", "57P03", "53300"})
_AWAY_IN_WORDS = ("starting up", "shutting down", "too many clients", "remaining connection slots", "recovery mode")


class BoundedPool(NullPool):
    """Opens a connection for every transaction and closes it after; never more than `CONNECTIONS` at once."""

    def __init__(self, creator: Any, **options: Any) -> None:
        super().__init__(creator, **options)
        self._places = threading.BoundedSemaphore(CONNECTIONS)

    def _do_get(self) -> Any:
        if not self._places.acquire(timeout=LONGEST_WAIT):
            raise exc.TimeoutError(f"all {CONNECTIONS} connections of this process were busy for {LONGEST_WAIT:.0f} s")
        try:
            return super()._do_get()
        except BaseException:
            self._places.release()
            raise

    def _do_return_conn(self, record: Any) -> None:
        try:
            super()._do_return_conn(record)
        finally:
            self._places.release()


def engine_options(url: URL) -> dict[str, Any]:
    """For `create_engine`. What the URL says of the connection, TLS above all, goes to the driver as it is."""
    limit = {} if "connect_timeout" in url.query else {"connect_args": {"connect_timeout": CONNECT_SECONDS}}
    return {"poolclass": BoundedPool, **limit}


def is_conflict(error: exc.DBAPIError) -> bool:
    """Whether others were writing the same at the same time."""
    return isinstance(error, exc.IntegrityError) or getattr(error.orig, "sqlstate", None) in _CONFLICTS


def is_away(error: exc.DBAPIError, was_there: bool) -> bool:
    """Whether the server is on its way up or down, or has no connection left; if it `was_there`, also whether it is gone.

    One that never was there is a slip in the URL, for which nobody should wait.
    """
    state, said = getattr(error.orig, "sqlstate", None), str(error.orig)
    if state in _AWAY or any(words in said for words in _AWAY_IN_WORDS):
        return True
    lost = error.connection_invalidated or (state or "08").startswith("08")
    return was_there and isinstance(error, exc.OperationalError | exc.InterfaceError) and lost
