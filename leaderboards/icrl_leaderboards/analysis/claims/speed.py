"""The seed paper's claim on cost, held to a table of `icrl-bench bench backbones`: Mamba is linear in the context."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from icrl_leaderboards.analysis.claims.claim import Claim, Evidence
from icrl_leaderboards.runs.scores import RunScores
from icrl_registry.errors import UsageError

QUANTITY = "training, one pass"
SOURCE = "Beaussant and Mounsif 2025, arXiv 2506.13892"


class GrowthExponent(NamedTuple):
    """The exponent with which time grows with the context, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def speed_claim(table: Path | None) -> Claim:
    """C8, judged by the growth exponents in `backbones.json`: time ∝ context^exponent, each with its 95 % interval.

    Raises:
        UsageError: the file can't be read as such a table.
    """
    growths = _growths(table) if table is not None else {}

    def gather(runs: Sequence[RunScores]) -> list[Evidence]:
        return [_grows(growths, "mamba", linear=True), _grows(growths, "dt", linear=False)]

    text = "A pass of Mamba takes time linear in the context, one of the decision transformer more than that"
    return Claim("C8", text, SOURCE, gather, "icrl-bench bench backbones --out DIR")


def _growths(table: Path) -> dict[str, GrowthExponent]:
    try:
        document = json.loads(table.read_text(encoding="utf-8"))
        found = [growth for growth in document["growths"] if growth["quantity"] == QUANTITY]
        return {
            growth["subject"]: GrowthExponent(float(growth["exponent"]), *map(float, growth["interval"]))
            for growth in found
        }
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UsageError(
            f"cannot read {table} as a table of `bench backbones`: {error}",
            "make one: icrl-bench bench backbones --out DIR, and give DIR/backbones.json",
        ) from error


def _grows(growths: Mapping[str, GrowthExponent], backbone: str, linear: bool) -> Evidence:
    """Linear where the interval ends at 1.1 or below, more than linear where it begins above 1.1."""
    statement = f"time of a pass ∝ context^x, x {'at most' if linear else 'above'} 1.1"
    where = f"{backbone}, {QUANTITY}"
    if backbone not in growths:
        return Evidence(where, statement, None, missing="not measured: give --speed FILE")
    exponent, low, high = growths[backbone]
    is_linear = True if high <= 1.1 else False if low > 1.1 else None
    holds = is_linear if linear or is_linear is None else not is_linear
    return Evidence(where, statement, holds, exponent, low, high)
