"""Files by strangers for `data import`: nothing in them runs, leads elsewhere, or takes far more memory than it has bytes."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icrl_bench.artefacts import imports
from icrl_bench.artefacts.formats import allowance, apart, minari
from icrl_bench.artefacts.store import Store
from icrl_registry.errors import PluginError, UsageError
from icrl_registry.testing.toy import ToyPoint

h5py = pytest.importorskip("h5py")

STEPS = 4


def columns() -> dict[str, Any]:
    return {
        "observations": np.zeros((STEPS, 2), np.float32),
        "next_observations": np.zeros((STEPS, 2), np.float32),
        "actions": np.zeros((STEPS, 2), np.float32),
        "rewards": np.zeros(STEPS, np.float32),
        "terminated": np.zeros(STEPS, bool),
        "truncated": np.zeros(STEPS, bool),
        "parameters": np.zeros(2),
    }


def refused(path: Path) -> str:
    """What is said of a file that is not taken."""
    with pytest.raises(UsageError) as caught:
        imports.read_files([path], "toy-point-v1", (0.0, 0.0) if path.is_dir() else None)
    assert path.name in caught.value.message
    return caught.value.message


# --- NumPy archives -----------------------------------------------------------------------------------------------------


def archive(path: Path, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    """An archive of a whole history in which some members are replaced."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, array in columns().items():
            whole = io.BytesIO()
            np.save(whole, array)
            file.writestr(f"{name}.npy", members.pop(name, whole.getvalue()))
        for name, content in members.items():
            file.writestr(name, content)
    return path


def header(shape: tuple[int, ...], kind: str = "<f4", body: bytes = b"") -> bytes:
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(written, {"descr": kind, "fortran_order": False, "shape": shape})
    return written.getvalue() + body


def test_an_archive_that_unpacks_to_far_more_than_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(allowance, "FREE", 2**16)
    bomb = archive(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, rewards=header((2**22,), body=bytes(2**24)))
    assert bomb.stat().st_size < 2**15
    assert "16,777" in refused(bomb)
    whole = archive(tmp_path / "b.npz", rewards=header((2**14,), body=bytes(2**16)))  # as large, and really so
    assert "a.npz" not in str(imports.read_files([whole], "toy-point-v1").histories)


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (header((2**60,), body=bytes(64)), "not the 64 bytes"),
        (header((2**31, 2**33)), "not the 0 bytes"),  # the product is 0 in 64 bits
        (header((-1, -16), body=bytes(64)), "not the 64 bytes"),
        (header((2**40,), "<U0"), "not the 0 bytes"),
        (header((4,), "O", bytes(32)), "unpickled"),
        (b"\x93NUMPY\x03\x00" + bytes(100), "named fields"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, ""),
        (header((4,), "<f4", bytes(16)).replace(b"'<f4'", b"__im_"), ""),
        (header((4,), "<f4", bytes(16)).replace(b"'<f4'", b'"""f4'), ""),  # a text that has no end
    ],
)
def test_an_array_that_is_not_what_its_header_says(tmp_path: Path, member: bytes, words: str):
    assert words in refused(archive(tmp_path / "a.npz", rewards=member))


def test_members_that_no_history_has_are_not_read(tmp_path: Path):
    hostile = {
        "../../outside.npy": b"x",
        "/etc/outside.npy": b"x",
        "big.npy": header((2**60,)),
        "code.pkl": b"cos\nsystem\n",
    }
    (history,) = imports.read_files([archive(tmp_path / "a.npz", **hostile)], "toy-point-v1").histories
    assert history.num_steps == STEPS
    assert [path.name for path in tmp_path.rglob("*")] == ["a.npz"]


def test_compressions_without_a_bound(tmp_path: Path):
    assert "never does" in refused(archive(tmp_path / "a.npz", zipfile.ZIP_LZMA))


def test_a_name_longer_than_any(tmp_path: Path):
    name = io.BytesIO()
    np.save(name, np.asarray("x" * 10_000))
    for about in ("environment", "split"):
        assert "a name is" in refused(archive(tmp_path / "a.npz", **{f"{about}.npy": name.getvalue()}))


# --- Minari data sets ---------------------------------------------------------------------------------------------------


