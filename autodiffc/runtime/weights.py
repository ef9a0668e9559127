"""Weights on disk, in the safetensors format.

A safetensors file is eight bytes with the length of a JSON header, the header (each tensor's dtype,
shape and place, and free-form metadata), then the tensors' bytes. It holds no code, so that loading
a stranger's file is safe. Saving replaces the file as a whole: whoever reads sees the old weights
or the new ones, never a half-written file. The same tensors and metadata give the same bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from autodiffc.errors import ArgumentTypeError, WeightsError, WeightsNotFoundError

Array = NDArray[Any]
Expected = Mapping[str, tuple[tuple[int, ...], DTypeLike]]

_LENGTH_BYTES = 8
_METADATA_KEY = "__metadata__"  # the format's own name for it


def _checked(path: object) -> str | os.PathLike[str]:
    if not isinstance(path, str | os.PathLike):
        raise ArgumentTypeError(
            "weights are saved to and loaded from a file",
            found=f"{path!r} ({type(path).__name__})",
            expected='its path, e.g. "weights.safetensors"',
        )
    return path


# --- Saving ---


def save_weights(
    path: str | Path, tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes `tensors` and `metadata` to `path`; an existing file is replaced whole or kept."""
    from safetensors.numpy import save

    arrays = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    content = _with_metadata(save(arrays), dict(metadata or {}))
    target = Path(os.path.realpath(_checked(path)))  # through a link: replace what it points to
    try:
        _replace_atomically(target, content)
    except OSError as error:
        raise WeightsError(
            f"cannot write the weights to {path}",
            found=error.strerror or str(error),  # not the temporary file's name
            expected="a folder that exists and can be written",
        ) from error


def _with_metadata(content: bytes, metadata: dict[str, str]) -> bytes:
    """The file with metadata in its header, in sorted order: the library writes a random one."""
    end = _LENGTH_BYTES + struct.unpack("<Q", content[:_LENGTH_BYTES])[0]
    header = json.loads(content[_LENGTH_BYTES:end])
    header[_METADATA_KEY] = metadata
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of eight
    return struct.pack("<Q", len(text)) + text + content[end:]


def _replace_atomically(target: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode_for(target))
        os.replace(temporary, target)
    except BaseException:  # Ctrl-C too must leave no litter
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _mode_for(target: Path) -> int:
    """The permissions of the file to replace, or those any new file gets."""
    if target.exists():
        return target.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


# --- Loading ---


def load_weights(path: str | Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors and the metadata in the file at `path`."""
    from safetensors import SafetensorError, safe_open

    _diagnose(Path(_checked(path)))
    try:
        with safe_open(path, framework="np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path}: the weights file is corrupt", found=str(error), expected="a safetensors file"
        ) from error


def _diagnose(path: Path) -> None:
    """Refuses what is damaged, saying how: the library's own messages do not tell cases apart."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(_LENGTH_BYTES + 1)
            _check_prefix(path, prefix)
            file.seek(_LENGTH_BYTES)
            length = struct.unpack("<Q", prefix[:_LENGTH_BYTES])[0]
            header = file.read(min(length, size))
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise (WeightsNotFoundError if missing else WeightsError)(
            f"cannot read the weights from {path}",
            found=error.strerror or str(error),
            expected="a safetensors file",
        ) from error
    _check_sizes(path, size, length, header)


def _check_prefix(path: Path, prefix: bytes) -> None:
    if len(prefix) <= _LENGTH_BYTES or prefix[_LENGTH_BYTES:] != b"{":
        raise WeightsError(
            f"{path}: not a safetensors file",
            found=f"first bytes {prefix.hex(' ') or '(none)'}",
            expected="eight bytes with the header's length, then '{'",
        )


def _check_sizes(path: Path, size: int, length: int, header: bytes) -> None:
    if _LENGTH_BYTES + length > size:
        raise _truncated(path, size, f"{length} bytes of header alone")
    try:
        entries = json.loads(header)
        entries.pop(_METADATA_KEY, None)
        data_bytes = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        expected = _LENGTH_BYTES + length + data_bytes
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{path}: the weights file is corrupt",
            found=f"a header that cannot be read ({type(error).__name__}: {error})",
            expected="JSON with dtype, shape and data_offsets of each tensor",
        ) from error
    if size < expected:
        raise _truncated(path, size, f"{expected} bytes")
    if size > expected:
        raise WeightsError(
            f"{path}: the weights file is corrupt",
            found=f"{size} bytes",
            expected=f"{expected} bytes, as its header says",
        )


def _truncated(path: Path, size: int, expected: str) -> WeightsError:
    return WeightsError(
        f"{path}: the weights file is truncated", found=f"{size} bytes", expected=expected
    )


# --- Matching ---


def match(expected: Expected, found: Mapping[str, Array]) -> dict[str, Array]:
    """The tensors of `found` as the model wants them; raises an error that lists all that differs.

    Floats of another width are converted (a float32 file serves a float64 build and the reverse),
    so that weights do not depend on a build's precision; a float64 value too large for float32 is
    refused. Any other difference of dtype is an error.
    """
    problems = _name_problems(expected, found)
    for name, (shape, dtype) in expected.items():
        if name in found:
            problems += _tensor_problems(name, tuple(shape), np.dtype(dtype), found[name])
    if problems:
        raise WeightsError(
            "the weights do not fit the model",
            found="; ".join(problems),
            expected=f"the model's own {len(expected)} tensors",
            help="load weights that were saved from the same model",
        )
    return {name: found[name].astype(dtype, copy=False) for name, (_, dtype) in expected.items()}


def _name_problems(expected: Expected, found: Mapping[str, Array]) -> list[str]:
    missing = [name for name in expected if name not in found]
    surplus = [name for name in found if name not in expected]
    problems = [f"missing {', '.join(missing)}"] if missing else []
    return problems + ([f"surplus {', '.join(surplus)}"] if surplus else [])


def _tensor_problems(
    name: str, shape: tuple[int, ...], dtype: np.dtype[Any], tensor: Array
) -> list[str]:
    problems = []
    if tensor.shape != shape:
        problems.append(f"{name} has shape {tensor.shape} instead of {shape}")
    if tensor.dtype != dtype and not (tensor.dtype.kind == dtype.kind == "f"):
        problems.append(f"{name} is {tensor.dtype} instead of {dtype}")
    elif dtype.kind == "f" and _overflows(tensor, dtype):
        problems.append(f"{name} holds {np.abs(tensor).max()}, too large for {dtype}")
    return problems


def _overflows(tensor: Array, dtype: np.dtype[Any]) -> bool:
    if tensor.dtype.itemsize <= dtype.itemsize:
        return False
    finite = np.abs(tensor[np.isfinite(tensor)])
    return bool(finite.size and finite.max() > np.finfo(dtype).max)
