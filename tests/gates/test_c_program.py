"""LeNet-5 used from C: a program with its header and library computes what Python does."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.build import find_toolchain
from autodiffc.lower import lower
from tests.gates.models import LENET5, ROOT, digits, mlp, run, write

PROGRAM = ROOT / "tests" / "gates" / "c_program.c"
OPEN_PROGRAM = ROOT / "tests" / "gates" / "c_open_dims.c"
STEPS = 5
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-O1")


def test_c_program_agrees_with_python(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    lenet5 = ad.compile(LENET5, output=folder).init(seed=5)
    arrays = digits(64)
    for name, array in {"params": lenet5.param_buffer, **arrays}.items():
        np.asarray(array).tofile(tmp_path / name)
    link = (f"-L{folder}", "-llenet5", f"-Wl,-rpath,{folder}", "-lm")
    program = str(tmp_path / "program")
    command = (*find_toolchain().command, *WARNINGS, f"-I{folder}", str(PROGRAM), "-o", program)
    run(*command, *link)
    files = [str(tmp_path / name) for name in ("params", "images", "labels")]
    printed = run(program, *files, str(STEPS))
    found = {name: float(value) for name, value in map(str.split, printed.splitlines())}
    assert found == pytest.approx(_in_python(lenet5, arrays), rel=1e-6)


def _in_python(lenet5: ad.Compiled, arrays: dict[str, np.ndarray]) -> dict[str, float]:
    out, _ = lenet5.value_and_grad(**arrays)
    found = {"loss": float(out.loss), "gradient": _magnitudes(lenet5.grad_buffer)}
    found |= {f"step{k}": lenet5.step(**arrays) for k in range(STEPS)}
    lenet5.set(lr=0.01).step(**arrays)
    return found | {"params": _magnitudes(lenet5.param_buffer)}


def _magnitudes(buffer: np.ndarray) -> float:
    return float(np.abs(np.asarray(buffer, np.float64)).sum())


def test_open_dims_are_checked_in_c(tmp_path: Path) -> None:
    emitted = lower(mlp(), dims={"batch": (2, 9)})
    folder = write(tmp_path, emitted.sources)
    program = str(tmp_path / "program")
    units = [name for name in emitted.sources if name.endswith(".c")]
    compiler = find_toolchain().command
    run(*compiler, *WARNINGS, "-I.", str(OPEN_PROGRAM), *units, "-o", program, "-lm", cwd=folder)
    assert run(program, env={**os.environ, "OMP_NUM_THREADS": "2"}) == "done\n"
