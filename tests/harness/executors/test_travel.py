"""Artefacts between homes, scratch homes, and nodes with other code: what a cluster relies on, without one."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from icrl_bench.artefacts.store import MANIFEST, Store
from icrl_bench.executors.code import check_code, code_of
from icrl_bench.executors.parcels import pack, unpack
from icrl_bench.executors.scratch import open_scratch, remove_scratch
from icrl_bench.planning import Request, make_plan
from icrl_registry.errors import DamagedArtefactError, PluginError
from icrl_registry.protocols.loading import load_protocol

ARTEFACT = ("datasets/0123", "train-000")


@pytest.fixture
def sender(tmp_path: Path) -> Store:
    store = Store(tmp_path / "sender")
    with store.write(*ARTEFACT, {"about": "µ", "numbers": [1, 2.5]}) as folder:
        (folder / "a.bin").write_bytes(bytes(range(256)) * 5)
        (folder / "empty.bin").write_bytes(b"")
    return store


@pytest.fixture
def receiver(tmp_path: Path) -> Store:
    return Store(tmp_path / "receiver")


def test_an_artefact_arrives_byte_for_byte(sender: Store, receiver: Store):
    parcel = pack(sender, ARTEFACT)
    unpack(receiver, ARTEFACT, parcel, "node a")
    for path in sender.path(*ARTEFACT).iterdir():
        assert (receiver.path(*ARTEFACT) / path.name).read_bytes() == path.read_bytes()
    assert receiver.problems(*ARTEFACT) == []
    written = (receiver.path(*ARTEFACT) / MANIFEST).stat().st_mtime_ns
    unpack(receiver, ARTEFACT, parcel, "node b")
    assert (receiver.path(*ARTEFACT) / MANIFEST).stat().st_mtime_ns == written


@pytest.mark.parametrize("what", ["a.bin", MANIFEST, "lost file", "other artefact", "no manifest"])
def test_whatever_changes_on_the_way_is_refused_and_nothing_is_kept(sender: Store, receiver: Store, what: str):
    parcel, artefact = pack(sender, ARTEFACT), ARTEFACT
    if what == "lost file":
        del parcel["a.bin"]
    elif what == "no manifest":
        del parcel[MANIFEST]
    elif what == "other artefact":
        artefact = ("datasets/0123", "train-001")
    elif what == MANIFEST:  # a number in it
        parcel[MANIFEST] = np.frombuffer(parcel[MANIFEST].tobytes().replace(b"2.5", b"2.6"), dtype=np.uint8)
    else:
        parcel[what] = parcel[what].copy()
        parcel[what][7] ^= 1
    with pytest.raises(DamagedArtefactError, match="from node a differs from its checksum"):
        unpack(receiver, artefact, parcel, "node a")
    assert not receiver.exists(*artefact)
    assert not list(receiver.root.rglob("*.partial"))


def test_damage_at_the_sender_is_found_where_it_arrives(sender: Store, receiver: Store):
    (sender.path(*ARTEFACT) / "a.bin").write_bytes(b"something else")
    with pytest.raises(DamagedArtefactError, match=r"a\.bin"):
        unpack(receiver, ARTEFACT, pack(sender, ARTEFACT), "node a")


def test_a_scratch_home_is_held_by_its_processes_and_abandoned_ones_are_removed(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ICRL_BENCH_SCRATCH", str(tmp_path / "scratch"))
    hold = "from icrl_bench.executors.scratch import open_scratch; open_scratch({!r}); print(flush=True); input()"
    held = subprocess.Popen(
        [sys.executable, "-c", hold.format("held")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    held.stdout.readline()
    abandoned = subprocess.run([sys.executable, "-c", hold.format("abandoned")], input="\n", text=True, check=True)
    assert abandoned.returncode == 0
    assert (tmp_path / "scratch" / "abandoned").is_dir()
    home = open_scratch("ours")
    assert sorted(path.name for path in (tmp_path / "scratch").iterdir()) == ["held", "ours"]
    assert home.stat().st_mode & 0o77 == 0
    remove_scratch("ours")
    held.communicate("\n")
    remove_scratch("held")
    assert not (tmp_path / "scratch").exists()


@pytest.fixture
def code(toy: Path):
    plan = make_plan(Request("toy-method", "toy-point", load_protocol(str(toy / "toy.toml")), {}))
    return code_of([plan, plan])


def test_the_code_of_a_plan_is_that_of_its_plugins(code):
    assert [(each.kind, each.name) for each in code.plugins] == [
        ("environment", "toy-point-v1"), ("method", "toy-method"), ("source", "toy-source"),
    ]  # fmt: skip
    assert dict(code.packages)["numpy"] == np.__version__
    check_code(code, "here")


def test_other_code_is_refused_with_node_distribution_and_both_hashes(code, toy: Path):
    source = toy / "toy_parts.py"
    before = code.plugins[1].content_hash
    source.write_text(source.read_text().replace("self.total_steps // 4", "self.total_steps // 5", 1) + "\nMORE = 1\n")
    with pytest.raises(PluginError) as caught:
        check_code(code, "node 7")
    said = caught.value.message
    assert said.startswith("node 7 has other code of environment toy-point-v1: toy-parts 1.0 with content ")
    assert code.plugins[0].content_hash[:16] in said
    assert before != ""
    assert "toy-parts 1.0 from the same files" in caught.value.hint


def test_a_missing_plugin_and_another_version_are_refused(code):
    missing = dataclasses.replace(code.plugins[1], name="toy-lost")
    with pytest.raises(PluginError, match="node 7 lacks method toy-lost of toy-parts"):
        check_code(dataclasses.replace(code, plugins=(missing,)), "node 7")
    with pytest.raises(PluginError, match=r"node 7 has numpy .*, the driver 0\.1") as caught:
        check_code(dataclasses.replace(code, packages=(("numpy", "0.1"), ("not-installed-here", "1"))), "node 7")
    assert "pip install numpy==0.1" in caught.value.hint