def data_set(folder: Path, change: Callable[[Any], object] = lambda file: None, **metadata: Any) -> Path:
    """A data set of one episode, without Minari; `change` gets its open file."""
    (folder / "data").mkdir(parents=True)
    box = json.dumps({"type": "Box", "dtype": "float32", "shape": [2], "low": [-1, -1], "high": [1, 1]})
    about = {"total_episodes": 1, "data_format": "hdf5", "observation_space": box, "action_space": box, **metadata}
    (folder / "data" / "metadata.json").write_text(json.dumps({name: value for name, value in about.items() if value}))
    with h5py.File(folder / "data" / "main_data.hdf5", "w", libver="latest") as file:
        group = file.create_group("episode_0")
        group["observations"] = np.zeros((STEPS + 1, 2), np.float32)
        group["actions"] = np.zeros((STEPS, 2), np.float32)
        group["rewards"] = np.zeros(STEPS)
        group["terminations"] = group["truncations"] = np.zeros(STEPS, bool)
        change(file)
    return folder


def test_a_data_set_as_these_tests_write_it(tmp_path: Path):
    (history,) = imports.read_files([data_set(tmp_path / "fine")], "toy-point-v1", (0.0, 0.0)).histories
    assert history.num_steps == STEPS


def endless(folder: Path) -> Path:
    """Found by the guided search: bytes of `plain.hdf5` that keep `H5Aread` busy, which no signal interrupts but SIGKILL."""
    shutil.copy(Path(__file__).parent / "attribute_without_end.hdf5", next(data_set(folder).rglob("*.hdf5")))
    return folder


def children(process: int) -> set[str]:
    """The living children of a process."""
    return {child for child in Path(f"/proc/{process}/task/{process}/children").read_text().split() if lives(child)}


def lives(process: str) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def test_an_attribute_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(apart, "PATIENCE", 3.0)
    before = children(os.getpid())
    assert "not done with it after 3 seconds" in refused(endless(tmp_path / "endless"))
    assert children(os.getpid()) == before


def test_an_interrupt_ends_the_reader_too(tmp_path: Path):
    code = "import sys; from icrl_bench.artefacts import imports; imports.read_files([sys.argv[1]])"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(endless(tmp_path / "endless"))], stderr=subprocess.PIPE
    ) as command:
        until = time.monotonic() + 60
        while not (readers := children(command.pid)) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        command.send_signal(signal.SIGINT)  # to the command alone, as `kill` does it
        assert b"KeyboardInterrupt" in command.communicate(timeout=60)[1]
    assert readers
    assert not any(lives(reader) for reader in readers)


