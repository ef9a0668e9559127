"""Readers of data sets: each gives a `Dataset`, features and integer labels as NumPy arrays.

`load("mnist5k")` reads what the shell's `--data` names; a reader is a function in `packaged` (sets
that come inside Python packages) or `files` (sets on disk).
"""

from autodiffc.data.dataset import Dataset
from autodiffc.data.files import read_idx, read_idx_pair, read_npz
from autodiffc.data.packaged import breast_cancer, digits, mnist5k
from autodiffc.data.specification import load

__all__ = [
    "Dataset",
    "load",
    "mnist5k",
    "digits",
    "breast_cancer",
    "read_idx",
    "read_idx_pair",
    "read_npz",
]
