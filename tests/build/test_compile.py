"""C sources to libraries: what is built, what is found again, and how failures look."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autodiffc.build import build_library, find_toolchain
from autodiffc.errors import BuildError, CompilerFailed
from autodiffc.targets import get_target, native

HEADER = "double add(double a, double b);\n"
SOURCES = {
    "adder.h": HEADER,
    "adder.c": '#include "adder.h"\ndouble add(double a, double b) { return a + b; }\n',
}
# A process that builds the library with the compiler in CC and prints where it is.
BUILD_SCRIPT = f"""
from autodiffc.build import build_library, find_toolchain
from autodiffc.targets import native
built = build_library("adder", {SOURCES!r}, toolchain=find_toolchain(), target=native())
print(built.path, built.cached)
"""


def compiles(log: Path) -> list[str]:
    """The calls that compiled a unit of the library."""
    return [call for call in log.read_text().splitlines() if "adder.c" in call]


def test_builds_a_library_that_runs() -> None:
    built = build_library("adder", SOURCES, toolchain=find_toolchain(), target=native())
    library = ctypes.CDLL(str(built.path))
    library.add.restype = ctypes.c_double
    assert library.add(ctypes.c_double(1.5), ctypes.c_double(2.0)) == 3.5
    assert built.path.name == "libadder.so"
    assert not built.cached
    assert [path.name for path in built.objects] == ["adder.o"]
    assert len(built.commands) == 2  # compile, link
    assert "adder.c" in built.commands[0]


def test_several_units_make_one_library() -> None:
    sources = {
        "table.h": "extern const double table[2];\ndouble look_up(int i);\n",
        "table.c": '#include "table.h"\ndouble look_up(int i) { return table[i]; }\n',
        "table_data.c": '#include "table.h"\nconst double table[2] = {4.0, 5.0};\n',
    }
    built = build_library("table", sources, toolchain=find_toolchain(), target=native())
    library = ctypes.CDLL(str(built.path))
    library.look_up.restype = ctypes.c_double
    assert [library.look_up(i) for i in (0, 1)] == [4.0, 5.0]


def test_library_links_no_more_than_it_needs() -> None:
    built = build_library(
        "adder", SOURCES, toolchain=find_toolchain(), target=native(), openmp=False
    )
    assert not built.openmp
    needed = built.path.read_bytes()
    assert b"libgomp" not in needed
    assert b"python" not in needed.lower()


def test_openmp_library_counts_its_threads() -> None:
    toolchain = find_toolchain()
    if not toolchain.openmp:
        pytest.skip("the compiler has no OpenMP")
    code = """
int threads(void) {
  int count = 0;
#ifdef _OPENMP
#pragma omp parallel num_threads(2) reduction(+ : count)
  count += 1;
#endif
  return count;
}
"""
    for openmp, count in ((True, 2), (False, 0)):
        built = build_library(
            "team", {"team.c": code}, toolchain=toolchain, target=native(), openmp=openmp
        )
        assert built.openmp == openmp
        # In a process of its own, so that no OpenMP runtime stays behind in this one.
        script = f"import ctypes; print(ctypes.CDLL({str(built.path)!r}).threads())"
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        assert int(result.stdout) == count


def test_second_build_is_found_and_any_change_is_not() -> None:
    toolchain = find_toolchain()

    def build(sources: dict[str, str] = SOURCES, **options: object) -> bool:
        arguments = {"toolchain": toolchain, "target": native(), **options}
        return build_library("adder", sources, **arguments).cached  # type: ignore[arg-type]

    assert not build()
    assert build()
    assert not build({**SOURCES, "adder.c": SOURCES["adder.c"] + "\n"})
    assert not build(defines=["X=1"])
    assert not build(extra_flags=["-g0"])
    assert not build(target=get_target("generic"))
    assert build()


def test_bytes_do_not_depend_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = []
    for folder in ("one", "another longer one"):
        monkeypatch.setenv("AUTODIFFC_CACHE", str(tmp_path / folder))
        built = build_library("adder", SOURCES, toolchain=find_toolchain(), target=native())
        libraries.append(built.path.read_bytes())
    assert libraries[0] == libraries[1]


def test_failing_compiler_shows_command_and_output(cache_folder: Path) -> None:
    sources = {"wrong.c": "int wrong(void) { return undeclared_thing; }\n"}
    with pytest.raises(CompilerFailed) as caught:
        build_library("wrong", sources, toolchain=find_toolchain(), target=native())
    message = str(caught.value)
    assert "-c wrong.c" in message
    assert "undeclared_thing" in message
    assert isinstance(caught.value, RuntimeError)
    assert list((cache_folder / "v1" / "staging").iterdir()) == []


def test_compiler_that_cannot_link(fake_compiler: Callable[[str], Path]) -> None:
    script = 'case "$*" in *-shared*adder*) echo cannot link; exit 7;; esac; exec $REAL "$@"'
    toolchain = find_toolchain(str(fake_compiler(script)))
    with pytest.raises(CompilerFailed, match="exit status 7") as caught:
        build_library("adder", SOURCES, toolchain=toolchain, target=native())
    assert "libadder.so" in str(caught.value)
    assert "cannot link" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("adder; rm", SOURCES),
        ("1adder", SOURCES),
        ("adder", {"../adder.c": ""}),
        ("adder", {"-o.c": ""}),
        ("adder", {"adder.h": ""}),
        ("adder", {}),
    ],
)
def test_names_that_are_refused(name: str, sources: dict[str, str]) -> None:
    with pytest.raises(BuildError):
        build_library(name, sources, toolchain=find_toolchain(), target=native())


def test_second_process_compiles_nothing(
    logging_compiler: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler, log = logging_compiler
    monkeypatch.setenv("CC", str(compiler))
    command = [sys.executable, "-c", BUILD_SCRIPT]
    first = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert len(compiles(log)) == 1
    log.write_text("")
    second = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert log.read_text().splitlines() == ["--version"]
    assert first[0] == second[0]
    assert (first[1], second[1]) == ("False", "True")


def test_concurrent_processes_compile_once(
    tmp_path: Path, fake_compiler: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "calls.log"
    slow = f'echo "$@" >> {log}\ncase "$*" in *adder.c*) sleep 0.5;; esac\nexec $REAL "$@"'
    monkeypatch.setenv("CC", str(fake_compiler(slow)))
    command = [sys.executable, "-c", BUILD_SCRIPT]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({path for path, _ in outputs}) == 1
    assert sorted(cached for _, cached in outputs) == ["False", "True", "True"]
    assert len(compiles(log)) == 1


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")  # a dead child nobody waited for is not running
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def test_interrupt_ends_the_compiler_and_leaves_no_entry(
    tmp_path: Path,
    cache_folder: Path,
    fake_compiler: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = tmp_path / "started"
    # As a real driver does, the fake one starts another program, whose id it notes down.
    script = (
        f'case "$*" in *adder.c*) echo half > adder.o; sleep 60 & echo $! > {started}.new; '
        f'mv {started}.new {started}; wait;; esac\nexec $REAL "$@"'
    )
    monkeypatch.setenv("CC", str(fake_compiler(script)))
    command = [sys.executable, "-c", BUILD_SCRIPT]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(started.exists)
        assert len(list((cache_folder / "v1" / "staging").iterdir())) == 1
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in errors
    assert list((cache_folder / "v1" / "staging").iterdir()) == []
    built = list((cache_folder / "v1" / "entries").rglob("adder*"))
    assert built == []
    wait_for(lambda: not is_running(int(started.read_text())))
