"""`icrl-bench leaderboard export | submit | import`: results on their way to other tools and other people."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from icrl_bench.cli.agents.selection import find_record
from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.leaderboard.selection import Filters
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace
from icrl_registry.errors import EXIT_VERIFICATION, BenchError, UsageError

if TYPE_CHECKING:
    from icrl_leaderboards.exchange.importing import ImportResult
    from icrl_leaderboards.runs.certificates import Certificate
    from icrl_leaderboards.runs.record import RunRecord

PUBLISHED = Path("leaderboards") / "published"
Files = Annotated[list[Path], typer.Argument(metavar="FILE…", help="Published runs, or folders of them.")]


@takes_groups
def export(
    *,
    format_: Annotated[
        str | None, typer.Option("--format", "-f", help="json, csv or parquet.  [default: as --out ends; csv]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file to write.  [default: standard output]", dir_okay=False)
    ] = None,
    filters: Filters,
    place: LeaderboardPlace,
    json_: JsonFlag = False,
) -> None:
    """Write every recorded episode as one row of a table: JSON, CSV or Parquet."""
    chosen = _format(format_, out, json_)
    with filters.open(place) as board:
        ids = board.run_ids(**filters.chosen)
        if out is None:
            _write_text(chosen, board.stream(ids), sys.stdout)
            return
        episodes = _write_file(chosen, board.stream(ids), out)
    if json_:
        typer.echo(json.dumps({"path": str(out), "format": chosen, "runs": len(ids), "episodes": episodes}))
    else:
        typer.echo(f"wrote {out}: {episodes:,} episodes of {len(ids):,} runs")


@takes_groups
def submit(
    *,
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN…]", help="Run ids, or beginnings of them, or latest; or give filters."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of published runs.", file_okay=False)] = PUBLISHED,
    filters: Filters,
    place: LeaderboardPlace,
    json_: JsonFlag = False,
) -> None:
    """Write runs as files that others can import and verify: one canonical JSON file a run, the same bytes each time."""
    if bool(runs) == any(filters.chosen.values()):
        hint = "`icrl-bench leaderboard submit RUN…`, or --env, --method, --protocol, --track"
        raise UsageError("name the runs to publish, or choose them by filters", hint)
    names = [find_record(place, name).run_id if name == "latest" else name for name in runs or ()]
    with filters.open(place) as board:
        ids = board.find_runs(names) if runs else board.run_ids(**filters.chosen)
        written, tables = [], set()
        for run in board.stream(list(dict.fromkeys(ids))):
            written.append(_publish(run, out))
            tables.add((run.environment, run.protocol))
        certificates = board.certificates()
        written += [_publish_certificate(certificates[table], out) for table in sorted(tables & set(certificates))]
    if json_:
        typer.echo(json.dumps({"paths": [str(path) for path, _ in written]}))
        return
    for path, verdict in written:
        typer.echo(f"{verdict} {path}")
    typer.echo("\nCheck them with `icrl-bench leaderboard verify`, then commit and open a pull request.", err=True)


@takes_groups
def import_(
    files: Files,
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let a file take the place of a recorded run with other episodes.")
    ] = False,
    place: LeaderboardPlace,
    json_: JsonFlag = False,
) -> None:
    """Check published runs and record them. Exit code 5 if a file was refused; the others are recorded all the same."""
    from icrl_leaderboards.exchange.certificates import ENDING, find_certificates, read_certificate
    from icrl_leaderboards.exchange.importing import find_files, import_files

    certificates = [read_certificate(path) for path in find_certificates(files)]
    found = find_files([path for path in files if path.suffix != ENDING])
    if not found and not certificates:
        raise UsageError(f"no .json file below {', '.join(map(str, files))}", "name files or folders of published runs")
    with place.open() as board:
        outcomes = list(import_files(board, found, replace))
        for certificate in certificates:
            board.record_certificate(certificate)
        location = board.place
    if json_:
        rows = [{**vars(outcome), "path": str(outcome.path)} for outcome in outcomes]
        typer.echo(json.dumps({"leaderboard": location, "files": rows, **_counts(outcomes)}))
    else:
        _print_outcomes(outcomes, location)
    if any(outcome.verdict == "refused" for outcome in outcomes):
        raise typer.Exit(EXIT_VERIFICATION)


# --- Export ------------------------------------------------------------------------------------------------------------


def _format(format_: str | None, out: Path | None, as_json: bool) -> str:
    from icrl_leaderboards.exchange.exporting import FORMATS

    ending = out.suffix.lstrip(".").lower() if out is not None else ""
    chosen = format_ or (ending if ending in FORMATS else "json" if as_json and out is None else "csv")
    if chosen not in FORMATS:
        raise UsageError(f"unknown format '{chosen}'", ", ".join(FORMATS))
    if out is None and chosen == "parquet":
        raise UsageError("Parquet is not for standard output", "add --out FILE.parquet")
    if out is None and as_json and chosen != "json":
        raise UsageError(f"--json and --format {chosen} contradict each other on standard output", "add --out FILE")
    return chosen


def _write_text(chosen: str, runs: Iterable[RunRecord], handle: IO[str]) -> int:
    from icrl_leaderboards.exchange.exporting import write_csv, write_json

    return (write_json if chosen == "json" else write_csv)(runs, handle)


def _write_file(chosen: str, runs: Iterable[RunRecord], out: Path) -> int:
    """Writes beside the file and renames, so that an interrupted export leaves an older one as it was."""
    from icrl_leaderboards.exchange.exporting import write_parquet

    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if chosen == "parquet":
            episodes = write_parquet(runs, partial)
        else:
            with partial.open("w", encoding="utf-8", newline="") as handle:
                episodes = _write_text(chosen, runs, handle)
        partial.replace(out)
    except OSError as error:
        raise BenchError(
            f"cannot write {out}: {error.strerror}", "give --out a file in a folder that is yours"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return episodes


# --- Submit and import -------------------------------------------------------------------------------------------------


def _publish(run: RunRecord, folder: Path) -> tuple[Path, str]:
    """Writes a run's file; says whether it is new, was there with these bytes, or had others."""
    from icrl_leaderboards.exchange.document import file_name, to_bytes

    return _write_published(folder / file_name(run), to_bytes(run))


