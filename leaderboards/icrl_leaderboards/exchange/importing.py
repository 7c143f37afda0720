"""Taking published runs into a leaderboard: each file is checked by itself, and one bad file keeps no other out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.exchange.document import checksums
from icrl_leaderboards.exchange.reading import PublishedRun, PublishedRunError, read_published
from icrl_leaderboards.runs.record import RunRecord

VERDICTS = ("imported", "replaced", "there already", "refused")
_BATCH = 100  # files a transaction


@dataclass(frozen=True)
class ImportResult:
    """What became of one file."""

    path: Path
    run_id: str | None  # None where the file has no readable run
    verdict: str  # one of `VERDICTS`
    detail: str = ""


def find_files(paths: Iterable[Path]) -> list[Path]:
    """The files named, and all `.json` files below the folders named, in order and each once."""
    found: dict[Path, None] = {}
    for path in paths:
        found |= dict.fromkeys(sorted(path.rglob("*.json")) if path.is_dir() else [path])
    return list(found)


def import_files(board: Leaderboard, files: Sequence[Path], replace: bool = False) -> Iterator[ImportResult]:
    """Checks and records each file's run, a batch a transaction.

    A run that is recorded already with equal episodes is left as it is. One with other episodes is refused, or takes the
    recorded one's place if `replace`.
    """
    remaining = iter(files)
    taken: dict[str, str] = {}  # run id → checksum of its episodes, of earlier files
    while batch := list(islice(remaining, _BATCH)):
        checked = [_check(path) for path in batch]
        ids = [each.record.run_id for each in checked if isinstance(each, PublishedRun)]
        known = {run.run_id: run for run in board.runs(run_ids=ids)} if ids else {}
        outcomes, accepted = [], {}
        for each in checked:
            outcome = each if isinstance(each, ImportResult) else _judge(each, known, taken, replace)
            outcomes.append(outcome)
            if isinstance(each, PublishedRun) and outcome.verdict in ("imported", "replaced"):
                accepted[each.record.run_id] = each.record
                taken[each.record.run_id] = _episodes(each.record)
        board.record_all(list(accepted.values()))
        yield from outcomes


def _check(path: Path) -> PublishedRun | ImportResult:
    try:
        published = read_published(path)
    except PublishedRunError as error:
        return ImportResult(path, None, "refused", error.message)
    wrong = [f"{name}: {words}" for name, words in published.mismatches().items() if words]
    return ImportResult(path, published.record.run_id, "refused", "; ".join(wrong)) if wrong else published


def _judge(published: PublishedRun, known: dict[str, RunRecord], taken: dict[str, str], replace: bool) -> ImportResult:
    run, path = published.record, published.path
    recorded = known.get(run.run_id)
    earlier = taken.get(run.run_id) or (_episodes(recorded) if recorded is not None else None)
    if earlier is None:
        return ImportResult(path, run.run_id, "imported")
    if earlier == _episodes(run):
        return ImportResult(path, run.run_id, "there already")
    if replace and run.run_id not in taken:
        return ImportResult(path, run.run_id, "replaced")
    where = "an earlier file holds" if run.run_id in taken else "the leaderboard holds"
    advice = "" if run.run_id in taken else "; --replace takes the file's"
    return ImportResult(path, run.run_id, "refused", f"{where} this run with other episodes{advice}")


def _episodes(run: RunRecord) -> str:
    return checksums(run)["episodes"]
