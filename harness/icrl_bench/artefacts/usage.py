"""What lies in a home folder: how large each artefact is, how old, and which rows of the leaderboard were made of it.

Histories and checkpoints can be made again from a row's plan, at their price; so what no row needs may go, and what one
needs goes only when that is said. Floors, certificates and what stages of later versions keep are small: they stay.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icrl_bench.artefacts import imports
from icrl_bench.artefacts.checkpoints import KIND as CHECKPOINTS
from icrl_bench.artefacts.checkpoints import PROGRESS_KIND
from icrl_bench.artefacts.datasets import list_datasets
from icrl_bench.artefacts.store import MANIFEST, Store
from icrl_registry.errors import DamagedArtefactError, UsageError

if TYPE_CHECKING:
    from icrl_leaderboards.runs.record import RunRecord

DATASETS, ADAPTATIONS, PARTIAL = "datasets", "adaptations", "partial"
#: The kinds that `data rm` and `data gc` remove; `partial` is what killed processes left half written.
REMOVABLE = (DATASETS, imports.KIND, CHECKPOINTS, PROGRESS_KIND, ADAPTATIONS, PARTIAL)
#: The kinds that stay; a store may hold more of them, see `kept_kinds`.
KEPT = ("floors", "certificates")
DAY = 86_400.0  # seconds


@dataclass(frozen=True)
class Artefact:
    """One thing on disk that can be removed as a whole."""

    kind: str
    name: str  # its address, or its file's name
    what: str  # in words: method and environment, or the source
    path: Path
    bytes: int
    made: float  # when the newest of its files was written, seconds since the epoch
    rows: tuple[str, ...]  # ids of the runs that were made of it

    @property
    def days(self) -> float:
        """How old it is."""
        return max(0.0, (time.time() - self.made) / DAY)

    def document(self) -> dict[str, Any]:
        """One line of `data list --all --json`."""
        return {
            "kind": self.kind,
            "address": self.name,
            "what": self.what,
            "bytes": self.bytes,
            "days": round(self.days, 2),
            "rows": list(self.rows),
        }


def find_artefacts(store: Store, records: Iterable[RunRecord] = ()) -> list[Artefact]:
    """Everything in a store that can be removed, by kind and name; `records` are the rows that may need it."""
    needed = _needs(records)
    found: list[Artefact] = []
    for dataset in list_datasets(store):
        try:
            what = f"{dataset.about['environment']}, {dataset.about['source']}"
        except (DamagedArtefactError, KeyError):
            what = "its description is damaged"
        found.append(_artefact(store, DATASETS, dataset.address, what, needed))
    for kind in (imports.KIND, CHECKPOINTS, ADAPTATIONS):
        for name in store.names(kind):
            found.append(_artefact(store, kind, name, _what(store, kind, name), needed))
    for path in sorted((store.root / PROGRESS_KIND).glob("[!.]*")):
        found.append(_artefact(store, PROGRESS_KIND, path.name, "an unfinished training", needed))
    for path in sorted(store.root.glob("*/.*.partial")) + sorted(store.root.glob("datasets/*/.*.partial")):
        name = str(path.relative_to(store.root))
        found.append(Artefact(PARTIAL, name, "left half written", path, *_measure(path), rows=()))
    return found


def sizes(store: Store, found: Sequence[Artefact]) -> dict[str, dict[str, int]]:
    """How many there are of each kind and how much room they take: `{"checkpoints": {"count": 2, "bytes": 81920}, …}`."""
    totals = {
        kind: {
            "count": sum(each.kind == kind for each in found),
            "bytes": sum(each.bytes for each in found if each.kind == kind),
        }
        for kind in REMOVABLE
    }
    for kind in kept_kinds(store):
        folders = [store.path(kind, name) for name in store.names(kind)]
        totals[kind] = {"count": len(folders), "bytes": sum(_measure(folder)[0] for folder in folders)}
    return totals


def kept_kinds(store: Store) -> tuple[str, ...]:
    """The kinds of artefacts that nothing removes: `KEPT`, and any other whose folder holds some, as a new stage's does."""
    folders = sorted(path.name for path in store.root.iterdir()) if store.root.is_dir() else []
    others = [name for name in folders if name not in (*REMOVABLE, *KEPT) and store.names(name)]
    return (*KEPT, *others)


