"""The JSON schema of published files, generated from `RunRecord`. `python -m icrl_leaderboards.exchange.schema` writes it.

The schemas lie beside this module as files, one a form, for readers without this package; a test holds them current. Form 1
has the fields that every run has; later forms may have the optional ones that they brought, and those before, besides.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from icrl_leaderboards.exchange.aggregates import MEASURES
from icrl_leaderboards.exchange.document import FIELDS, FORMAT, VERSIONS, form_of, schema_file
from icrl_leaderboards.runs.record import OPTIONAL, RunHead, RunRecord

_DESCRIPTION = (
    "Written by `icrl-bench leaderboard submit`, checked by `icrl-bench leaderboard verify`. All rows have one length per "
    "matrix; every array per test task has as many entries as `returns` has rows."
)
_EPISODES = (
    "Of the text `K E` and a line feed, then the returns as little-endian float64 and the lengths as little-endian int32, "
    "row by row."
)
_DIGEST = "^[0-9a-f]{64}$"


def json_schema(version: int) -> dict[str, Any]:
    """The schema (draft 2020-12) of the published form `version`."""
    record = TypeAdapter(RunRecord).json_schema()
    record["properties"] |= {name: _known(record["properties"][name]) for name in OPTIONAL}
    run: dict[str, Any] = _tidy(record)
    uses = run.pop("$defs")["PluginUse"]
    run["properties"] |= _tidy(TypeAdapter(RunHead).json_schema())["properties"]  # with what its docstrings say
    run["properties"]["plugins"]["items"] = uses
    run["properties"] = {name: each for name, each in run["properties"].items() if version >= form_of(name)}
    run["required"] = sorted(set(run["properties"]) - OPTIONAL)  # a file has what a constructor may fill in
    measure = {
        "mean": {"type": ["number", "null"]},
        "tasks": {"type": "array", "minItems": 1, "items": {"type": ["number", "null"]}},
    }
    digests = {
        "episodes": {"description": _EPISODES, "type": "string", "pattern": _DIGEST},
        "run": {
            "description": "Of `run` as JSON with sorted keys, without spaces, in ASCII.",
            "type": "string",
            "pattern": _DIGEST,
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"icrl-bench: one published run, form {version}",
        "description": _DESCRIPTION,
        **_object(
            {
                "format": {"const": FORMAT},
                "version": {"const": version},
                "run": run,
                "aggregates": {
                    "description": "Recomputed from the episodes by whoever reads the file.",
                    **_object({name: {"$ref": "#/$defs/measure"} for name in MEASURES}),
                },
                "sha256": _object(digests),
            },
            FIELDS,
        ),
        "$defs": {"measure": _object(measure)},
    }


def schema_text(version: int) -> str:
    """The schema as its file has it."""
    return json.dumps(json_schema(version), indent=1, ensure_ascii=False) + "\n"


def _object(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    names = sorted(required or properties)
    return {"type": "object", "additionalProperties": False, "required": names, "properties": properties}


def _known(schema: dict[str, Any]) -> dict[str, Any]:
    """An optional field is left out where it is not known, so that null is not one of its values."""
    (known,) = [each for each in schema["anyOf"] if each != {"type": "null"}]
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **known}


def _tidy(schema: Any) -> Any:
    """Without pydantic's titles and defaults; a choice of plain types is a list of their names."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: value for name, value in schema.items() if not (name == "title" and isinstance(value, str))}
    plain = {name: _tidy(value) for name, value in plain.items() if name != "default"}
    if plain.get("type") == "object" and plain.get("additionalProperties") is True:
        del plain["additionalProperties"]
    if "anyOf" in plain and all(list(each) == ["type"] for each in plain["anyOf"]):
        plain["type"] = [each["type"] for each in plain.pop("anyOf")]
    if "properties" in plain:
        plain.pop("description", None)  # the class's docstring is for Python
    return plain


if __name__ == "__main__":
    for number in VERSIONS:
        (Path(__file__).parent / schema_file(number)).write_text(schema_text(number), encoding="utf-8")
