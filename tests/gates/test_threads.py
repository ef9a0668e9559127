"""The same bits for any number of threads: who computes an element changes nothing in how.

Nothing is too little work here, so that every kernel is shared that can be. The calls run in a
process of their own, in which OpenMP says which threads it starts.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc import nn
from autodiffc.build import find_toolchain
from autodiffc.emit.resources import templates_directory
from autodiffc.lower import lower
from autodiffc.runtime.compiled import Compiled
from tests.compiled.test_operations import groups, model
from tests.gates.models import ROOT, digits, lenet5, mlp, quiz, run, write
from tests.harness import Case, compile_cases

THREADS = (1, 2, 3, 4, 7)


def sums() -> Case:
    x = ad.input("x", (300_007,))
    made = ad.Model("sums", {"loss": ad.sum(ad.exp(x)), "mean": ad.mean(x * x)}, "loss", wrt=["x"])
    return Case("sums", made, {"x": np.random.default_rng(0).standard_normal(300_007, np.float32)})


def products() -> Case:
    """Extents that no tile divides."""
    a, b = ad.input("a", (37, 53)), ad.input("b", (53, 101))
    x, w = ad.input("x", (3, 5, 19, 17)), ad.input("w", (7, 5, 3, 3))
    y = ad.sum(ad.conv2d(x, w, stride=2, padding=1) ** 2) + ad.sum((a @ b) ** 2)
    rng = np.random.default_rng(1)
    arrays = {n: rng.standard_normal(s, np.float32) for n, s in SHAPES.items()}
    return Case("products", ad.Model("products", {"y": y}, "y", wrt=[*SHAPES]), arrays)


SHAPES = {"a": (37, 53), "b": (53, 101), "x": (3, 5, 19, 17), "w": (7, 5, 3, 3)}


def rows() -> Case:
    """Sums over rows that are looked up, which collide, and a softmax."""
    table, ids = ad.param("table", (50, 33)), ad.input("ids", (257,), "int32", low=0, high=50)
    x = ad.softmax(table[ids])
    made = ad.Model("rows", {"y": x, "loss": ad.sum(x * x)}, "loss", optimizer=ad.SGD(lr=0.1))
    return Case("rows", made, {"ids": np.random.default_rng(2).integers(0, 50, 257, np.int32)})


def between_zeros() -> Case:
    """Results that the next layer wants between zeros: of a tile, of a pool, of a gradient."""
    x = ad.input("x", (8, 3, 20, 20))
    h = ad.relu(nn.conv2d(x, 16, kernel_size=3, padding=1, name="conv1"))
    h = ad.relu(nn.conv2d(h, 16, kernel_size=3, padding=1, name="conv2"))
    h = nn.conv2d(ad.max_pool2d(h, 2), 32, kernel_size=3, padding=1, name="conv3")
    made = ad.Model("padded", {"loss": ad.mean(h * h)}, "loss", optimizer=ad.SGD(lr=0.1))
    arrays = {"x": np.random.default_rng(4).standard_normal((8, 3, 20, 20), np.float32)}
    return Case("padded", made, arrays)


def open_batch() -> Case:
    rng = np.random.default_rng(3)
    arrays = {
        "x": rng.standard_normal((17, 30), np.float32),
        "labels": rng.integers(0, 5, 17, np.int32),
    }
    return Case("open", mlp(), arrays, {"batch": (1, 128)})


def cases() -> list[Case]:
    lenet = Case("lenet5", lenet5(), digits(64))
    return [lenet, sums(), products(), rows(), between_zeros(), open_batch()]


def operations() -> list[Case]:
    """Samples of all operations."""
    return [
        Case(str(k), model(group), {n: a for s in group for n, a in s.arrays.items()})
        for k, group in enumerate(groups())
    ]


def builds() -> dict[str, tuple[list[Case], dict[str, Compiled]]]:
    shared: dict[str, Any] = {"openmp": True, "gate": 0}
    found = {
        "tiles": (cases(), {"dtype": "float32", "level": "-O2"}),
        "plain": (cases(), {"dtype": "float32", "plain": True}),
        "operations": (operations(), {"dtype": "float64", "level": "-O0"}),
    }
    return {
        name: (listed, compile_cases(listed, library=f"threads_{name}", **shared, **options))
        for name, (listed, options) in found.items()
    }


def digests(program: Compiled, case: Case) -> dict[str, str]:
    """What every entry gives, as hashes of bytes."""
    if program.params:
        program.init(seed=3)
    out, gradients = program.value_and_grad(**case.arrays)
    found = {n: digest(a) for n, a in out.items()}
    found |= {f"d_{n}": digest(gradients[n]) for n in gradients}
    if "step" in program.manifest["entries"]:
        found["losses"] = digest(np.array([program.step(**case.arrays) for _ in range(3)]))
        found["stepped"] = digest(np.array(program.param_buffer))
    return found


def digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def main() -> None:
    """What the process prints."""
    made = builds()
    for threads in THREADS:
        found = {}
        for build, (listed, programs) in made.items():
            for case in listed:
                programs[case.name].threads = threads
                hashes = digests(programs[case.name], case)
                found |= {f"{build} {case.name} {n}": h for n, h in hashes.items()}
        print("DIGESTS", threads, json.dumps(found), flush=True)


@cache
def measured() -> tuple[dict[int, dict[str, str]], dict[int, set[int]]]:
    """The digests for each number of threads, and the threads that ran in teams of each size."""
    shown = {"OMP_DISPLAY_AFFINITY": "TRUE", "OMP_AFFINITY_FORMAT": "THREAD %n OF %N"}
    environment = {**os.environ, **shown, "OMP_DYNAMIC": "FALSE", "OMP_WAIT_POLICY": "passive"}
    script = "from tests.gates.test_threads import main; main()"
    command = ("sh", "-c", 'exec "$@" 2>&1', "sh", sys.executable, "-c", script)
    lines = run(*command, env=environment, cwd=ROOT)
    teams: dict[int, set[int]] = {}
    for number, size in re.findall(r"^THREAD (\d+) OF (\d+)$", lines, re.MULTILINE):
        teams.setdefault(int(size), set()).add(int(number))
    answers = re.findall(r"^DIGESTS (\d+) (.*)$", lines, re.MULTILINE)
    return {int(threads): json.loads(text) for threads, text in answers}, teams


def test_the_threads_ran() -> None:
    assert find_toolchain().openmp, "the compiler has no OpenMP: `autodiffc doctor`"
    _, teams = measured()
    assert teams == {size: set(range(size)) for size in THREADS if size > 1}


@pytest.mark.parametrize("threads", THREADS[1:])
def test_results_have_the_same_bits(threads: int) -> None:
    found, _ = measured()
    assert len(found[1]) > 500
    differing = [name for name in found[1] if found[threads][name] != found[1][name]]
    assert differing == []
    assert found[threads].keys() == found[1].keys()


# --- Where there is no team ---


@pytest.mark.parametrize(
    "emitted",
    [lower(quiz()), lower(lenet5(), threads=1), lower(mlp(), dims={"batch": (1, 2)})],
    ids=["scalars", "one thread", "little work"],
)
def test_without_enough_work_there_is_no_team(tmp_path: Path, emitted: Any) -> None:
    write(tmp_path, emitted.sources)
    flags = ("-std=c11", "-O1", "-march=native", "-fopenmp", "-c", "-o", "model.o")
    run(*find_toolchain().command, *flags, f"{emitted.name}.c", cwd=tmp_path)
    assert "omp_" not in run("nm", "model.o", cwd=tmp_path).lower()
    text = emitted.sources[f"{emitted.name}.c"]
    kernels = text[text.index("--- Kernels ---") :]
    assert "team" not in kernels
    assert "AUTODIFFC_RUN" not in kernels
    assert "part_of" not in kernels


def test_with_an_open_batch_its_size_decides() -> None:
    text = lower(mlp(), dims={"batch": (1, 512)}).sources["mlp.c"]
    limits = re.findall(r"const int threads = (.*) team_limit", text)
    assert set(limits) == {"gain >= 0 ?"}
    gains = re.findall(r"gain \+= (.*);", text)
    assert len(gains) >= len(limits)
    for gain in gains:
        assert re.fullmatch(r"(\d \* )?team_gain\(\(\d+\*batch( \+ \d+)?\), 200000, 700000\)", gain)


# --- Callers ---


def test_calls_from_threads_and_from_a_forked_child(tmp_path: Path) -> None:
    """No team inside a team, even where nested ones are allowed, and none that is waited for in
    vain; a call with several threads leaves OpenMP's settings as they were."""
    x = ad.input("x", (1 << 17,))
    emitted = lower(ad.Model("total", {"y": ad.sum(ad.exp(x) * x)}), target="generic", gate=0)
    folder = write(tmp_path, emitted.sources)
    flags = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-fopenmp", "-I.")
    program = str(tmp_path / "program")
    command = (*find_toolchain().command, *flags, str(ROOT / "tests" / "gates" / "c_threads.c"))
    run(*command, "total.c", "-o", program, "-lm", cwd=folder)
    shown = {"OMP_DISPLAY_AFFINITY": "TRUE", "OMP_AFFINITY_FORMAT": "LEVEL %L OF %N"}
    nested = {"OMP_MAX_ACTIVE_LEVELS": "3", "OMP_NUM_THREADS": "2", "OMP_DYNAMIC": "FALSE"}
    printed = run("sh", "-c", f"{program} 2>&1", env={**os.environ, **shown, **nested})
    assert {"done", "LEVEL 1 OF 4", "LEVEL 1 OF 3"} <= set(printed.splitlines())
    assert "LEVEL 2" not in printed


def test_no_setting_of_openmp_is_changed() -> None:
    assert "omp_set" not in (templates_directory() / "team.c").read_text()
