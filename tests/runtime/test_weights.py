"""Weights files: what is written comes back; what is damaged or foreign is refused, saying why."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autodiffc.errors import AutodiffcError, WeightsError
from autodiffc.runtime import weights
from autodiffc.runtime.weights import load_weights, match, save_weights

TENSORS = {
    "fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fc.bias": np.array([0.5, -0.0]),
    "count": np.array(7, dtype=np.int64),
    "empty": np.zeros((0, 3), np.float32),
}
EXPECTED = {name: (tensor.shape, tensor.dtype) for name, tensor in TENSORS.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "w.safetensors"
    save_weights(target, TENSORS, {"model": "net", "version": "1"})
    return target


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    assert isinstance(caught.value, AutodiffcError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.found is not None
    assert caught.value.expected is not None
    return str(caught.value)


def test_round_trip_keeps_bits_shapes_dtypes_and_metadata(path: Path) -> None:
    tensors, metadata = load_weights(path)
    assert metadata == {"model": "net", "version": "1"}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert tensors[name].tobytes() == tensor.tobytes()


def test_the_file_is_readable_by_the_library_itself(path: Path) -> None:
    from safetensors.numpy import load_file

    np.testing.assert_array_equal(load_file(path)["fc.weight"], TENSORS["fc.weight"])


def test_no_tensors_at_all(tmp_path: Path) -> None:
    save_weights(tmp_path / "none", {})
    assert load_weights(tmp_path / "none") == ({}, {})


def test_arrays_of_any_memory_order_and_byte_order(tmp_path: Path) -> None:
    transposed = np.arange(6.0).reshape(2, 3).T
    swapped = np.arange(3, dtype=">f4")
    save_weights(tmp_path / "w", {"t": transposed, "s": swapped})
    tensors, _ = load_weights(tmp_path / "w")
    np.testing.assert_array_equal(tensors["t"], transposed)
    np.testing.assert_array_equal(tensors["s"], swapped)


def test_same_content_gives_same_bytes_in_any_process(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from autodiffc.runtime.weights import save_weights;"
        "names = sys.argv[2];"
        "save_weights(sys.argv[1], {n: np.ones(3) for n in names}, {n: n for n in names})"
    )
    files = []
    for order, seed in (("abcdefgh", "1"), ("hgfedcba", "2")):
        target = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, target, order], check=True, env=environment)
        files.append(target.read_bytes())
    assert files[0] == files[1]


def test_a_failing_write_keeps_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights.os, "fsync", full)
    with pytest.raises(WeightsError, match="No space left on device"):
        save_weights(path, {"other": np.ones(1000)})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_an_interrupt_leaves_nothing_half_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(weights.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_weights(path, {"other": np.ones(1000)})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_writing_into_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="a folder that exists") as caught:
        save_weights(tmp_path / "nowhere" / "w", TENSORS)
    assert caught.value.found == "No such file or directory"  # without the temporary file's name


def test_a_link_stays_a_link_and_permissions_stay(path: Path, tmp_path: Path) -> None:
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    save_weights(link, {"a": np.ones(1)})
    assert link.is_symlink()
    assert load_weights(path)[0].keys() == {"a"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_gets_ordinary_permissions(path: Path, tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent")
    with pytest.raises(FileNotFoundError) as caught:
        load_weights(tmp_path / "absent")
    assert isinstance(caught.value, WeightsError)


@pytest.mark.parametrize("content", [b"", b"abc", b"PK\x03\x04 a zip archive", b"\0" * 64])
def test_a_file_of_another_kind(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "not a safetensors file" in refusal(path)


def test_truncated_anywhere(path: Path) -> None:
    whole = path.read_bytes()
    for kept in range(9, len(whole)):
        path.write_bytes(whole[:kept])
        message = refusal(path)
        assert "truncated" in message
        assert f"{kept} bytes" in message


def test_surplus_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")
    assert "corrupt" in refusal(path)


@pytest.mark.parametrize(
    "header",
    [
        b'{"a": not json}',
        b'{"a": {"dtype": "F32", "shape": [1]}}',
        b'{"a": 3}',
        b'{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [2, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": ["x", "y"]}}',
        b'{"\xff": 1}',
        b'{"a":' * 5000,
    ],
)
def test_a_corrupt_header(path: Path, header: bytes) -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    assert "corrupt" in refusal(path)


def test_every_flipped_header_byte_loads_or_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    refused = 0
    for position in range(8 + length):
        damaged = bytearray(whole)
        damaged[position] ^= 0x15
        path.write_bytes(damaged)
        try:
            match(EXPECTED, load_weights(path)[0])
        except WeightsError:
            refused += 1
    assert refused > length // 2  # the rest hit metadata or blanks


# --- match ---


def test_match_returns_the_models_order_and_dtypes() -> None:
    found = {name: TENSORS[name] for name in reversed(TENSORS)}
    assert list(match(EXPECTED, found)) == list(EXPECTED)


@pytest.mark.parametrize(("stored", "built"), [("f4", "f8"), ("f8", "f4"), ("f2", "f4")])
def test_match_converts_floats_of_another_width(stored: str, built: str) -> None:
    result = match({"w": ((2,), built)}, {"w": np.array([0.5, np.inf], stored)})["w"]
    assert result.dtype == built
    assert result.tolist() == [0.5, np.inf]


def test_match_refuses_a_float_too_large_for_the_build() -> None:
    with pytest.raises(WeightsError, match=r"w holds 1e\+300, too large for float32"):
        match({"w": ((2,), "float32")}, {"w": np.array([1e300, 0.0])})


def test_match_refuses_integers_for_floats_and_other_integer_widths() -> None:
    with pytest.raises(WeightsError, match="w is int64 instead of float32"):
        match({"w": ((1,), "float32")}, {"w": np.array([1])})
    with pytest.raises(WeightsError, match="n is int32 instead of int64"):
        match({"n": ((1,), "int64")}, {"n": np.array([1], np.int32)})


def test_match_lists_everything_that_differs() -> None:
    expected = {"a": ((2, 3), "f4"), "b": ((1,), "f4"), "c": ((1,), "f4")}
    found = {"a": np.zeros((3, 2), "f4"), "b": np.zeros(1, "i4"), "z": np.zeros(1, "f4")}
    with pytest.raises(WeightsError) as caught:
        match(expected, found)
    message = str(caught.value)
    for part in ("missing c", "surplus z", "a has shape (3, 2) instead of (2, 3)", "b is int32"):
        assert part in message
