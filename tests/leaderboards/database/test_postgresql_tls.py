"""PostgreSQL over TLS: a real server with a certificate of an authority that these tests are."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import text

from icrl_bench.cli.main import main
from icrl_leaderboards.database.connections import LeaderboardError, open_engine, parse_location
from icrl_leaderboards.database.leaderboard import Leaderboard

from .postgres_server import PASSWORD, Server, binaries

IN_URL = quote(PASSWORD, safe="")


@dataclass(frozen=True)
class Secure:
    """A server that speaks TLS, the authority that signed its certificate, and one that did not."""

    server: Server
    root: Path
    other_root: Path

    def url(self, database: str, options: str, host: str = "127.0.0.1") -> str:
        return self.server.remote_url(database, IN_URL, f"?{options}").replace("@127.0.0.1:", f"@{host}:")


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def authority(folder: Path, name: str) -> Path:
    """A certificate that signs others, and itself; its key is beside it."""
    root, key = folder / f"{name}.pem", folder / f"{name}.key"
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl(*new, "-subj", f"/CN={name}", "-keyout", key, "-out", root)
    return root


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    folder = tmp_path_factory.mktemp("tls")
    root, other = authority(folder, "ours"), authority(folder, "others")
    key, request, certificate = folder / "server.key", folder / "server.csr", folder / "server.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", *curve, "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", request)
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signing = ("-CA", root, "-CAkey", root.with_suffix(".key"), "-CAcreateserial", "-days", "2")
    openssl("x509", "-req", "-in", request, *signing, "-extfile", folder / "names", "-out", certificate)
    server = Server(programs, certificate, key)
    yield Secure(server, root, other)
    server.remove()


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_rows_travel_encrypted(secure: Secure, mode: str, make_record):
    record = make_record(num_tasks=2, num_episodes=3)
    database = secure.server.make_database(f"tls_{mode.replace('-', '_')}")
    url = secure.url(database, f"sslmode={mode}&sslrootcert={secure.root}")
    with Leaderboard(url) as board:
        board.record(record)
        assert board.runs() == [record]
    with open_engine(parse_location(url)).connect() as connection:
        speaks = connection.execute(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")).scalar()
    assert speaks is True


def test_another_authority_is_not_believed(secure: Secure, capfd: pytest.CaptureFixture[str]):
    url = secure.url("postgres", f"sslmode=verify-ca&sslrootcert={secure.other_root}")
    with Leaderboard(url) as board, pytest.raises(LeaderboardError, match="certificate verify failed") as caught:
        board.reach()
    assert "sslrootcert=FILE" in caught.value.hint
    for as_json in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main(["leaderboard", "show", "--leaderboard", url, *as_json])
        out, err = capfd.readouterr()
        assert ended.value.code == 1
        assert "certificate verify failed" in (json.loads(out)["error"]["message"] if as_json else err)
        assert all(secret not in out + err for secret in (PASSWORD, IN_URL, "s3cret", "Traceback"))


def test_a_certificate_for_another_host_is_not_believed(secure: Secure):
    root = f"sslrootcert={secure.root}"
    with Leaderboard(secure.url("postgres", f"sslmode=verify-ca&{root}", host="localhost")) as board:
        board.reach()
    with (
        Leaderboard(secure.url("postgres", f"sslmode=verify-full&{root}", host="localhost")) as board,
        pytest.raises(LeaderboardError, match="does not match") as caught,
    ):
        board.reach()
    assert "s3cret" not in caught.value.message


def test_a_root_that_is_not_there_is_named(secure: Secure):
    with (
        Leaderboard(secure.url("postgres", "sslmode=verify-full&sslrootcert=nowhere.pem")) as board,
        pytest.raises(LeaderboardError, match=r"nowhere\.pem") as caught,
    ):
        board.reach()
    assert "s3cret" not in caught.value.message
