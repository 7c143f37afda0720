"""Claims and what the recorded rows say of them, in a terminal of any width: a block a claim."""

from __future__ import annotations

from collections.abc import Sequence

from icrl_leaderboards.analysis.claims.claim import Finding
from icrl_leaderboards.terminal.listing import block_lines
from icrl_leaderboards.wording.claims import evidence_in_words
from icrl_leaderboards.wording.text import visible

_LINES = ("claim", "verdict", "statement", "evidence", "rows by")


def print_findings(findings: Sequence[Finding], protocol: str) -> None:
    """Prints each claim with its verdict, what it states, what the rows say, and the command that makes them."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(f"claims under {visible(protocol)}", style="bold"), soft_wrap=True)
    for finding in findings:
        statements = "\n".join(dict.fromkeys(visible(each.statement) for each in finding.evidence))
        evidence = "\n".join(map(visible, evidence_in_words(finding)))
        head = visible(f"{finding.claim.id} {finding.claim.text}")
        cells = [head, visible(finding.verdict), statements, evidence, visible(finding.claim.command)]
        for index, line in enumerate(block_lines(_LINES, cells, console.width)):
            if index == 0:
                console.print(Text(line, style="bold"))  # prose, wrapped at its blanks
            else:
                console.print(Text(line), soft_wrap=True)
