"""How long a plan will take, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_UNITS = ((1.0, "s"), (60.0, "min"), (3600.0, "h"))


def about(seconds: float | None) -> str:
    """`about 12 min`, to two digits, which is more than is known; nothing where nothing is left to do."""
    if seconds is None:
        return "of unknown length"
    if seconds == 0:
        return ""
    return f"about {_rounded(seconds)}" if seconds >= 1 else "a moment"


def total_lines(total: Mapping[str, Any]) -> list[str]:
    """What `Total.as_json` says, a line for each: the sum, its parts, what is not known, and what it rests on."""
    if not total["seconds"] and not total["unknown"]:
        return ["nothing is left to do"]
    parts = [f"{kind} {about(seconds).removeprefix('about ')}" for kind, seconds in total["by_kind"].items()]
    lines = [about(total["seconds"]) if not total["unknown"] else _at_least(total["seconds"])]
    if len(parts) > 1:
        lines.append(", ".join(parts))
    if total["unknown"]:
        lines.append(f"of unknown length: {', '.join(total['unknown'])}")
    return [*lines, *(f"by {basis}" for basis in total["basis"])]


def _at_least(seconds: float) -> str:
    return f"at least {_rounded(seconds)}" if seconds >= 1 else "not known"


def _rounded(seconds: float) -> str:
    size, unit = next(((size, unit) for size, unit in reversed(_UNITS) if seconds >= 1.5 * size), _UNITS[0])
    return f"{float(f'{seconds / size:.2g}'):,g} {unit}"
