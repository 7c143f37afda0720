"""Artefacts on their way between homes: files as arrays of bytes, held to the sender's checksums where they arrive."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icrl_bench.artefacts.store import MANIFEST, SEAL, Store
from icrl_bench.stages.stage import ArtefactName
from icrl_registry.errors import DamagedArtefactError

Parcel = dict[str, NDArray[np.uint8]]
"""The files of one artefact by name, its manifest among them. Arrays, as Ray maps them without a copy."""


def pack(store: Store, artefact: ArtefactName) -> Parcel:
    """An artefact's files, as they are.

    Raises:
        DamagedArtefactError: it is missing or its manifest is damaged. What else is damaged is found where it arrives.
    """
    manifest, folder = store.manifest(*artefact), store.path(*artefact)
    try:
        return {name: np.fromfile(folder / name, dtype=np.uint8) for name in (MANIFEST, *manifest["files"])}
    except OSError as error:
        raise DamagedArtefactError(f"cannot read {folder}: {error}", _AGAIN) from error


def unpack(store: Store, artefact: ArtefactName, parcel: Mapping[str, NDArray[np.uint8]], sender: str) -> None:
    """Makes the artefact in another home, whole or not at all; nothing is done if it is there.

    Raises:
        DamagedArtefactError: something differs from the checksums that it was sent with; the message names the sender.
    """
    with store.lock(*artefact):
        if store.exists(*artefact):
            return
        about = _manifest(artefact, parcel, sender)
        expected = about.pop("files")
        for name, digest in expected.items():
            if name not in parcel or hashlib.sha256(parcel[name].data).hexdigest() != digest:
                raise _damaged(artefact, name, sender)
        with store.write(*artefact, about) as folder:
            for name in expected:
                parcel[name].tofile(folder / name)
        if (store.path(*artefact) / MANIFEST).read_bytes() != parcel[MANIFEST].tobytes():  # its seal, or its place
            store.discard(*artefact)
            raise _damaged(artefact, MANIFEST, sender)


def _manifest(artefact: ArtefactName, parcel: Mapping[str, NDArray[np.uint8]], sender: str) -> dict[str, Any]:
    try:
        manifest = dict(json.loads(parcel[MANIFEST].tobytes()))
        manifest.pop(SEAL, None)
        return {**manifest, "files": dict(manifest["files"])}
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise _damaged(artefact, MANIFEST, sender) from error


_AGAIN = "run the same command again; it makes what is missing"


def _damaged(artefact: ArtefactName, file: str, sender: str) -> DamagedArtefactError:
    return DamagedArtefactError(f"{file} of {'/'.join(artefact)} from {sender} differs from its checksum", _AGAIN)
