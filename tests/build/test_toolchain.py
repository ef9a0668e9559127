"""Which compiler is taken, what is asked of it, and what is said where there is none."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autodiffc.build import find_toolchain
from autodiffc.build import toolchain as toolchain_module
from autodiffc.build.toolchain import run_compiler, ziglang_command
from autodiffc.errors import AutodiffcError, CompilerFailed, ToolchainError
from autodiffc.targets import get_target


def test_finds_a_compiler_and_its_kind() -> None:
    toolchain = find_toolchain()
    assert toolchain.kind in ("gcc", "clang", "zig")
    assert any(character.isdigit() for character in toolchain.version)


def test_no_compiler_says_what_was_tried_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain_module, "ziglang_command", lambda: None)
    with pytest.raises(ToolchainError) as caught:
        find_toolchain()
    assert isinstance(caught.value, AutodiffcError)
    assert isinstance(caught.value, RuntimeError)
    for text in ("CC", "gcc", "clang", "ziglang", "apt install gcc", "pip install autodiffc[zig]"):
        assert text in str(caught.value)


needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no `cc`")


@needs_cc
def test_cc_may_hold_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc -DONE='1 + 1' -g0")
    assert find_toolchain().command == ("cc", "-DONE=1 + 1", "-g0")


def test_argument_goes_before_environment(
    monkeypatch: pytest.MonkeyPatch, fake_compiler: Callable[[str], Path]
) -> None:
    monkeypatch.setenv("CC", "/nonexistent/compiler")
    path = fake_compiler('exec $REAL "$@"')
    assert find_toolchain(str(path)).command == (str(path),)


def test_relative_path_is_made_absolute(
    monkeypatch: pytest.MonkeyPatch, fake_compiler: Callable[[str], Path], tmp_path: Path
) -> None:
    fake_compiler('exec $REAL "$@"')
    monkeypatch.chdir(tmp_path)
    assert find_toolchain("./fakecc").command == (str(tmp_path / "fakecc"),)


def test_empty_cc_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", " ")
    assert find_toolchain().command[0] != " "


@pytest.mark.parametrize("text", ["no-such-compiler -O2", "/nonexistent/cc", "gcc 'unclosed"])
def test_named_compiler_that_is_not_there(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CC", text)
    with pytest.raises(ToolchainError) as caught:
        find_toolchain()
    assert "CC" in str(caught.value)
    assert repr(text) in str(caught.value)


def test_file_that_is_no_program(tmp_path: Path) -> None:
    path = tmp_path / "notcc"
    path.write_text("\x7fnot a program")
    path.chmod(0o755)
    with pytest.raises(ToolchainError, match="cannot be run"):
        find_toolchain(str(path))


@needs_cc
def test_broken_compiler_on_the_path_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = shutil.which("cc")
    assert real
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "cc").write_text("#!/bin/sh\nexit 1\n")
    (folder / "cc").chmod(0o755)
    (folder / "gcc").write_text(f'#!/bin/sh\nexec {real} "$@"\n')
    (folder / "gcc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert find_toolchain().command == ("gcc",)


def test_named_compiler_that_fails_shows_command_and_output(
    fake_compiler: Callable[[str], Path],
) -> None:
    path = fake_compiler("echo licence expired >&2; exit 3")
    with pytest.raises(CompilerFailed) as caught:
        find_toolchain(str(path))
    assert f"{path} --version" in str(caught.value)
    assert "licence expired" in str(caught.value)
    assert "exit status 3" in str(caught.value)


def test_one_version_query_and_one_probe(logging_compiler: tuple[Path, Path]) -> None:
    path, log = logging_compiler
    find_toolchain(str(path))
    calls = log.read_text().splitlines()
    assert [call for call in calls if "version" in call] == ["--version"]
    assert all("probe" in call for call in calls if call != "--version")
    find_toolchain(str(path))  # remembered by the process
    assert log.read_text().splitlines() == calls
    toolchain_module._query.cache_clear()  # as a new process would
    find_toolchain(str(path))
    assert log.read_text().splitlines() == [*calls, "--version"]


def test_openmp_that_does_not_compile(fake_compiler: Callable[[str], Path]) -> None:
    script = 'case "$*" in *-fopenmp*) exit 1;; esac; exec $REAL "$@"'
    toolchain = find_toolchain(str(fake_compiler(script)))
    assert not toolchain.openmp
    target = get_target("generic")
    assert "-fopenmp" not in toolchain.compile_flags(target, openmp=True)
    assert "-fopenmp" not in toolchain.link_flags(target, openmp=True)


def test_openmp_that_links_but_does_not_load(fake_compiler: Callable[[str], Path]) -> None:
    # Compile with OpenMP and link without its runtime: undefined symbols, found when loading.
    script = (
        'case "$*" in *-shared*) exec $REAL -shared -o probe.so probe.o;; esac; exec $REAL "$@"'
    )
    compiler = str(fake_compiler(script))
    assert find_toolchain("cc").openmp, "this test needs a compiler with OpenMP"
    assert not find_toolchain(compiler).openmp


def test_flags() -> None:
    toolchain = replace(find_toolchain(), kind="gcc", openmp=True)
    flags = toolchain.compile_flags(get_target("x86-64-v3"), openmp=True)
    for flag in ("-std=c11", "-O3", "-fPIC", "-ffp-contract=fast", "-fno-math-errno"):
        assert flag in flags
    assert "-march=x86-64-v3" in flags
    assert "-fopenmp" in flags
    assert "-ffast-math" not in flags
    assert "-fopenmp" not in toolchain.compile_flags(get_target("generic"), openmp=False)


def test_zig_spells_processors_its_own_way() -> None:
    zig = replace(find_toolchain(), kind="zig", openmp=False)
    assert "-mcpu=x86_64_v3" in zig.compile_flags(get_target("x86-64-v3"), openmp=True)
    assert "-mcpu=baseline" in zig.compile_flags(get_target("generic"), openmp=True)
    assert "aarch64-linux-gnu" in zig.link_flags(get_target("aarch64"), openmp=True)


@pytest.mark.parametrize(
    ("command", "output", "kind"),
    [
        (("cc",), "cc (Debian 12.2.0) 12.2.0\nFree Software Foundation", "gcc"),
        (("cc",), "Apple clang version 15.0.0", "clang"),
        (("/usr/bin/python3", "-m", "ziglang", "cc"), "clang version 19.1.7", "zig"),
        (("/opt/zig", "cc"), "clang version 19.1.7", "zig"),
    ],
)
def test_kind(command: tuple[str, ...], output: str, kind: str) -> None:
    assert toolchain_module._kind(command, output) == kind


def test_zig_extra_is_the_last_resort(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: object() if name == "ziglang" else None
    )
    assert toolchain_module._candidates() == [(sys.executable, "-m", "ziglang", "cc")]


@pytest.mark.skipif(ziglang_command() is None, reason="the zig extra (ziglang) is not installed")
def test_zig_is_found_without_a_system_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    toolchain = find_toolchain()
    assert toolchain.kind == "zig"
    assert not toolchain.openmp


def test_full_disk_is_not_taken_for_a_compiler_error(
    fake_compiler: Callable[[str], Path], tmp_path: Path
) -> None:
    path = fake_compiler("echo 'fatal error: x.o: No space left on device'; exit 1")
    with pytest.raises(OSError, match="No space left on device") as caught:
        run_compiler((str(path),), tmp_path)
    assert not isinstance(caught.value, AutodiffcError)


def test_compiler_killed_by_a_signal(fake_compiler: Callable[[str], Path], tmp_path: Path) -> None:
    path = fake_compiler("kill -9 $$")
    with pytest.raises(CompilerFailed, match="killed by signal 9"):
        run_compiler((str(path),), tmp_path)
