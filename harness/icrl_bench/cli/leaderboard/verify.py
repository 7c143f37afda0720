"""`icrl-bench leaderboard verify`: whether runs are what they claim to be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.options import JobsOption, JsonFlag, LeaderboardPlace, home_folder
from icrl_bench.machine.cores import usable_cores
from icrl_bench.machine.streams import stdout_for_the_result
from icrl_registry.errors import EXIT_VERIFICATION, BenchError, UsageError

if TYPE_CHECKING:
    from icrl_bench.artefacts.store import Store
    from icrl_bench.runs.verification import VerifiedPart, Verifier
    from icrl_leaderboards.runs.record import RunRecord

LONGEST_LISTING = 20  # of more runs than this, only those with something to say are printed


@dataclass
class Verified:
    """One run or file with what was found."""

    name: str
    checks: list[VerifiedPart]
    record: RunRecord | None = None
    rerun: dict[str, Any] | None = field(default=None)

    @property
    def status(self) -> str:
        """The worst of the checks: mismatch, skipped, ok."""
        found = {check.status for check in self.checks}
        return next(status for status in ("mismatch", "skipped", "ok") if status in found)

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints of it."""
        document = {
            "name": self.name,
            "run_id": self.record.run_id if self.record else None,
            "status": self.status,
            "checks": [asdict(check) for check in self.checks],
        }
        return document if self.rerun is None else {**document, "rerun": self.rerun}


@takes_groups
def verify(
    names: Annotated[
        list[str], typer.Argument(metavar="FILE|RUN…", help="Published files, folders of them, or recorded run ids.")
    ],
    *,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Adapt again from the checkpoint; without one, make the whole run again.")
    ] = False,
    protocol: Annotated[
        str | None, typer.Option("--protocol", "-p", help="A protocol file that the runs were made with.")
    ] = None,
    place: LeaderboardPlace,
    jobs: JobsOption = None,
    json_: JsonFlag = False,
) -> None:
    """Recompute every aggregate and checksum from the episodes, and splits, settings and run ids from the protocol.

    Exit code 5 if anything differs.
    """
    from icrl_bench.artefacts.store import Store
    from icrl_bench.runs.verification import Verifier

    store, verifier = Store(home_folder(place.home)), Verifier(protocol)
    results = []
    with stdout_for_the_result():  # what a plugin prints is no part of the result
        for result in _verify_all(names, store, verifier, place):
            if rerun and result.record is not None:
                _rerun(result, store, verifier, jobs, quiet=json_)
            results.append(result)
    counts = {status: sum(each.status == status for each in results) for status in ("ok", "skipped", "mismatch")}
    if json_:
        typer.echo(json.dumps({"runs": [each.as_json() for each in results], **counts}, allow_nan=False))
    else:
        _print(results, counts)
    if counts["mismatch"]:
        raise typer.Exit(EXIT_VERIFICATION)


def _verify_all(names: Sequence[str], store: Store, verifier: Verifier, place: LeaderboardPlace) -> Iterator[Verified]:
    from icrl_leaderboards.exchange.importing import find_files

    paths = [Path(name) for name in names if _is_path(name)]
    files = find_files(paths)
    if paths and not files:
        raise UsageError(f"no .json file below {', '.join(map(str, paths))}", "name files or folders of published runs")
    yield from (_verify_file(path, verifier) for path in files)
    ids = [name for name in names if not _is_path(name)]
    if not ids:
        return
    from icrl_bench.runs.verification import check_artefact

    with place.open() as board:
        for record in board.stream(board.find_runs(ids)):
            checks = [check_artefact(store, record), *verifier.checks(record)]
            yield Verified(record.run_id, checks, record)


def _is_path(name: str) -> bool:
    return name.endswith(".json") or "/" in name or Path(name).exists()


def _verify_file(path: Path, verifier: Verifier) -> Verified:
    from icrl_bench.runs.verification import MISMATCH, OK, VerifiedPart
    from icrl_leaderboards.exchange.reading import PublishedRunError, read_published

    try:
        published = read_published(path)
    except PublishedRunError as error:
        return Verified(str(path), [VerifiedPart("file", MISMATCH, error.message)])
    details = {
        "aggregates": "recomputed from the episodes",
        "checksums": "of the episodes and of the run",
        "form": "byte for byte as it was written",
    }
    checks = [
        VerifiedPart(name, MISMATCH, words) if words else VerifiedPart(name, OK, details[name])
        for name, words in published.mismatches().items()
    ]
    return Verified(str(path), [*checks, *verifier.checks(published.record)], published.record)


def _rerun(result: Verified, store: Store, verifier: Verifier, jobs: int | None, quiet: bool) -> None:
    """Adds what the rerun of a run says. A run that cannot be made again is no proof: that is a mismatch, in words."""
    from icrl_bench.machine.progress import Progress
    from icrl_bench.runs.reruns import RerunPlan, rerun
    from icrl_bench.runs.verification import MISMATCH, VerifiedPart
    from icrl_bench.stages.stage import Context

    record = result.record
    assert record is not None
    plan = verifier.plan(record)
    if isinstance(plan, VerifiedPart):
        result.checks.append(VerifiedPart("rerun", MISMATCH, f"there is no plan to run: {plan.detail}"))
        return
    try:
        planned = RerunPlan(store, plan, record)
        with Progress(planned.names, quiet=quiet) as progress:
            checks, compared = rerun(planned, Context(store, progress, jobs or usable_cores()))
    except BenchError as error:
        result.checks.append(VerifiedPart("rerun", MISMATCH, error.message))
        return
    result.checks += checks
    result.rerun = compared.as_json()


def _print(results: Sequence[Verified], counts: dict[str, int]) -> None:
    from icrl_leaderboards.wording.text import shorten, visible

    for result in results:
        if len(results) > LONGEST_LISTING and result.status == "ok":
            continue
        typer.echo(visible(result.name))
        for check in result.checks:
            typer.echo(f"  {check.status:<8}  {check.name:<10}  {shorten(check.detail, 300)}")
    words = {"ok": "as they claim", "skipped": "with checks left out", "mismatch": "that differ"}
    typer.echo(", ".join(f"{number:,} {words[status]}" for status, number in counts.items() if number))
