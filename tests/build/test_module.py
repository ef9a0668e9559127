"""Calling a library from Python, in both of cffi's modes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autodiffc.build import BuiltLibrary, build_library, build_module, find_toolchain, load_module
from autodiffc.build import module as module_module
from autodiffc.build.toolchain import python_headers
from autodiffc.errors import BuildError, CompilerFailed
from autodiffc.targets import native

DECLARATIONS = """\
typedef struct { int32_t batch; const float *values; } scale_inputs;
int scale(const scale_inputs *inputs, float factor, float *out);
int factor(void);
void scale_wait(int32_t milliseconds);
"""
SOURCES = {
    "scale.h": f"#include <stdint.h>\n{DECLARATIONS}",
    "scale.c": """\
#define _POSIX_C_SOURCE 199309L
#include <time.h>
#include "scale.h"
#ifndef FACTOR
#define FACTOR 1
#endif
int scale(const scale_inputs *inputs, float factor, float *out) {
  for (int32_t i = 0; i < inputs->batch; ++i) out[i] = factor * inputs->values[i];
  return 0;
}
int factor(void) { return FACTOR; }
void scale_wait(int32_t milliseconds) {
  struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
  nanosleep(&time, 0);
}
""",
}


def build(factor: int = 1) -> BuiltLibrary:
    return build_library(
        "scale",
        SOURCES,
        toolchain=find_toolchain(),
        target=native(),
        defines=[f"FACTOR={factor}"],
    )


needs_headers = pytest.mark.skipif(python_headers() is None, reason="API mode needs Python.h")
MODES = [pytest.param("api", marks=needs_headers), "abi", "auto"]


@pytest.mark.parametrize("mode", MODES)
def test_structs_and_arrays_go_through(mode: module_module.Mode) -> None:
    ffi, lib = load_module("_scale", build(), DECLARATIONS, mode=mode)
    values = ffi.new("float[]", [1.0, 2.0, 3.0])
    out = ffi.new("float[3]")
    inputs = ffi.new("scale_inputs *", {"batch": 3, "values": values})
    assert lib.scale(inputs, 2.0, out) == 0
    assert list(out) == [2.0, 4.0, 6.0]


@pytest.mark.parametrize("mode", MODES)
def test_two_models_of_one_name_keep_their_own_code(mode: module_module.Mode) -> None:
    _, first = load_module("_scale", build(factor=3), DECLARATIONS, mode=mode)
    _, second = load_module("_scale", build(factor=5), DECLARATIONS, mode=mode)
    assert (first.factor(), second.factor()) == (3, 5)
    assert not {"_scale", "_scale.lib"} & set(sys.modules)


@pytest.mark.parametrize("mode", MODES)
def test_calls_release_the_gil(mode: module_module.Mode) -> None:
    _, lib = load_module("_scale", build(), DECLARATIONS, mode=mode)
    thread = threading.Thread(target=lib.scale_wait, args=(400,))
    start = time.monotonic()
    thread.start()
    lib.scale_wait(400)
    thread.join()
    assert time.monotonic() - start < 0.75  # one after the other they would take 0.8 s


@needs_headers
def test_second_module_compiles_nothing() -> None:
    first = build_module("_scale", build(), DECLARATIONS)
    second = build_module("_scale", build(), DECLARATIONS)
    assert (first.cached, second.cached) == (False, True)
    assert second.path == first.path
    assert second.source.read_text().count("scale") > 1


@needs_headers
def test_module_stands_alone(tmp_path: Path) -> None:
    built = build_module("_scale", build(factor=7), DECLARATIONS)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / built.path.name).write_bytes(built.path.read_bytes())
    script = "import _scale; print(_scale.lib.factor())"
    command = [sys.executable, "-c", script]
    result = subprocess.run(
        command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True
    )
    assert result.stdout == "7\n"


@needs_headers
def test_building_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    load_module("_scale", build(), DECLARATIONS, mode="api")
    assert capfd.readouterr() == ("", "")


@needs_headers
def test_compiler_checks_declarations_against_the_header() -> None:
    wrong = DECLARATIONS.replace("batch", "count")
    with pytest.raises(CompilerFailed, match="count"):
        load_module("_scale", build(), wrong, mode="api")


def test_without_python_headers_abi_mode_serves(
    logging_compiler: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autodiffc.build.toolchain.python_headers", lambda: None)
    monkeypatch.setattr(module_module, "python_headers", lambda: None)
    compiler, log = logging_compiler
    toolchain = find_toolchain(str(compiler))
    assert not toolchain.python_headers
    built = build_library("scale", SOURCES, toolchain=toolchain, target=native())
    log.write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, lib = load_module("_scale", built, DECLARATIONS)
    assert lib.factor() == 1
    assert log.read_text() == ""  # the plain library was opened as it is
    with pytest.raises(BuildError, match=r"Python\.h"):
        load_module("_scale", built, DECLARATIONS, mode="api")


@needs_headers
def test_auto_falls_back_with_a_warning(fake_compiler: Callable[[str], Path]) -> None:
    script = 'case "$*" in *_scale*) echo no wrapper; exit 1;; esac; exec $REAL "$@"'
    toolchain = find_toolchain(str(fake_compiler(script)))
    built = build_library("scale", SOURCES, toolchain=toolchain, target=native())
    with pytest.warns(RuntimeWarning, match="no wrapper"):
        _, lib = load_module("_scale", built, DECLARATIONS)
    assert lib.factor() == 1
    with pytest.raises(CompilerFailed, match="no wrapper"):
        load_module("_scale", built, DECLARATIONS, mode="api")


def test_library_that_does_not_load(tmp_path: Path) -> None:
    path = tmp_path / "libscale.so"
    path.write_text("no library")
    with pytest.raises(BuildError, match="cannot be loaded") as caught:
        load_module("_scale", replace(build(), path=path), DECLARATIONS, mode="abi")
    assert str(path) in str(caught.value)


def test_library_without_a_header() -> None:
    built = build_library(
        "one", {"one.c": "int one(void) { return 1; }"}, toolchain=find_toolchain(), target=native()
    )
    _, lib = load_module("_one", built, "int one(void);")
    assert lib.one() == 1