def _publish_certificate(certificate: Certificate, folder: Path) -> tuple[Path, str]:
    from icrl_leaderboards.exchange.certificates import certificate_bytes, certificate_file

    return _write_published(folder / certificate_file(certificate), certificate_bytes(certificate))


def _write_published(path: Path, data: bytes) -> tuple[Path, str]:
    from icrl_bench.artefacts.store import write_file

    before = path.read_bytes() if path.is_file() else None
    if before == data:
        return path, "unchanged"
    write_file(path, data)
    return path, "wrote" if before is None else "rewrote"


def _counts(outcomes: Sequence[ImportResult]) -> dict[str, int]:
    from icrl_leaderboards.exchange.importing import VERDICTS

    counted = Counter(outcome.verdict for outcome in outcomes)
    return {verdict.replace(" ", "_"): counted[verdict] for verdict in VERDICTS}


def _print_outcomes(outcomes: Sequence[ImportResult], place: str) -> None:
    from icrl_leaderboards.wording.text import visible

    for outcome in outcomes:
        if outcome.verdict != "imported":
            words = outcome.detail if str(outcome.path) in outcome.detail else f"{outcome.path}: {outcome.detail}"
            typer.echo(visible(f"{outcome.verdict}  {words}".removesuffix(": ")))
    counts = ", ".join(
        f"{number:,} {verdict.replace('_', ' ')}" for verdict, number in _counts(outcomes).items() if number
    )
    typer.echo(f"{counts} [{place}]")
