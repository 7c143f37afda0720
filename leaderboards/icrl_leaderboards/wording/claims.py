"""Findings in words: what a statement's evidence says, and all of it as Markdown for README and report."""

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


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")
