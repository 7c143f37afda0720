"""Artefacts: whole or absent, named when damaged, made by one process at a time, addressed by what determines them."""

from __future__ import annotations

import copy
import errno
import fcntl
import json
import multiprocessing
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icrl_bench.artefacts import store as store_module
from icrl_bench.artefacts.store import MANIFEST, PLACE, SEAL, Store, address_of, default_home, write_file
from icrl_registry.errors import BenchError, DamagedArtefactError

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)
busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
documents = st.dictionaries(st.text(max_size=8), json_values, min_size=1, max_size=5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def write(store: Store, content: bytes = b"0123456789", **about: Any) -> Path:
    with store.write("things", "a", about) as folder:
        (folder / "data").write_bytes(content)
        (folder / "more").write_bytes(b"more")
    return store.path("things", "a")


def test_an_artefact_is_there_once_it_is_written(store: Store):
    with store.write("things", "a", {"seed": 3}) as folder:
        (folder / "data").write_bytes(b"x")
        assert not store.exists("things", "a")
        assert store.names("things") == []
    assert store.exists("things", "a")
    assert store.names("things") == ["a"]
    assert store.manifest("things", "a")["seed"] == 3
    assert store.problems("things", "a") == []
    assert sorted(path.name for path in store.path("things", "a").iterdir()) == ["data", MANIFEST]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_an_exception_while_writing_leaves_nothing(store: Store, error: BaseException):
    def fail() -> None:
        with store.write("things", "a", {}) as folder:
            (folder / "data").write_bytes(b"x")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert not store.exists("things", "a")
    assert list((store.root / "things").iterdir()) == []


def test_what_a_killed_process_left_is_replaced(store: Store):
    partial = store.root / "things" / ".a.partial"
    partial.mkdir(parents=True)
    (partial / "leftover").write_bytes(b"half")
    assert store.names("things") == []
    path = write(store)
    assert not partial.exists()
    assert not (path / "leftover").exists()


def test_writing_again_replaces(store: Store):
    write(store, b"old")
    path = write(store, b"new")
    assert (path / "data").read_bytes() == b"new"
    assert store.problems("things", "a") == []


def test_a_manifest_that_cannot_be_written_leaves_nothing(store: Store):
    with pytest.raises(ValueError, match="JSON"):
        write(store, score=float("nan"))
    assert not store.exists("things", "a")
    assert list((store.root / "things").iterdir()) == []


@pytest.mark.parametrize("file", ["data", "more", MANIFEST])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_flipped_bit_is_named(store: Store, file: str, place: str):
    path = write(store, score=1.25) / file
    content = bytearray(path.read_bytes())
    position = {"first": 0, "middle": len(content) // 2, "last": len(content) - 2}[place]
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedArtefactError, match=str(path)) as caught:
        store.check("things", "a")
    assert "data verify --discard-damaged" in caught.value.hint


def test_every_changed_byte_of_a_manifest_is_noticed(store: Store):
    """In the name of its own checksum too: without one it must not pass for a manifest of the time before there were any."""
    path = write(store, score=1.25) / MANIFEST
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in (0x01, 0x20):
            changed = bytearray(whole)
            changed[position] ^= bit
            path.write_bytes(changed)
            try:
                says_the_same = json.loads(changed) == json.loads(whole)
            except ValueError:
                says_the_same = False
            assert says_the_same == (store.problems("things", "a") == []), bytes(changed)


def test_a_manifest_of_before_there_were_checksums_and_places_is_taken_as_it_is(store: Store):
    path = write(store, score=1.25) / MANIFEST
    about = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in about.items() if key not in (SEAL, PLACE)}))
    assert store.manifest("things", "a")["score"] == 1.25


def test_a_changed_number_in_the_manifest_is_noticed(store: Store):
    path = write(store, score=1.25) / MANIFEST
    path.write_text(path.read_text().replace("1.25", "1.35"))
    with pytest.raises(DamagedArtefactError, match="differs from its checksum"):
        store.manifest("things", "a")


