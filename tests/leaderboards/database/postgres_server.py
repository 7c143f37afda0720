"""A real PostgreSQL server that tests start for themselves, and can stop and start again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from icrl_leaderboards.database.connections import open_engine, parse_location

PASSWORD = "s3cret/p@ss"  # characters that mean something in a URL
PATIENCE = 60.0  # seconds


def binaries() -> Path | None:
    """The folder with `initdb` and `postgres`; Debian keeps them off the path."""
    found = shutil.which("initdb")
    candidates = [Path(found).parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((path for path in candidates if (path / "postgres").exists() and (path / "initdb").exists()), None)


def unprivileged() -> dict[str, Any]:
    """Who runs the server: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Server:
    """A server on a socket in a folder of its own, and on a port of this machine; there it asks for a password."""

    def __init__(self, folder: Path, certificate: Path | None = None, key: Path | None = None) -> None:
        """`folder` holds the programs; with a certificate and its key the server speaks TLS."""
        self.folder, self.who, self.settings = folder, unprivileged(), list[str]()
        self.home = Path(tempfile.mkdtemp(prefix="icrl-postgres-"))  # short: a socket's path has at most 107 characters
        self.log = self.home / "log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        if self.who:
            os.chown(self.home, self.who["user"], self.who["group"])
        secret = self.home / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        make = [folder / "initdb", "-D", self.home / "data", "-U", "bench", "--auth-local=trust", "--pwfile", secret]
        make += ["--auth-host=scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync"]
        if certificate is not None and key is not None:
            self.settings = ["ssl=on", *(self._own(file, name) for file, name in ((certificate, "cert"), (key, "key")))]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
        subprocess.run(make, check=True, cwd=self.home, **quiet, **self.who)
        self.start()

    def _own(self, file: Path, name: str) -> str:
        """A copy that the server takes: its own, and nobody else's to read."""
        copied = self.home / name
        shutil.copyfile(file, copied)
        copied.chmod(0o600)
        if self.who:
            os.chown(copied, self.who["user"], self.who["group"])
        return f"ssl_{name}_file={copied}"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        settings = ["fsync=off", "max_connections=40", f"port={self.port}", *self.settings]
        options = ["-k", self.home, *(word for setting in settings for word in ("-c", setting))]
        command = [self.folder / "postgres", "-D", self.home / "data", "-c", "listen_addresses=127.0.0.1", *options]
        with self.log.open("a") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=self.home, **self.who)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                engine = open_engine(parse_location(self.url("postgres")))
                engine.connect().close()
                engine.dispose()
                return
            except Exception:
                if self.process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"the server did not start: {self.log.read_text()}")
                time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: connections are ended; SIGQUIT: as a crash, to be recovered from."""
        self.process.send_signal(how)
        self.process.wait(PATIENCE)

    def remove(self) -> None:
        """Stops it at once, and throws away all that it holds."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.home)

    def url(self, database: str) -> str:
        """Over the socket, without a password."""
        return f"postgresql://bench@/{database}?host={self.home}&port={self.port}"

    def remote_url(self, database: str, password: str = "", options: str = "") -> str:
        """Over the network; `password` as it stands in a URL."""
        secret = f":{password}" if password else ""
        return f"postgresql://bench{secret}@127.0.0.1:{self.port}/{database}{options}"

    def make_database(self, name: str) -> str:
        """An empty database of that name."""
        engine = create_engine(parse_location(self.url("postgres")), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return name
