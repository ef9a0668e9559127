"""Each test gets a cache of its own, and compilers made of a few lines of shell."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from autodiffc.build import cache as cache_module
from autodiffc.build import toolchain as toolchain_module

FakeCompiler = Callable[[str], Path]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, no CC, and nothing remembered from other tests."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("AUTODIFFC_CACHE", str(folder))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(cache_module, "_warned_roots", set())
    toolchain_module._query.cache_clear()
    return folder


@pytest.fixture
def fake_compiler(tmp_path: Path) -> FakeCompiler:
    """Makes a compiler of a shell script; `$REAL` in it is the real one."""

    def make(script: str) -> Path:
        real = shutil.which("cc")
        if real is None:
            pytest.skip("a fake compiler needs a real `cc` behind it")
        path = tmp_path / "fakecc"
        path.write_text(f"#!/bin/sh\nREAL={shlex.quote(real)}\n{script}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def logging_compiler(tmp_path: Path, fake_compiler: FakeCompiler) -> tuple[Path, Path]:
    """The real compiler behind a script that logs each call, and the log."""
    log = tmp_path / "calls.log"
    log.touch()
    return fake_compiler(f'echo "$@" >> {shlex.quote(str(log))}\nexec $REAL "$@"'), log
