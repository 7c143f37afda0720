"""Certificates of environments as files beside the published runs: `PROTOCOL/ENVIRONMENT.certificate`, one JSON object each."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from icrl_leaderboards.exchange.document import safe_name
from icrl_leaderboards.exchange.reading import PublishedRunError
from icrl_leaderboards.runs.certificates import Certificate

ENDING = ".certificate"
LARGEST_FILE = 2**20  # bytes; one of 100 tasks takes 20 KiB


def certificate_file(certificate: Certificate) -> PurePosixPath:
    """Where a certificate's file lies below the folder of published runs."""
    return PurePosixPath(safe_name(certificate.protocol)) / f"{safe_name(certificate.environment)}{ENDING}"


def certificate_bytes(certificate: Certificate) -> bytes:
    """The file of a certificate: equal certificates give equal bytes."""
    return (certificate.model_dump_json(indent=1) + "\n").encode()


def read_certificate(path: Path) -> Certificate:
    """A certificate from its file, which may come from anywhere.

    Raises:
        PublishedRunError: unreadable, too large, or no certificate.
    """
    try:
        with path.open("rb") as handle:
            data = handle.read(LARGEST_FILE + 1)
    except OSError as error:
        raise PublishedRunError(f"cannot read {path}: {error}", "check the file's name and permissions") from error
    if len(data) > LARGEST_FILE:
        raise PublishedRunError(f"{path} is larger than 1 MiB", "no certificate is that large")
    try:
        return Certificate.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PublishedRunError(
            f"{path} is no certificate: {where}: {first['msg']}", "`icrl-bench leaderboard submit` writes such files"
        ) from error


def find_certificates(paths: list[Path]) -> list[Path]:
    """The certificate files named, and all below the folders named, in order and each once."""
    found: dict[Path, None] = {}
    for path in paths:
        files = sorted(path.rglob(f"*{ENDING}")) if path.is_dir() else [path] if path.suffix == ENDING else []
        found |= dict.fromkeys(files)
    return list(found)
