"""Findings in words: what a statement's evidence says, and all of it as Markdown for README and report."""

from __future__ import annotations

from collections.abc import Sequence

from icrl_leaderboards.analysis.claims.claim import Evidence, Finding

MARKS = {True: "holds", False: "fails", None: "undecided"}


def evidence_in_words(finding: Finding) -> list[str]:
    """`half-cheetah-vel-v1: +12.3 [4.5, 20.1], holds`, and whom it is about where not all of them say the same."""
    several = len({each.statement for each in finding.evidence}) > 1
    return [_in_words(each, several) for each in finding.evidence]


def _in_words(evidence: Evidence, several: bool) -> str:
    of = f"{evidence.environment}, {evidence.subject}" if several and evidence.subject else evidence.environment
    if evidence.value is None:
        return f"{of}: {evidence.missing}"
    interval = "" if evidence.low is None else f" [{_signed(evidence.low)}, {_signed(evidence.high or 0.0)}]"
    return f"{of}: {_signed(evidence.value)}{interval}, {MARKS[evidence.holds]}"


def findings_as_markdown(findings: Sequence[Finding], protocol: str) -> str:
    """A table with one row a claim; what was compared stands in the last column, the seeds with it."""
    lines = [
        f"| claim, under `{protocol}` | verdict | evidence, with 95 % intervals over seeds and tasks |",
        "|---|---|---|",
    ]
    for finding in findings:
        seeds = max((each.seeds for each in finding.evidence), default=0)
        of = f" ({seeds} seed{'' if seeds == 1 else 's'})" if seeds else ""
        lines.append(
            f"| {finding.claim.id} {finding.claim.text} | {finding.verdict} | {' · '.join(evidence_in_words(finding))}{of} |"
        )
    return "\n".join(lines) + "\n"


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")
