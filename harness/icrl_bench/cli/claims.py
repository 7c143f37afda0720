"""`icrl-bench claims`: what papers and plugins say of methods, held to the leaderboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli import completion
from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace
from icrl_registry.errors import UsageError

if TYPE_CHECKING:
    from icrl_leaderboards.analysis.claims import Finding


@takes_groups
def claims(
    place: LeaderboardPlace,
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            "-p",
            help="Rows of which protocol: an id, or laptop for the newest.",
            autocompletion=completion.protocols,
        ),
    ] = "laptop",
    speed: Annotated[
        Path | None,
        typer.Option("--speed", help="backbones.json of `icrl-bench bench backbones --out DIR`.", dir_okay=False),
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="table or markdown.")] = "table",
    json_: JsonFlag = False,
) -> None:
    """Hold the seed paper's claims, and those of plugins, to the recorded rows: reproduced, contradicted or undecided."""
    from icrl_bench.planning import control_label
    from icrl_leaderboards.analysis.claims import PAPER_CLAIMS
    from icrl_leaderboards.analysis.claims.controls import control_claim
    from icrl_leaderboards.analysis.claims.speed import speed_claim
    from icrl_leaderboards.terminal.findings import print_findings
    from icrl_leaderboards.wording.claims import findings_as_markdown
    from icrl_registry.protocols.loading import list_protocols, load_protocol

    if format_ not in ("table", "markdown"):
        raise UsageError(f"unknown format '{format_}'", "table or markdown")
    with place.open() as board:
        known = set(board.names("protocol"))
        chosen = protocol if protocol in known or protocol in list_protocols() else load_protocol(protocol).id
        runs, shuffled = board.scores(protocol=chosen), board.scores(protocol=control_label(chosen))
        location = board.place
    controls = [control_claim(shuffled)] if shuffled else []
    findings = [claim.judge(runs) for claim in (*PAPER_CLAIMS, speed_claim(speed), *controls, *_of_plugins())]
    if json_:
        document = {"leaderboard": location, "protocol": chosen, "claims": [each.as_json() for each in findings]}
        typer.echo(json.dumps(document, allow_nan=False))
    elif format_ == "markdown":
        typer.echo(findings_as_markdown(findings, chosen), nl=False)
    else:
        print_findings(findings, chosen)
        typer.echo(_counts(findings))


def _counts(findings: list[Finding]) -> str:
    verdicts = [finding.verdict for finding in findings]
    return ", ".join(f"{verdicts.count(name)} {name}" for name in ("reproduced", "contradicted", "undecided"))


def _of_plugins() -> list[Any]:
    from icrl_registry.hooks import HookManager

    return HookManager().claims()
