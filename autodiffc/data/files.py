"""Data sets on disk: the IDX format of the original MNIST files, and NumPy's npz.

An IDX file is two zero bytes, a byte for the element type, a byte for the number of axes, each
axis' length as a big-endian 32-bit integer, then the elements in C order, big-endian. It may be
compressed by gzip; that is told by its first bytes, not its name.
"""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autodiffc.data.dataset import Dataset, class_labels
from autodiffc.errors import DataError, DataNotFoundError

IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
FEATURE_KEYS = ("features", "images", "x")
LABEL_KEYS = ("labels", "y")


def read_idx(path: str | Path) -> NDArray[Any]:
    """The array in an IDX file, plain or gzipped, in native byte order."""
    content = _read_maybe_gzipped(Path(path))
    element, shape, start = _idx_header(content, path)
    expected = start + math.prod(shape) * element.itemsize
    if len(content) != expected:
        kind = "truncated" if len(content) < expected else "followed by surplus bytes"
        raise DataError(
            f"{path}: the IDX file is {kind}",
            found=f"{len(content)} bytes",
            expected=f"{expected} bytes: {start} of header, then {element.name} of shape {shape}",
        )
    values = np.frombuffer(content, dtype=element, offset=start).reshape(shape)
    return values.astype(element.newbyteorder("="))


def read_idx_pair(images: str | Path, labels: str | Path) -> Dataset:
    """A data set from two IDX files.

    Bytes become float32 in [0, 1], other elements are kept (float64 as such, the rest as float32).
    Pictures without a channel axis get one: (samples, h, w) becomes (samples, 1, h, w).
    """
    features = _scaled(read_idx(images))
    if features.ndim == 3:
        features = features[:, np.newaxis]
    numbers = class_labels(read_idx(labels), str(labels))
    return Dataset(np.ascontiguousarray(features), numbers, f"idx:{images},{labels}")


def read_npz(path: str | Path) -> Dataset:
    """A data set from an npz file with the arrays `features` (or `images`, `x`) and `labels` (`y`).

    Bytes become float32 in [0, 1], other features keep their values: float64 as such, the rest as
    float32.
    """
    _require_file(Path(path))
    try:
        features, labels = _npz_arrays(path)
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path}: not a readable npz file",
            found=str(error),
            expected="an archive as numpy.savez writes it, without pickled objects",
        ) from error
    return Dataset(_scaled(features), class_labels(labels, str(path)), f"npz:{path}")


def _scaled(values: NDArray[Any]) -> NDArray[np.floating[Any]]:
    if values.dtype == np.uint8:
        return (values / np.float32(255)).astype(np.float32)
    if values.dtype.kind not in "iufb":
        raise DataError(
            "features are no numbers", found=f"dtype {values.dtype}", expected="integers or floats"
        )
    dtype = np.float64 if values.dtype == np.float64 else np.float32
    return np.ascontiguousarray(values, dtype=dtype)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise (DataError if path.exists() else DataNotFoundError)(
            f"no such data file: {path}",
            found="a folder" if path.is_dir() else "nothing there",
            expected="a file",
        )


def _read_maybe_gzipped(path: Path) -> bytes:
    _require_file(path)
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read", found=str(error), expected="an IDX file, plain or gzipped"
        ) from error


def _idx_header(content: bytes, path: str | Path) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """The element type, the shape, and where the elements begin."""
    magic = content[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_TYPES or magic[3] == 0:
        types = " ".join(f"{code:02x}" for code in IDX_TYPES)
        raise DataError(
            f"{path}: not an IDX file",
            found=f"first bytes {magic.hex(' ') or '(none)'}",
            expected=f"00 00, an element type ({types}), the number of axes",
        )
    axes = magic[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise DataError(
            f"{path}: the IDX file is truncated within its header",
            found=f"{len(content)} bytes",
            expected=f"{start} bytes of header for {axes} axes",
        )
    shape = tuple(int(n) for n in np.frombuffer(content, dtype=">u4", count=axes, offset=4))
    return np.dtype(IDX_TYPES[magic[2]]), shape, start


def _key(names: list[str], wanted: tuple[str, ...], path: str | Path) -> str:
    present = [name for name in wanted if name in names]
    if len(present) == 1:
        return present[0]
    raise DataError(
        f"{path}: {'no array' if not present else 'more than one array'} for {wanted[0]}",
        found="arrays " + (", ".join(sorted(names)) or "(none)"),
        expected="one of " + ", ".join(wanted),
    )


def _npz_arrays(path: str | Path) -> tuple[NDArray[Any], NDArray[Any]]:
    archive = np.load(path, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError("a single array, not an archive of named ones")
    with archive:
        features = archive[_key(archive.files, FEATURE_KEYS, path)]
        return features, archive[_key(archive.files, LABEL_KEYS, path)]
