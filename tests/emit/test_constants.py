"""Constant arrays: where they are written, and that C reads back the very bits."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.build import find_toolchain
from autodiffc.lower import lower
from tests.gates.models import run, write

FLOATS = [
    *[0.0, -0.0, 1.0, 0.1, 1 / 3, -2.5e-7, 16777217.0, float("inf"), float("-inf"), float("nan")],
    *[5e-324, 2.2250738585072014e-308, 1e-310, 1.7976931348623157e308],
    *[1.401298464324817e-45, 1.1754943508222875e-38, 1e-40, 3.4028234663852886e38],
]
INTEGERS = {
    "int64": [-(2**63), 2**63 - 1, -(2**31) - 1, 0, -1],
    "int32": [-(2**31), 2**31 - 1, 0, -1],
    "uint8": [0, 1, 255],
    "bool": [0, 1],
}


def sources_of(array: np.ndarray, dtype: str = "float32") -> dict[str, str]:
    """The C of a model that has the array as a constant and gives it back."""
    constant = ad.constant(array)
    x = ad.input("x", (array.size,))
    y = ad.where(x > 0, constant, ad.flip(constant, 0))
    return lower(ad.Model("t", {"y": y}), dtype=dtype).sources


def filled(values: list[float], size: int, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.resize(np.array(values, np.float64).astype(dtype), size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_64_elements_stay_and_65_go_to_the_data_unit(dtype: str) -> None:
    few, many = (sources_of(np.arange(n) / 7, dtype) for n in (64, 65))
    assert set(few) == {"t.c", "t.h"}
    assert set(many) == {"t.c", "t.h", "t_data.c"}
    kind = {"float32": "float", "float64": "double"}[dtype]
    assert f"static const {kind} t_constant_0[64]" in few["t.c"]
    declared = f'extern __attribute__((visibility("hidden"))) const {kind} t_constant_0[65];'
    assert declared in many["t.c"]
    assert "static" not in many["t_data.c"]
    assert f"const {kind} t_constant_0[65] __attribute__((aligned(64))) = {{" in many["t_data.c"]


def bytes_in_c(folder: Path, sources: dict[str, str], array: np.ndarray) -> bytes:
    """What lies in memory where the C compiler put the constant."""
    main = (
        '#include "t.c"\n#include <stdio.h>\nint main(void)\n{\n'
        f"    return fwrite(t_constant_0, 1, {array.nbytes}, stdout) != {array.nbytes};\n}}\n"
    )
    write(folder, {**sources, "main.c": main})
    units = ["main.c", *(name for name in sources if name.endswith("_data.c"))]
    command = (*find_toolchain().command, "-std=c11", "-O0", *units, "-o", "main", "-lm")
    run(*command, cwd=folder)
    run("sh", "-c", "./main >bytes", cwd=folder)
    return (folder / "bytes").read_bytes()


def same_bits(found: bytes, expected: np.ndarray) -> None:
    """Bit for bit; of NaN it counts that it is one."""
    got = np.frombuffer(found, expected.dtype)
    number = ~np.isnan(expected) if expected.dtype.kind == "f" else np.ones(expected.size, bool)
    assert got[number].tobytes() == expected[number].tobytes()
    assert np.array_equal(got != got, ~number)


@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_c_reads_floats_back_as_the_same_bits(tmp_path: Path, dtype: str, size: int) -> None:
    array = filled(FLOATS, size, dtype)
    assert np.isnan(array).any()
    assert np.signbit(array[array == 0]).any()
    same_bits(bytes_in_c(tmp_path, sources_of(array, dtype), array), array)


@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_c_reads_integers_back(tmp_path: Path, dtype: str, size: int) -> None:
    array = np.resize(np.array(INTEGERS[dtype], dtype), size)
    same_bits(bytes_in_c(tmp_path, sources_of(array), array), array)


def test_denormals_of_float32_are_among_them() -> None:
    tiny = filled(FLOATS, len(FLOATS), "float32")
    least = struct.unpack("f", b"\x01\x00\x00\x00")[0]
    assert least in tiny


def test_a_constant_is_written_once_for_all_entries() -> None:
    table = ad.constant(np.linspace(0, 1, 65))
    x = ad.input("x", (65,))
    loss = ad.sum(ad.exp(x * table) * table)
    sources = lower(ad.Model("t", {"loss": loss}, "loss")).sources
    assert sources["t_data.c"].count("= {") == 1
    assert "t_constant_1" not in sources["t.c"]
