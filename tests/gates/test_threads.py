"""The same bits with 1, 2 and 4 threads: work is split by fixed chunks, never by their number.

The gate that keeps small work on one thread is switched off, so that every kernel is split, and a
process of its own counts the threads that OpenMP started.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.build import find_toolchain
from tests.gates.models import ROOT, digits, lenet5, run
from tests.harness import Case, compile_cases

THREADS = (1, 2, 4)


def cases() -> list[Case]:
    rng = np.random.default_rng(0)
    x = ad.input("x", (300_007,))
    big = ad.Model("sums", {"loss": ad.sum(ad.exp(x)), "mean": ad.mean(x * x)}, "loss", wrt=["x"])
    rows = ad.input("rows", (257, 101))
    softmax = ad.Model(
        "softmax",
        {"y": ad.softmax(rows), "loss": ad.mean(ad.logsumexp(rows, axis=-1))},
        "loss",
        wrt=["rows"],
    )
    return [
        Case("lenet5", lenet5(), digits(64)),
        Case("sums", big, {"x": rng.standard_normal(300_007, np.float32)}),
        Case("softmax", softmax, {"rows": rng.standard_normal((257, 101), np.float32)}),
    ]


def digests() -> dict[str, str]:
    """What every entry of every model gives with this process' threads, as hashes of bytes."""
    compiled = compile_cases(
        cases(),
        dtype="float32",
        library="threads",
        level="-O2",
        openmp=True,
        defines=("AUTODIFFC_GATE=0",),
    )
    found: dict[str, str] = {}
    for case in cases():
        program = compiled[case.name]
        if program.params:
            program.init(seed=3)
        out, gradients = program.value_and_grad(**case.arrays)
        found |= {f"{case.name}.{n}": digest(a) for n, a in out.items()}
        found |= {f"{case.name}.d_{n}": digest(gradients[n]) for n in gradients}
        if case.name == "lenet5":
            losses = [program.step(**case.arrays) for _ in range(3)]
            found["lenet5.losses"] = digest(np.array(losses))
            found["lenet5.stepped"] = digest(np.array(program.param_buffer))
    return found


def digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@cache
def measured(threads: int) -> tuple[dict[str, str], int]:
    """The digests, and how many threads ran: OpenMP shows each one's affinity as it starts."""
    script = (
        "import json; from tests.gates.test_threads import digests; "
        "print('DIGESTS', json.dumps(digests()))"
    )
    shown = {"OMP_DISPLAY_AFFINITY": "TRUE", "OMP_AFFINITY_FORMAT": "THREAD %n OF %N"}
    environment = {**os.environ, **shown, "OMP_DYNAMIC": "FALSE", "OMP_NUM_THREADS": str(threads)}
    command = (sys.executable, "-c", f"import sys; sys.stderr = sys.stdout; {script}")
    lines = run("sh", "-c", 'exec "$@" 2>&1', "sh", *command, env=environment, cwd=ROOT)
    numbers = {line.split()[1] for line in lines.splitlines() if line.startswith("THREAD ")}
    (answer,) = (line for line in lines.splitlines() if line.startswith("DIGESTS "))
    return json.loads(answer.removeprefix("DIGESTS ")), len(numbers)


@pytest.mark.parametrize("threads", THREADS)
def test_the_threads_ran(threads: int) -> None:
    assert find_toolchain().openmp, "the compiler has no OpenMP: `autodiffc doctor`"
    _, ran = measured(threads)
    assert ran == threads if threads > 1 else ran <= 1


@pytest.mark.parametrize("threads", THREADS[1:])
def test_results_have_the_same_bits(threads: int) -> None:
    expected, _ = measured(1)
    found, _ = measured(threads)
    assert found == expected
    assert len(expected) > 15
