"""safetensors files: written by us and read by the library, and the other way round; read as maps; refused if damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load, load_file, save, save_file

from icrl_bench.artefacts.tensors import encode_tensors, map_file
from icrl_registry.errors import DamagedArtefactError, PluginError

DTYPES = [
    np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64,
    np.float16, np.float32, np.float64,
]  # fmt: skip
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
collections = st.dictionaries(st.text("abc.", min_size=1, max_size=4), arrays, max_size=4)
slow_disk = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=40
)


def assert_equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert set(first) == set(second)
    for name in first:
        assert first[name].dtype == second[name].dtype, name
        assert first[name].shape == second[name].shape, name
        assert first[name].tobytes() == second[name].tobytes(), name


@slow_disk
@given(collections)
def test_what_we_write_the_library_reads_and_so_do_we(tmp_path: Path, tensors: dict[str, np.ndarray]):
    content = encode_tensors(tensors, {"who": "us"})
    assert_equal(load(content), tensors)
    path = tmp_path / "ours.safetensors"
    path.write_bytes(content)
    mapped, metadata = map_file(path)
    assert_equal(mapped, tensors)
    assert metadata == {"who": "us"}


@slow_disk
@given(collections)
def test_what_the_library_writes_we_read(tmp_path: Path, tensors: dict[str, np.ndarray]):
    path = tmp_path / "theirs.safetensors"
    save_file(tensors, path, metadata={"format": "np"})
    mapped, metadata = map_file(path)
    assert_equal(mapped, load_file(path))
    assert metadata == {"format": "np"}


def test_views_and_other_memory_orders_are_written_in_order(tmp_path: Path):
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tensors = {"transposed": base.T, "strided": base[:, ::2, ::-1], "fortran": np.asfortranarray(base[0])}
    assert_equal(load(encode_tensors(tensors)), {name: np.array(tensor, order="C") for name, tensor in tensors.items()})


def test_scalars_stay_scalars(tmp_path: Path):
    """An optimiser's step counter has no dimension; one that came back with a dimension could not be loaded."""
    path = tmp_path / "file"
    path.write_bytes(encode_tensors({"step": np.array(7.0, dtype=np.float32)}))
    assert map_file(path)[0]["step"].shape == ()


def test_equal_input_gives_equal_bytes():
    first = {"b": np.arange(3), "a": np.zeros((2, 2), np.float32)}
    second = {"a": np.zeros((2, 2), np.float32), "b": np.arange(3)}
    assert encode_tensors(first, {"x": "1", "y": "2"}) == encode_tensors(second, {"x": "1", "y": "2"})
    assert encode_tensors(first) != encode_tensors({**first, "b": np.arange(1, 4)})


@slow_disk
@given(collections)
def test_the_bytes_are_those_of_the_library(tensors: dict[str, np.ndarray]):
    """With one entry of metadata; the library writes several in random order."""
    assert encode_tensors(tensors, {"who": "ü"}) == save(tensors, metadata={"who": "ü"})
    assert encode_tensors(tensors) == save(tensors)


def test_other_byte_orders_are_turned_and_other_types_refused():
    assert load(encode_tensors({"x": np.arange(3, dtype=">f4")}))["x"].tolist() == [0, 1, 2]
    with pytest.raises(PluginError, match="tensor x is complex64"):
        encode_tensors({"x": np.zeros(2, np.complex64)})


def test_maps_are_read_only_and_not_in_memory(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(encode_tensors({"x": np.arange(1000.0), "flags": np.ones(3, np.bool_)}))
    mapped, _ = map_file(path)
    for tensor in mapped.values():
        assert isinstance(tensor, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            tensor[0] = 0
    assert mapped["x"].sum() == 499500


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="Linux shows open files there")
def test_a_map_holds_one_file_open_however_many_tensors(tmp_path: Path):
    """Systems allow 1,024: with one a tensor, a few hundred histories were too many."""
    path = tmp_path / "file"
    path.write_bytes(encode_tensors({str(number): np.ones(number + 1) for number in range(50)}))
    before = len(os.listdir("/proc/self/fd"))
    mapped, _ = map_file(path)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    assert [mapped[str(number)].sum() for number in range(50)] == list(range(1, 51))


def whole() -> bytes:
    return encode_tensors({"x": np.arange(8, dtype=np.float32), "y": np.zeros((0, 2))}, {"k": "v"})


def with_header(header: object, data: bytes = b"\0" * 32) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


GARBAGE = {
    "empty": b"",
    "short": b"\x05\0",
    "text": b"this is no tensor file, whatever its name says",
    "overflow": with_header({"x": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 0]}}),
    "negative": with_header({"x": {"dtype": "F32", "shape": [-2, -4], "data_offsets": [0, 32]}}),
    "no header": (0).to_bytes(8, "little"),
    "huge header": (10**15).to_bytes(8, "little") + b"{}",
    "header beyond the end": (50).to_bytes(8, "little") + b"{}",
    "truncated header": whole()[:20],
    "one byte short": whole()[:-1],
    "header is a list": with_header([1]),
    "header is a number": with_header(3),
    "entry is a number": with_header({"x": 3}),
    "entry lacks a shape": with_header({"x": {"dtype": "F32", "data_offsets": [0, 4]}}),
    "unknown dtype": with_header({"x": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}}),
    "shape and size differ": with_header({"x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 4]}}),
    "shape is text": with_header({"x": {"dtype": "F32", "shape": ["a"], "data_offsets": [0, 4]}}),
    "negative shape": with_header({"x": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}),
    "offset before the data": with_header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}),
    "beyond the end": with_header({"x": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}),
    "infinite offset": with_header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1e999]}}),
    "metadata is a number": with_header({"__metadata__": 3}),
    "not UTF-8": (2).to_bytes(8, "little") + b"\xff\xff",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_is_refused_by_name(tmp_path: Path, what: str):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(GARBAGE[what])
    with pytest.raises(DamagedArtefactError, match=str(path)) as caught:
        map_file(path)
    assert caught.value.exit_code == 5
    assert "data verify --discard-damaged" in caught.value.hint


def test_a_missing_file_is_refused_by_name(tmp_path: Path):
    with pytest.raises(DamagedArtefactError, match="nowhere"):
        map_file(tmp_path / "nowhere")


@slow_disk
@given(st.binary(max_size=60), st.integers(0, 200))
def test_random_bytes_are_read_or_refused(tmp_path: Path, noise: bytes, cut: int):
    path = tmp_path / "noise"
    for content in (noise, len(noise).to_bytes(8, "little") + noise, whole()[:cut] + noise):
        path.write_bytes(content)
        try:
            tensors, metadata = map_file(path)
        except DamagedArtefactError:
            continue
        assert sum(tensor.nbytes for tensor in tensors.values()) <= len(content)
        assert all(isinstance(value, str) for value in metadata.values())