def test_a_missing_file_is_named(store: Store):
    path = write(store)
    (path / "more").unlink()
    assert store.problems("things", "a") == [f"{path / 'more'} is missing"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[1]", b"null", b"{}", b'{"files": 3}', b"\xff\xfe"])
def test_an_unreadable_manifest_is_named(store: Store, content: bytes):
    path = write(store) / MANIFEST
    path.write_bytes(content)
    with pytest.raises(DamagedArtefactError, match=str(path)):
        store.check("things", "a")


def test_without_its_manifest_an_artefact_is_not_there(store: Store):
    (write(store) / MANIFEST).unlink()
    assert not store.exists("things", "a")
    with pytest.raises(DamagedArtefactError):
        store.manifest("things", "a")
    write(store)
    assert store.problems("things", "a") == []


def test_discarding(store: Store):
    write(store)
    store.discard("things", "a")
    assert not store.path("things", "a").exists()
    store.discard("things", "a")
    write_file(store.path("progress", "b"), b"x")
    store.discard("progress", "b")
    assert not store.path("progress", "b").exists()


@pytest.mark.parametrize(
    ("number", "words", "hint"),
    [
        (errno.ENOSPC, "the disk is full", "free some space"),
        (errno.EDQUOT, "the disk is full", "free some space"),
        (errno.EACCES, "no permission", "--home"),
        (errno.EROFS, "no permission", "--home"),
        (errno.EIO, "cannot write", "--home"),
    ],
)
@pytest.mark.parametrize("when", ["mkdir", "fsync", "rename"])
def test_disk_errors_come_with_a_hint(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int, words: str, hint: str, when: str
):
    def fail(*arguments: Any, **keywords: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(
            *{"mkdir": (Path, "mkdir"), "fsync": (store_module, "_sync"), "rename": (Path, "rename")}[when], fail
        )
        with pytest.raises(BenchError, match=words) as caught:
            write(store)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 1
    assert not store.exists("things", "a")
    assert not (store.root / "things").exists() or list((store.root / "things").iterdir()) == []
    write(store)


def test_a_full_disk_inside_the_writer_is_named(store: Store):
    with pytest.raises(BenchError, match="the disk is full"), store.write("things", "a", {}):
        raise OSError(errno.ENOSPC, "full")


def test_a_home_below_a_file_is_refused_in_words(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BenchError, match="cannot write"):
        write(Store(tmp_path / "file" / "home"))


def test_write_file_replaces_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "deep" / "file"
    write_file(path, b"old")
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(BenchError, match="the disk is full"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"


def _hold(root: Path, seconds: float, log: Path) -> None:
    with Store(root).lock("things", "a"):
        with log.open("a") as handle:
            handle.write("in\n")
        time.sleep(seconds)
        with log.open("a") as handle:
            handle.write("out\n")


def test_the_lock_lets_one_process_in(store: Store, tmp_path: Path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_hold, args=(store.root, 0.2, log)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert log.read_text().split() == ["in", "out"] * 3


@pytest.fixture
def holder(store: Store, tmp_path: Path) -> Iterator[Any]:
    """Another process that holds the lock of things/a."""
    log = tmp_path / "log"
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(store.root, 600, log))
    process.start()
    while not log.exists():
        time.sleep(0.01)
    yield process
    process.kill()
    process.join(60)


def test_a_killed_holder_frees_the_lock_and_who_waits_is_told(store: Store, holder: Any):
    told: list[str] = []

    def on_wait(text: str) -> None:
        told.append(text)
        holder.kill()

    with store.lock("things", "a", on_wait):
        pass
    assert re.fullmatch(rf"waiting for process {holder.pid} on \S+, since \S+, that is making things/a", *told)


def test_a_free_lock_is_silent(store: Store):
    told: list[str] = []
    with store.lock("things", "a", told.append), store.lock("things", "b", told.append):
        assert told == []


def test_who_waits_too_long_gives_up_and_names_the_holder(store: Store, holder: Any):
    expected = rf"waited 1 s for process {holder.pid} on .* making things/a"
    with pytest.raises(BenchError, match=expected), store.lock("things", "a", longest_wait=1.0):
        pass
    holder.kill()
    holder.join(60)
    with store.lock("things", "a", longest_wait=5.0):
        pass


def test_a_lock_without_a_note_is_another_process(store: Store, holder: Any):
    """A holder that has just got it, or one whose note was lost."""
    told: list[str] = []
    (note,) = store.root.rglob("*.holder")
    note.write_text("{")

    def on_wait(text: str) -> None:
        told.append(text)
        holder.kill()

    with store.lock("things", "a", on_wait):
        pass
    assert told == ["waiting for another process that is making things/a"]


def test_a_file_system_without_locks_is_said(store: Store, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    told: list[str] = []
    with store.lock("things", "a", told.append):
        pass
    assert "No locks available" in told[0]


def test_home_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("ICRL_BENCH_HOME", str(tmp_path))
    assert default_home() == tmp_path
    monkeypatch.delenv("ICRL_BENCH_HOME")
    assert default_home().name == "icrl-bench"
    assert default_home().is_absolute()


def test_addresses_are_pinned():
    """Whoever changes how an address is computed orphans every stored artefact."""
    assert address_of({"b": [1, 2.5, None], "a": {"x": "é"}}) == "6837b6380c8cb42d"


@busy_machine
@given(documents)
def test_an_address_depends_on_content_alone(document: dict[str, Any]):
    reordered = dict(reversed(list(copy.deepcopy(document).items())))
    assert address_of(document) == address_of(reordered) == address_of(json.loads(json.dumps(document)))
    assert len(address_of(document)) == 16


@busy_machine
@given(documents, st.data())
def test_a_change_anywhere_changes_the_address(document: dict[str, Any], data: st.DataObject):
    key = data.draw(st.sampled_from(sorted(document)))
    changed = {**document, key: data.draw(json_values)}
    same = json.dumps(changed, sort_keys=True) == json.dumps(document, sort_keys=True)
    assert (address_of(changed) == address_of(document)) == same
    assert address_of({**document, "one more key": 0}) != address_of(document)


def test_an_address_of_nan_is_refused():
    with pytest.raises(ValueError):
        address_of({"x": float("nan")})