def checked_kinds(store: Store) -> tuple[str, ...]:
    """The kinds of artefacts that carry checksums, but for the histories, which lie by data set."""
    return (*(kind for kind in REMOVABLE if kind not in (DATASETS, PARTIAL)), *kept_kinds(store))


def garbage(found: Sequence[Artefact], older_than: float, used: bool = False) -> list[Artefact]:
    """What is older than so many days and, unless `used`, was part of no row."""
    return [each for each in found if each.days >= older_than and (used or not each.rows)]


def choose(found: Sequence[Artefact], selectors: Sequence[str]) -> list[Artefact]:
    """The artefacts with these addresses, or beginnings of them that no other has.

    Raises:
        UsageError: a selector means none, or several.
    """
    chosen: dict[tuple[str, str], Artefact] = {}
    for selector in selectors:
        exact = [each for each in found if each.name == selector]
        meant = exact or [each for each in found if selector and each.name.startswith(selector)]
        if len(meant) != 1:
            words = ", ".join(f"{each.kind[:-1]} {each.name}" for each in meant[:4])
            raise UsageError(
                f"'{selector}' means {words}" if meant else f"nothing here has the address '{selector}'",
                "type more of the address" if meant else "`icrl-bench data list --all` lists what there is",
            )
        chosen[meant[0].kind, meant[0].name] = meant[0]
    return list(chosen.values())


def remove(store: Store, artefact: Artefact) -> None:
    """Removes an artefact; whoever makes it at this moment is waited for, but not long.

    Raises:
        BenchError: another process is making it.
    """
    if artefact.kind == PARTIAL:
        kind, _, name = artefact.name.rpartition("/")
        store.discard(kind, name)
        return
    with store.lock(artefact.kind, artefact.name.partition(".")[0], longest_wait=1.0):
        store.discard(artefact.kind, artefact.name)


def _needs(records: Iterable[RunRecord]) -> dict[tuple[str, str], list[str]]:
    """(kind, name) → ids of the runs that were made of it."""
    needed: dict[tuple[str, str], list[str]] = {}
    for record in records:
        source = record.config.get("source")
        content = source.get("content") if isinstance(source, dict) else None
        parts = [(DATASETS, record.dataset), (CHECKPOINTS, record.checkpoint), (ADAPTATIONS, record.run_id)]
        for part in [*parts, *([(imports.KIND, content)] if isinstance(content, str) else [])]:
            needed.setdefault(part, []).append(record.run_id)
    return needed


def _artefact(store: Store, kind: str, name: str, what: str, needed: dict[tuple[str, str], list[str]]) -> Artefact:
    path = store.path(kind, name)
    return Artefact(kind, name, what, path, *_measure(path), rows=tuple(needed.get((kind, name), ())))


def _what(store: Store, kind: str, name: str) -> str:
    try:
        about = store.manifest(kind, name)
    except DamagedArtefactError:
        return f"its {MANIFEST} is damaged"
    if kind == CHECKPOINTS:
        return f"{about.get('method', '?')} on {about.get('environment', '?')}, seed {about.get('seed', '?')}"
    if kind == ADAPTATIONS:
        return f"of checkpoint {about.get('checkpoint', '?')}"
    return f"{about.get('environment', '?')}, {len(about.get('histories', ()))} histories"


def _measure(path: Path) -> tuple[int, float]:
    """Bytes below a path, and when the newest of its files was written."""
    total, newest = 0, 0.0
    for file in [path] if path.is_file() else path.rglob("*"):
        try:
            status = file.stat()
        except OSError:  # removed meanwhile
            continue
        if file.is_file():
            total, newest = total + status.st_size, max(newest, status.st_mtime)
    return total, newest or time.time()
