"""A file is replaced whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from icrl_registry.files import replace_file


def test_what_was_there_is_replaced(tmp_path):
    path = tmp_path / "a?b%2F.json"
    for content in (b"first, and longer", b"second"):
        replace_file(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_on_a_full_disk_the_old_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_bytes(b"old")

    def half(self: Path, content: bytes) -> int:
        self.open("wb").write(content[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
