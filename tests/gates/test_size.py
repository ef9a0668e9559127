"""How much C there is: loops are never unrolled by shape, so it hardly depends on extents."""

from __future__ import annotations

from pathlib import Path

import pytest

from autodiffc.build import find_toolchain
from autodiffc.dsl.files import load_model
from autodiffc.emit.module import Emitted
from autodiffc.lower import lower
from tests.gates.models import ROOT, lenet5, run, write

LIMIT = 400_000  # bytes
SIZES = [(28, 2), (28, 64), (28, 1024), (224, 2), (224, 1024)]


def preprocessed(folder: Path, size: int, batch: int | tuple[int, int]) -> int:
    """The bytes of LeNet-5's C."""
    return bytes_of(folder, lower(lenet5(size), dims={"batch": batch}))


def bytes_of(folder: Path, emitted: Emitted) -> int:
    """After the preprocessor, with OpenMP."""
    write(folder, emitted.sources)
    units = [name for name in emitted.sources if name.endswith(".c")]
    command = (*find_toolchain().command, "-std=c11", "-O3", "-fopenmp", "-E", "-P")
    return sum(len(run(*command, unit, cwd=folder).encode()) for unit in units)


ODD_SIZES = [(28, 1), (28, 17), (225, 7), (28, (1, 128))]
# extents that leave remainders everywhere, so that many kernels have tiles of their own
LARGE_SIZES = [(50, 50021), (110, 99991), (54, 40009)]


@pytest.mark.parametrize(("size", "batch"), [*SIZES, *ODD_SIZES, *LARGE_SIZES], ids=str)
def test_lenet5_stays_small(tmp_path: Path, size: int, batch: int | tuple[int, int]) -> None:
    assert preprocessed(tmp_path, size, batch) < LIMIT


@pytest.mark.parametrize("gate", [0, 1 << 60], ids=["all shared", "none shared"])
def test_the_plain_schedule_has_one_size(tmp_path: Path, gate: int) -> None:
    """Extents decide only which kernels threads share, so that is held fixed."""
    found = {
        (size, batch): bytes_of(
            tmp_path, lower(lenet5(size), dims={"batch": batch}, plain=True, gate=gate)
        )
        for size, batch in SIZES
    }
    assert max(found.values()) <= 1.02 * min(found.values()), found


@pytest.mark.parametrize("batch", [8, 32])
def test_alexnet_stays_small(tmp_path: Path, batch: int) -> None:
    model = load_model(ROOT / "examples" / "alexnet.py")
    assert bytes_of(tmp_path, lower(model, dims={"batch": batch}, verify=False)) < LIMIT
