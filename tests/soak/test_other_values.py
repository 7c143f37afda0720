"""In JSON by others, another kind of value in the place of each: null, a huge number, text, a list, an object.

`test_hostile_files.py` changes bytes, of which hardly one in a million makes a field null and leaves the rest well-formed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .ledgers.ledger import Ledger, Size
from .readers.ours import READERS, BenchError

HERE = Path(__file__).parent
CORPUS = HERE / "readers" / "corpus"
PUBLISHED = HERE.parents[1] / "leaderboards" / "published" / "smoke-v1"
FILES = {
    "published": [next(PUBLISHED.glob("reacher-goal-v1-task-blind-*.json"))],
    "manifest": [CORPUS / "manifest" / "plain.json"],
    "metadata": [CORPUS / "metadata" / f"{name}.json" for name in ("ours", "discrete", "specification")],
    "source": [CORPUS / "source" / "plain.json"],
}
VALUES: list[Any] = [None, 10**400, 7, -1, True, "", "text", "\ud800", [], [None], {}, {"a": None}]
LONGEST, DEEPEST = 3, 6  # elements of a list, and levels: the others are of the same kind
Place = tuple[str | int, ...]
WITHIN = "#"  # the document that a text holds


def places(document: Any, at: Place = ()) -> Iterator[Place]:
    """Where a document has values, the document itself among them."""
    yield at
    if len(at) == DEEPEST:
        return
    if isinstance(document, dict):
        for name, value in document.items():
            yield from places(value, (*at, name))
    elif isinstance(document, list):
        for index, value in enumerate(document[:LONGEST]):
            yield from places(value, (*at, index))
    elif isinstance(document, str) and document.startswith(("{", "[")):
        yield from places(json.loads(document), (*at, WITHIN))


def with_value(document: Any, at: Place, value: Any) -> Any:
    """A copy that has the value at this place."""
    if not at:
        return value
    first, *rest = at
    if first == WITHIN:
        return json.dumps(with_value(json.loads(document), tuple(rest), value))
    copy = document.copy()
    copy[first] = with_value(document[first], tuple(rest), value)
    return copy


def problem(reader: str, document: Any, folder: Path) -> str | None:
    """What a reader raises that is no error for users."""
    read, ending = READERS[reader]
    path = folder / f"input{ending}"
    path.write_text(json.dumps(document))
    try:
        read(path)
    except BenchError as error:
        return None if error.message else "an error without words"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize("reader", FILES)
def test_another_value_in_each_place(reader: str, size: Size, ledger: Ledger, tmp_path: Path):
    if reader == "metadata":
        pytest.importorskip("h5py")
    for path in FILES[reader]:
        document = json.loads(path.read_text())
        for at in places(document):
            for value in VALUES[: size.pick(2, 4, len(VALUES))]:
                what = f"{path.name}: {json.dumps(value)[:20]} at {'.'.join(map(str, at))}"
                ledger.note(what, problem(reader, with_value(document, at, value), tmp_path))
    ledger.settle()
