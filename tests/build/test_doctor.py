"""The doctor looks at everything and never falls ill itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from autodiffc.build import Check, diagnose, find_toolchain
from autodiffc.build import doctor as doctor_module
from autodiffc.build import toolchain as toolchain_module

NAMES = ["C compiler", "OpenMP", "processor", "Python.h", "cffi", "cache", "zig extra"]


def by_name(cc: str | None = None) -> dict[str, Check]:
    return {check.name: check for check in diagnose(cc)}


def test_every_check_reports() -> None:
    checks = by_name()
    assert list(checks) == NAMES
    assert checks["C compiler"].status == "ok"
    assert find_toolchain().version in checks["C compiler"].detail
    for check in checks.values():
        assert check.detail
        assert check.status == "ok" or check.advice


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for module in (toolchain_module, doctor_module):
        monkeypatch.setattr(module, "ziglang_command", lambda: None)
    checks = by_name()
    for name in ("C compiler", "OpenMP", "zig extra"):
        assert checks[name].status == "missing"
    assert "apt install gcc" in checks["C compiler"].advice
    assert "autodiffc[zig]" in checks["zig extra"].advice


def test_a_compiler_that_fails_in_one_line(fake_compiler: Callable[[str], Path]) -> None:
    command = str(fake_compiler("echo Written by Jim Meyering.; exit 1"))
    check = by_name(command)["C compiler"]
    assert check.status == "missing"
    assert check.detail == (f"the C compiler failed (exit status 1) (command: {command} --version)")
    missing = by_name("/no/such/compiler")["C compiler"].detail
    assert missing.endswith("was not found (found: '/no/such/compiler')")
    assert "--cc" in missing


def test_openmp_installed_later_is_seen(
    tmp_path: Path, fake_compiler: Callable[[str], Path]
) -> None:
    if not find_toolchain().openmp:
        pytest.skip("the compiler has no OpenMP")
    installed = tmp_path / "installed"
    script = f'[ -e {installed} ] || case "$*" in *-fopenmp*) exit 1;; esac; exec $REAL "$@"'
    compiler = str(fake_compiler(script))
    assert by_name(compiler)["OpenMP"].status == "warn"
    installed.touch()
    assert by_name(compiler)["OpenMP"].status == "ok"
    assert find_toolchain(compiler).openmp


def test_unwritable_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AUTODIFFC_CACHE", str(tmp_path / "file" / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the OpenMP probe has nowhere to be kept; once is enough
        check = by_name()["cache"]
    assert check.status == "warn"
    assert str(tmp_path / "file" / "cache") in check.detail
    assert "AUTODIFFC_CACHE" in check.advice


def test_missing_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "python_headers", lambda: None)
    check = by_name()["Python.h"]
    assert (check.status, check.advice) == ("warn", "`apt install python3-dev`")


def test_broken_check_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("no idea")

    monkeypatch.setattr(doctor_module, "native", broken)
    assert "no idea" in by_name()["processor"].detail
