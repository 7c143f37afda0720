"""Checkpoints and kept progress: equal bytes, exact values, and nothing that damage could slip through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icrl_bench.artefacts.checkpoints import FILE, KIND, KeptProgress, decode, encode, load_final, save_final
from icrl_bench.artefacts.store import Store
from icrl_registry.contracts import Checkpoint
from icrl_registry.errors import DamagedArtefactError, NumericalError

CHECKPOINT = Checkpoint(
    {"model.w": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.array(3.0), "flags": np.zeros(0, np.uint8)},
    {"update": 7, "rate": 0.1, "state": 2**100, "nested": {"b": [1, None, "x"], 10: "ten", 9: "nine"}},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def assert_same_tensors(first: Checkpoint, second: Checkpoint) -> None:
    assert set(first.tensors) == set(second.tensors)
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(tensor, second.tensors[name], strict=True)


def test_a_checkpoint_comes_back_exactly(store: Store):
    save_final(store, "a", CHECKPOINT, {"seconds": 1.5})
    loaded = load_final(store, "a")
    assert_same_tensors(CHECKPOINT, loaded)
    assert loaded.state["state"] == 2**100
    assert loaded.state["rate"] == 0.1
    loaded.tensors["model.w"][0, 0] = 5  # a copy, not a map: agents may change it
    assert store.manifest(KIND, "a")["seconds"] == 1.5


def test_equal_checkpoints_have_equal_bytes():
    reordered = Checkpoint(dict(reversed(CHECKPOINT.tensors.items())), dict(reversed(CHECKPOINT.state.items())))
    assert encode(CHECKPOINT) == encode(reordered)
    assert encode(CHECKPOINT) != encode(Checkpoint(CHECKPOINT.tensors, {**CHECKPOINT.state, "update": 8}))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_by_name(store: Store, value: float):
    bad = Checkpoint({"model.w": np.array([1.0, value])}, {})
    with pytest.raises(NumericalError, match=r"tensor model\.w"):
        save_final(store, "a", bad, {})
    with pytest.raises(NumericalError, match=r"tensor model\.w"):
        KeptProgress(store, "a").save(bad)
    assert not store.exists(KIND, "a")


def test_a_state_that_is_not_json_is_refused(store: Store):
    with pytest.raises(ValueError):
        save_final(store, "a", Checkpoint({}, {"loss": float("nan")}), {})
    assert not store.exists(KIND, "a")


def test_a_damaged_checkpoint_is_named(store: Store):
    save_final(store, "a", CHECKPOINT, {})
    path = store.path(KIND, "a") / FILE
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DamagedArtefactError, match=str(path)):
        load_final(store, "a")


def test_a_file_without_a_state_is_named(store: Store, tmp_path: Path):
    from icrl_bench.artefacts.tensors import encode_tensors

    path = tmp_path / "x.safetensors"
    path.write_bytes(encode_tensors({"a": np.zeros(1)}))
    with pytest.raises(DamagedArtefactError, match="no readable state"):
        decode(path)


def test_progress_carries_what_belongs_to_it(store: Store):
    progress = KeptProgress(store, "a")
    assert progress.load() is None
    progress.counters["online"] = 40
    progress.updates = 7
    progress.curve.append({"updates": 7.0, "loss": 0.25})
    progress.save(CHECKPOINT)
    progress.counters["online"] = 99  # after the save, so lost with the crash
    resumed = KeptProgress(store, "a")
    loaded = resumed.load()
    assert loaded is not None
    assert_same_tensors(CHECKPOINT, loaded)
    assert resumed.counters == {"online": 40}
    assert (resumed.updates, resumed.updates_before) == (7, 7)
    assert resumed.curve == [{"updates": 7.0, "loss": 0.25}]
    assert resumed.seconds >= progress.seconds_before
    resumed.discard()
    assert KeptProgress(store, "a").load() is None


def test_seconds_add_up_over_interruptions(store: Store):
    first = KeptProgress(store, "a")
    first.seconds_before = 100.0
    first.save(CHECKPOINT)
    second = KeptProgress(store, "a")
    second.load()
    assert 100 <= second.seconds < 200


@pytest.mark.parametrize("position", [0, 60, 0.5, -1])
def test_damaged_progress_is_never_trained_on(store: Store, position: float):
    progress = KeptProgress(store, "a")
    progress.save(CHECKPOINT)
    content = bytearray(progress.path.read_bytes())
    content[int(position * len(content)) if isinstance(position, float) else position] ^= 4
    progress.path.write_bytes(content)
    with pytest.raises(DamagedArtefactError, match=str(progress.path)) as caught:
        KeptProgress(store, "a").load()
    assert "data verify --discard-damaged" in caught.value.hint


def test_a_failed_save_keeps_the_last_one(store: Store, monkeypatch: pytest.MonkeyPatch):
    progress = KeptProgress(store, "a")
    progress.save(CHECKPOINT)
    before = progress.path.read_bytes()
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        progress.save(Checkpoint({"model.w": np.zeros(1)}, {}))
    assert progress.path.read_bytes() == before
