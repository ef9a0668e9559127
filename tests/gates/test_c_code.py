"""What a C compiler and its tools say of the generated code: no warning, nothing exported beside
the interface, no double arithmetic in a float32 library."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.build import build_library, find_toolchain
from autodiffc.emit.module import Emitted
from autodiffc.lower import lower
from autodiffc.schedule.words import MATH_FUNCTIONS
from autodiffc.targets import get_target
from tests.gates.models import lenet5, mlp, quiz, run, write

STRICT = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c")
COMPILERS = ("gcc", "clang")


def gathers() -> ad.Model:
    """Integers, constants in a data unit, indices from data, scans for extrema."""
    table = ad.param("table", (50, 8))
    ids = ad.input("ids", (12,), "int32", low=0, high=50)
    rows = table[ids] * ad.constant(np.linspace(0, 1, 96).reshape(12, 8))
    best = ad.argmax(rows, axis=1)
    loss = ad.sum(ad.max(rows, axis=1)) + ad.prod(ad.sigmoid(table[0]))
    return ad.Model("gathers", {"best": best, "loss": loss}, "loss", optimizer=ad.SGD(lr=0.1))


VARIANTS: dict[str, Emitted] = {
    "lenet5": lower(lenet5()),
    "lenet5_float64": lower(lenet5(), dtype="float64"),
    "lenet5_open": lower(lenet5(), dims={"batch": (1, 128)}),
    "lenet5_plain": lower(lenet5(), plain=True),
    "lenet5_threads": lower(lenet5(), threads=3),
    "mlp_open": lower(mlp(), dims={"batch": (1, 128)}),
    "quiz": lower(quiz(), dtype="float64"),
    "gathers": lower(gathers()),
}


@pytest.mark.parametrize("openmp", [True, False], ids=["openmp", "serial"])
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_strict_compilers_have_nothing_to_say(
    tmp_path: Path, variant: str, compiler: str, openmp: bool
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    emitted = VARIANTS[variant]
    write(tmp_path, emitted.sources)
    units = [name for name in emitted.sources if name.endswith(".c")]
    run(compiler, *STRICT, *(["-fopenmp"] if openmp else []), *units, cwd=tmp_path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_header_is_valid_cpp(tmp_path: Path, variant: str) -> None:
    emitted = VARIANTS[variant]
    write(tmp_path, emitted.sources)
    calls = f"int main() {{ return {emitted.name}_strerror(0) == nullptr; }}\n"
    (tmp_path / "use.cpp").write_text(f'#include "{emitted.name}.h"\n{calls}')
    flags = ("-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only")
    run("g++", *flags, "use.cpp", cwd=tmp_path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_header_stands_alone(tmp_path: Path, variant: str) -> None:
    emitted = VARIANTS[variant]
    write(tmp_path, emitted.sources)
    (tmp_path / "use.c").write_text(f'#include "{emitted.name}.h"\n' * 2 + "int used;\n")
    run(*find_toolchain().command, *STRICT, "use.c", cwd=tmp_path)


def built(variant: str, openmp: bool = True) -> str:
    emitted = VARIANTS[variant]
    library = build_library(
        emitted.name,
        emitted.sources,
        toolchain=find_toolchain(),
        target=get_target("native"),
        openmp=openmp,
    )
    return str(library.path)


@pytest.mark.parametrize("variant", ["lenet5", "mlp_open", "quiz", "gathers"])
def test_exported_symbols_carry_the_prefix(variant: str) -> None:
    listed = run("nm", "-D", "--defined-only", built(variant)).splitlines()
    symbols = {line.split()[-1] for line in listed}
    name = VARIANTS[variant].name
    entries = {f"{name}_{e}" for e in VARIANTS[variant].manifest["entries"]}
    assert symbols == entries | {f"{name}_strerror", f"{name}_workspace_bytes"}


@pytest.mark.parametrize("variant", ["lenet5", "quiz", "gathers"])
def test_nothing_but_libm_and_openmp_is_needed(variant: str) -> None:
    listed = run("nm", "-D", "--undefined-only", built(variant)).splitlines()
    symbols = {line.split()[-1].partition("@")[0] for line in listed if " w " not in line}
    forbidden = {"malloc", "calloc", "realloc", "free", "printf", "fprintf", "exit", "abort"}
    assert not symbols & forbidden
    assert not {s for s in symbols if s.startswith("Py")}


def undefined(variant: str, *, openmp: bool = True) -> set[str]:
    """The symbols that a library takes from others."""
    listed = run("nm", "-D", "--undefined-only", built(variant, openmp)).splitlines()
    return {line.split()[-1].partition("@")[0] for line in listed}


@pytest.mark.parametrize("openmp", [True, False], ids=["openmp", "serial"])
@pytest.mark.parametrize("variant", ["lenet5", "lenet5_plain", "quiz", "gathers"])
def test_no_other_library_is_linked(variant: str, openmp: bool) -> None:
    """libc comes with any C program; OpenMP's runtime and libm only where they are called."""
    listed = run("readelf", "-d", built(variant, openmp))
    needed = {name.partition(".so")[0] for name in re.findall(r"NEEDED.*\[(.*)\]", listed)}
    functions = {*MATH_FUNCTIONS, *(f"{name}f" for name in MATH_FUNCTIONS)}
    assert ("libm" in needed) == bool(undefined(variant, openmp=openmp) & functions)
    assert needed <= {"libc", "libm", *(["libgomp", "libomp", "libpthread"] if openmp else [])}
    assert "RPATH" not in listed
    assert "RUNPATH" not in listed


# vectors have all functions of the one that calls none
CALLS = {"lenet5": False, "lenet5_plain": True, "mlp_open": True, "gathers": True}


@pytest.mark.parametrize("variant", CALLS)
def test_float32_calls_the_functions_of_float(variant: str) -> None:
    symbols = undefined(variant)
    assert bool(symbols & {f"{name}f" for name in MATH_FUNCTIONS}) == CALLS[variant]
    assert not symbols & set(MATH_FUNCTIONS)


@pytest.mark.parametrize("variant", ["lenet5", "mlp_open", "gathers", "lenet5_plain"])
def test_float32_stays_float32(variant: str) -> None:
    """No conversion between float and double outside of the gate, which compares the work."""
    text = run("objdump", "-d", "--no-show-raw-insn", built(variant))
    conversions = re.findall(r"\bv?cvt(?:ss2sd|sd2ss|ps2pd|pd2ps)\b.*", text)
    assert conversions == []
    assert "mulps" in text, "no vector arithmetic at all"
