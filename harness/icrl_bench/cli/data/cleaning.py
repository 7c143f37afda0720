"""`icrl-bench data rm | gc`: removes histories, checkpoints and adaptations; what a row needs, only when told twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from icrl_bench.cli.data.listing import print_artefacts
from icrl_bench.cli.data.selection import rows_of, size
from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace, home_folder

if TYPE_CHECKING:
    from icrl_bench.artefacts.store import Store
    from icrl_bench.artefacts.usage import Artefact


@takes_groups
def remove(
    addresses: Annotated[
        list[str], typer.Argument(metavar="ADDRESS…", help="Addresses as `data list --all` shows them, or beginnings.")
    ],
    place: LeaderboardPlace,
    force: Annotated[bool, typer.Option("--force", help="Also what rows of the leaderboard were made of.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Remove data sets, imported data, checkpoints or adaptations. Rows stay, and the run command makes them again."""
    from icrl_bench.artefacts.store import Store
    from icrl_bench.artefacts.usage import choose, find_artefacts
    from icrl_registry.errors import UsageError

    store = Store(home_folder(place.home))
    chosen = choose(find_artefacts(store, rows_of(place)), addresses)
    needed = [each for each in chosen if each.rows]
    if needed and not force:
        words = "; ".join(f"{each.kind} {each.name} is part of {_rows(each)}" for each in needed)
        raise UsageError(
            words, "--force removes it all the same: the rows stay, and rerunning or verifying them makes it again"
        )
    _remove(store, chosen, json_)


@takes_groups
def collect_garbage(
    place: LeaderboardPlace,
    older_than: Annotated[
        float, typer.Option("--older-than", metavar="DAYS", min=0, help="Only what was last written so long ago.")
    ] = 7.0,
    used: Annotated[
        bool, typer.Option("--used", help="Also what rows of the leaderboard were made of; the rows stay.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this, only say what would go.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Say what takes room and is part of no row of the leaderboard, and remove it with --yes.

    A run that is under way may still need what it collected: the week of --older-than is for that.
    """
    from icrl_bench.artefacts.store import Store
    from icrl_bench.artefacts.usage import find_artefacts, garbage

    store = Store(home_folder(place.home))
    found = find_artefacts(store, rows_of(place))
    chosen = garbage(found, older_than, used)
    if yes:
        _remove(store, chosen, json_)
        return
    total = sum(each.bytes for each in chosen)
    if json_:
        typer.echo(json.dumps({"would_remove": [each.document() for each in chosen], "bytes": total}))
        return
    if chosen:
        print_artefacts(chosen)
    typer.echo(f"\n{len(chosen)} of {len(found)} would go and free {size(total)}; nothing was removed yet")
    in_use = [each for each in chosen if each.rows]
    if in_use:
        typer.echo(f"{len(in_use)} of them are part of rows, which stay and can be made again")
    spared = [each for each in garbage(found, older_than, used=True) if each not in chosen]
    if spared:
        typer.echo(f"{size(sum(each.bytes for each in spared))} are part of rows and stay; --used takes them too")
    if chosen:
        typer.echo("add --yes to remove them")


def _remove(store: Store, chosen: Sequence[Artefact], as_json: bool) -> None:
    from icrl_bench.artefacts.usage import remove as remove_artefact
    from icrl_registry.errors import BenchError

    removed, busy = [], []
    for each in chosen:
        try:
            remove_artefact(store, each)
            removed.append(each)
        except BenchError as error:  # another process is making it: the others may go
            busy.append({"address": each.name, "why": error.message})
    freed = sum(each.bytes for each in removed)
    if as_json:
        typer.echo(json.dumps({"removed": [each.document() for each in removed], "bytes": freed, "busy": busy}))
        return
    for each in removed:
        part = f", part of {_rows(each)}, which stay" if each.rows else ""
        typer.echo(f"removed {each.kind} {each.name}: {each.what}, {size(each.bytes)}{part}")
    for left in busy:
        typer.echo(f"left {left['address']}: {left['why']}", err=True)
    typer.echo(f"{size(freed)} are free")


def _rows(artefact: Artefact) -> str:
    named = ", ".join(artefact.rows[:3])
    more = f" and {len(artefact.rows) - 3} more" if len(artefact.rows) > 3 else ""
    return f"{len(artefact.rows)} rows ({named}{more})" if len(artefact.rows) > 1 else f"row {named}"
