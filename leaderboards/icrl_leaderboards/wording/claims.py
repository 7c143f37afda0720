"""Findings in words: a table for the terminal, and the same as Markdown for README and report."""

from __future__ import annotations

from collections.abc import Sequence

from icrl_leaderboards.analysis.claims.claim import Evidence, Finding

MARKS = {True: "holds", False: "fails", None: "undecided"}


def evidence_in_words(evidence: Evidence) -> str:
    """`half-cheetah-vel-v1: +12.3 [4.5, 20.1], holds`."""
    if evidence.value is None:
        return f"{evidence.environment}: {evidence.missing}"
    interval = "" if evidence.low is None else f" [{_signed(evidence.low)}, {_signed(evidence.high or 0.0)}]"
    return f"{evidence.environment}: {_signed(evidence.value)}{interval}, {MARKS[evidence.holds]}"


def findings_as_markdown(findings: Sequence[Finding], protocol: str) -> str:
    """A table with one row a claim; what was compared stands in the last column, the seeds with it."""
    lines = [
        f"| claim, under `{protocol}` | verdict | evidence, with 95 % intervals over seeds and tasks |",
        "|---|---|---|",
    ]
    for finding in findings:
        seeds = max((each.seeds for each in finding.evidence), default=0)
        parts = [f"{evidence_in_words(each)}" for each in finding.evidence]
        of = f" ({seeds} seed{'' if seeds == 1 else 's'})" if seeds else ""
        lines.append(f"| {finding.claim.id} {finding.claim.text} | {finding.verdict} | {' · '.join(parts)}{of} |")
    return "\n".join(lines) + "\n"


def print_findings(findings: Sequence[Finding], protocol: str) -> None:
    """The claims as a table, each statement a line, and what makes the missing rows."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        "claim", "verdict", "statement", "evidence", title=f"claims under {escape(protocol)}", show_lines=True
    )
    for finding in findings:
        statements = "\n".join(dict.fromkeys(each.statement for each in finding.evidence))
        words = "\n".join(evidence_in_words(each) for each in finding.evidence)
        head = f"{finding.claim.id} {finding.claim.text}\n{finding.claim.command}"
        table.add_row(escape(head), finding.verdict, escape(statements), escape(words))
    Console().print(table)


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")