def test_a_reader_that_crashes_is_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def crash(command: list[str], **options: Any) -> Any:
        return real([sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"], **options)

    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", crash)
    assert "signal 11" in refused(data_set(tmp_path / "crashes"))


def test_what_a_child_reads_is_what_its_reader_gives(tmp_path: Path):
    """To the last number and field: an archive in between changes nothing."""
    about = {"task": "train-003", "stream": 0, "split": "train", "index": 3, "task_parameters": [0.1, 0.2]}
    folder = data_set(
        tmp_path / "whole",
        lambda file: file["episode_0"].attrs.update(about),
        icrl_bench=json.dumps({"environment": "toy-point-v1"}),
    )
    (mine,), (theirs,) = minari.read(folder), apart.read(folder)
    assert {name: getattr(theirs, name) for name in vars(mine) if name != "columns"} == {
        name: value for name, value in vars(mine).items() if name != "columns"
    }
    assert theirs.where.endswith("whole, train-003")
    assert theirs.columns.keys() == mine.columns.keys()
    for name, column in mine.columns.items():
        assert theirs.columns[name].dtype == column.dtype
        np.testing.assert_array_equal(theirs.columns[name], column)


def test_no_function_that_a_data_set_names_is_called(tmp_path: Path):
    """`gymnasium.make` imports and calls the `entry_point` of a specification; Minari's reader calls it for the spaces."""
    marker = tmp_path / "executed"
    for number, entry_point in enumerate(("os:mkdir", "pathlib:os.mkdir")):
        specification = json.dumps({"id": "x-v0", "entry_point": entry_point, "kwargs": {"path": str(marker)}})
        folder = data_set(tmp_path / f"{number}", env_spec=specification, observation_space=None, action_space=None)
        assert imports.read_files([folder], "toy-point-v1", (0.0, 0.0)).histories[0].num_steps == STEPS
    assert not marker.exists()


def replace(name: str, make: Callable[[Any], object]) -> Callable[[Any], object]:
    """A change of a data set: another `name` in place of the first episode's."""

    def change(file: Any) -> None:
        del file["episode_0"][name]
        make(file["episode_0"])

    return change


def virtual(group: Any) -> None:
    layout = h5py.VirtualLayout((STEPS,), np.float32)
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (STEPS,))
    group.create_virtual_dataset("rewards", layout)


HOSTILE = {
    "a shape of which nothing is stored": (
        replace("rewards", lambda group: group.create_dataset("rewards", (2**40,), "f4", chunks=(2**20,))),
        "in memory",
    ),
    "a link to another file": (
        replace("rewards", lambda group: group.__setitem__("rewards", h5py.ExternalLink("/etc/passwd", "/x"))),
        "link",
    ),
    "a link within the file": (
        replace("rewards", lambda group: group.__setitem__("rewards", h5py.SoftLink("/episode_0/actions"))),
        "link",
    ),
    "numbers in another file": (
        replace("rewards", lambda group: group.create_dataset("rewards", (8,), "u1", external=[("/etc/passwd", 0, 8)])),
        "other files",
    ),
    "parts of other data sets": (replace("rewards", virtual), "other files"),
    "text for numbers": (replace("rewards", lambda group: group.__setitem__("rewards", ["1"] * STEPS)), "no numbers"),
    "a group for numbers": (replace("rewards", lambda group: group.create_group("rewards")), "no dataset"),
    "numbers without a shape": (
        replace("rewards", lambda group: group.__setitem__("rewards", h5py.Empty("f4"))),
        "no numbers",
    ),
    "one number": (replace("observations", lambda group: group.__setitem__("observations", 3.0)), ""),
    "a large attribute": (
        lambda file: file["episode_0"].attrs.create("task", "x", dtype=f"S{2**16 + 1}"),
        "too large",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_is_not_plain_numbers(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    change, words = HOSTILE[what]
    monkeypatch.setattr(allowance, "FREE", 2**20)
    folder = data_set(tmp_path / "data-set", change)
    assert words in refused(folder)


def test_columns_of_unequal_length_are_not_kept(tmp_path: Path):
    change = replace("actions", lambda group: group.__setitem__("actions", np.zeros((9, 2), np.float32)))
    (history,) = imports.read_files([data_set(tmp_path / "data-set", change)], "toy-point-v1", (0.0, 0.0)).histories
    with pytest.raises(PluginError, match="shape"):
        imports.keep(Store(tmp_path), ToyPoint(), "toy-point-v1", [history])


@pytest.mark.parametrize(
    "metadata",
    [
        {"data_format": "arrow"},
        {"total_episodes": 10**12},
        {"total_episodes": "many"},
        {"action_space": '{"type": "Discrete", "n": 1000000000000, "start": 0}'},
        {"action_space": '{"type": "Discrete", "n": "x"}'},
        {"action_space": "[" * 10_000},
        {"icrl_bench": "[1]"},
        {"icrl_bench": '{"environment": ' + "[" * 10_000},
    ],
)
def test_metadata_that_are_none(metadata: dict[str, Any], tmp_path: Path):
    refused(data_set(tmp_path / "data-set", **metadata))


def test_metadata_larger_than_any(tmp_path: Path):
    folder = data_set(tmp_path / "data-set")
    with (folder / "data" / "metadata.json").open("r+b") as handle:
        handle.truncate(2**33)  # a hole on the disk
    assert "larger than" in refused(folder)


def test_discrete_actions_that_do_not_begin_at_zero(tmp_path: Path):
    change = replace("actions", lambda group: group.__setitem__("actions", np.array([5, 7, 6, 5])))
    folder = data_set(tmp_path / "data-set", change, action_space='{"type": "Discrete", "n": 3, "start": 5}')
    (history,) = imports.read_files([folder], "toy-point-v1", (0.0, 0.0)).histories
    assert history.actions[0].argmax(axis=-1).tolist() == [0, 2, 1, 0]
