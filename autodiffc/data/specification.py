"""What the shell's `--data` means: a word for a packaged set, `kind:paths` for files.

mnist5k | digits | breast_cancer | idx:IMAGES,LABELS | npz:FILE
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autodiffc.data.dataset import Dataset
from autodiffc.data.files import read_idx_pair, read_npz
from autodiffc.data.packaged import breast_cancer, digits, mnist5k
from autodiffc.errors import DataError

PACKAGED: Mapping[str, Callable[[], Dataset]] = {
    "mnist5k": mnist5k,
    "digits": digits,
    "breast_cancer": breast_cancer,
}
KNOWN = ", ".join([*PACKAGED, "idx:IMAGES,LABELS", "npz:FILE"])


def load(spec: str) -> Dataset:
    """The data set that `spec` names."""
    kind, colon, rest = spec.partition(":")
    if not colon and kind in PACKAGED:
        return PACKAGED[kind]()
    if kind == "idx":
        return _load_idx(spec, rest)
    if kind == "npz" and rest:
        return read_npz(rest)
    raise DataError(
        f"unknown data set {spec!r}",
        found=spec or "nothing",
        expected=f"one of {KNOWN}",
        help="give a file of your own as npz:FILE, with the arrays 'features' and 'labels'",
    )


def _load_idx(spec: str, paths: str) -> Dataset:
    parts = paths.split(",")
    if len(parts) != 2 or not all(parts):
        raise DataError("an IDX data set is two files", found=spec, expected="idx:IMAGES,LABELS")
    return read_idx_pair(*parts)
