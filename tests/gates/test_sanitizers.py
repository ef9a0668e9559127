"""Compiled code under ASan and UBSan: all samples of all operations, LeNet-5, awkward sums; and
under TSan, with teams of threads that it understands.

The sanitizers' runtime has to be there before Python's own memory, so the checks run in processes
of their own, with the libraries preloaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autodiffc.build import find_toolchain
from tests.gates.models import ROOT, run

# A read past the end, which the sanitizers must find: else this whole file shows nothing.
OVERRUN = "int last(const int *a, int n) { return a[n]; }"


def environment(kind: str) -> dict[str, str]:
    command = find_toolchain().command
    names = ["libtsan.so"] if kind == "thread" else ["libasan.so", "libubsan.so"]
    libraries = [run(*command, f"-print-file-name={name}").strip() for name in names]
    assert all(Path(path).is_absolute() for path in libraries), "the sanitizers are not installed"
    return {
        **os.environ,
        "AUTODIFFC_TEST_SANITIZE": kind,
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "TSAN_OPTIONS": "halt_on_error=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def sanitized(*command: str, kind: str = "address") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(kind),
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_overrun_is_found(tmp_path: Path) -> None:
    (tmp_path / "last.c").write_text(OVERRUN)
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-shared", "-fPIC")
    run(*find_toolchain().command, *flags, "last.c", "-o", "last.so", cwd=tmp_path)
    script = (
        "import ctypes, numpy; a = numpy.zeros(1000, 'int32'); p = ctypes.c_void_p(a.ctypes.data);"
        f"ctypes.CDLL({str(tmp_path / 'last.so')!r}).last(p, 1000)"
    )
    done = sanitized("-c", script)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


LENET5 = """
import numpy as np
from tests.gates.models import digits, lenet5
from tests.harness import Case, compile_cases

for dtype, batch in (("float32", 9), ("float64", (1, 20))):
    case = Case("lenet5", lenet5(), dims={"batch": batch})
    program = compile_cases([case], dtype=dtype, library=f"sanitized_{dtype}")["lenet5"]
    arrays = digits(9)
    arrays["images"] = arrays["images"].astype(dtype)
    program.init(seed=1).value_and_grad(**arrays)
    first = program.step(**arrays)
    assert np.isfinite(first) and program.step(**arrays) < first
    program.predict(images=arrays["images"])
"""


def test_lenet5_is_clean() -> None:
    done = sanitized("-c", LENET5)
    assert done.returncode == 0, done.stdout + done.stderr


# --- Threads ---

RACES = """
from tests.gates.test_threads import cases, digests
from tests.harness import compile_cases

for build, found, options in (
    ("tiles", cases(), {}),
    ("plain", cases()[1:], {"plain": True}),
    ("wrong", cases()[2:3], {"defines": ("WITHOUT_WAITS",)}),
):
    programs = compile_cases(found, dtype="float32", library=f"races_{build}", **options)
    for case in found:
        programs[case.name].threads = 3
        assert digests(programs[case.name], case)
    print(build, "has no race", flush=True)
"""


def test_threads_do_not_race() -> None:
    """And where they do not wait for each other, the sanitizer finds out."""
    done = sanitized("-c", RACES, kind="thread")
    without_race = ["tiles has no race", "plain has no race"]
    assert done.stdout.splitlines() == without_race, (done.stdout + done.stderr)[-8000:]
    assert "data race" in done.stderr


SUITES = {
    "operations": ("tests/compiled/test_operations.py", "-k", "float64"),
    "updates": ("tests/compiled/test_updates.py", "-k", "steps and x86-64-v3"),
    "sums": ("tests/gates/test_accuracy.py", "-k", "float32"),
}


@pytest.mark.parametrize("suite", SUITES)
def test_suite_is_clean(suite: str) -> None:
    options = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist")
    done = sanitized("-m", "pytest", *options, *SUITES[suite])
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    assert " passed" in done.stdout
