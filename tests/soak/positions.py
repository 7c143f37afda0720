"""What each byte of a file is for, so that a campaign can change a byte of every class and not the same class a thousand times.

A class is a field of the format: in JSON the name, the string, the number of one member; in safetensors the length, each part
of the header, the numbers of one tensor (huggingface/safetensors, "Format"); in SQLite each field of the header, and of each
kind of page its header, its cell pointers, its unused room and its cells; in its log each field of the header and of a frame
("Database File Format", "WAL-mode File Format").
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator

import numpy as np

Label = Hashable

_TOKENS = re.compile(
    rb'(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>-?[0-9][0-9.eE+-]*)|(?P<word>[a-zA-Z]+)|(?P<blank>\s+)|(?P<mark>.)'
)
#: Of SQLite's header: where each field ends.
_HEADER = (16, 18, 19, 20, 21, 22, 23, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 72, 92, 96, 100)
_PAGES = {2: "inner index", 5: "inner table", 10: "index", 13: "table"}


def classes(content: bytes, name: str) -> dict[Label, list[int]]:
    """The positions of a file's bytes by class; `name` is the file's."""
    if name.endswith(".json"):
        labels = _json(content)
    elif name.endswith(".safetensors"):
        labels = _safetensors(content)
    elif name.endswith(".sqlite"):
        labels = _sqlite(content)
    elif name.endswith("-wal"):
        labels = _log(content)
    else:
        labels = iter([(bytes([byte]).isdigit(), byte < 33) for byte in content])
    found: dict[Label, list[int]] = defaultdict(list)
    for position, label in enumerate(labels):
        found[label].append(position)
    return found


def one_of_each_class(content: bytes, name: str, generator: np.random.Generator) -> list[int]:
    """Positions in the file, one of every class, drawn."""
    return sorted(int(generator.choice(members)) for members in classes(content, name).values())


def _json(content: bytes) -> Iterator[Label]:
    """Of each byte the member of the outermost object that it belongs to, and what it is there."""
    depth, member = 0, b""
    for token in _TOKENS.finditer(content):
        kind, text = str(token.lastgroup), token.group()
        is_name = kind == "string" and content[token.end() :].lstrip()[:1] == b":"
        if kind == "mark":
            depth += (text in b"[{") - (text in b"]}")
        if is_name and depth == 1:
            member = text
        label = (kind,) if kind in ("blank", "mark") else (member, "name" if is_name else kind)
        yield from [label] * len(text)


def _safetensors(content: bytes) -> Iterator[Label]:
    import json

    end = 8 + int.from_bytes(content[:8], "little")
    yield from ["length"] * 8
    for label in _json(content[8:end]):
        yield ("header", label)
    places = {
        name: entry["data_offsets"] for name, entry in json.loads(content[8:end]).items() if name != "__metadata__"
    }
    numbers: list[Label] = ["gap"] * (len(content) - end)
    for name, (start, stop) in places.items():
        numbers[start:stop] = [("numbers", name)] * (stop - start)
    yield from numbers


def _sqlite(content: bytes) -> Iterator[Label]:
    size = int.from_bytes(content[16:18], "big")
    start = 0
    for end in _HEADER:
        yield from [("header", end)] * (end - start)
        start = end
    for page in range(0, len(content), size):
        yield from list(_page(content[page : page + size], 100 if page == 0 else 0))[100 if page == 0 else 0 :]


def _page(page: bytes, start: int) -> Iterator[Label]:
    """One page of a database; its own header begins at `start`."""
    kind = _PAGES.get(page[start] if len(page) > start else 0, "overflow")
    if kind == "overflow":
        yield from [(kind, position < 4) for position in range(len(page))]
        return
    cells, contents = (int.from_bytes(page[start + at : start + at + 2], "big") for at in (3, 5))
    header = start + (12 if kind.startswith("inner") else 8)
    pointers = header + 2 * cells
    yield from [(kind, "before")] * start
    yield from [(kind, "header", position) for position in range(header - start)]
    yield from [(kind, "pointers")] * (pointers - header)
    yield from [(kind, "unused")] * (contents - pointers)
    yield from [(kind, "cells")] * (len(page) - max(contents, pointers))


def _log(content: bytes) -> Iterator[Label]:
    size = int.from_bytes(content[8:12], "big")
    yield from [("log", position // 4) for position in range(32)]
    for frame in range(32, len(content), 24 + size):
        number = content[frame : frame + 4]
        yield from [("frame", position // 4) for position in range(24)]
        page = content[frame + 24 : frame + 24 + size]
        yield from [
            ("page", number == b"\0\0\0\1", *label[:2]) for label in _page(page, 100 if number == b"\0\0\0\1" else 0)
        ]
