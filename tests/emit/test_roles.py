"""Every name in every role: it works, or it is refused with an error that names it.

Names become struct members, macros, variables, types and functions of C, keywords of calls,
and stand beside names that the compiler makes up. All accepted names of a role stand in one model;
values and gradients are compared with formulas. The C passes strict compilers, and the headers pass
as C++ and after those of Python and of C's library.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.build import build_library, find_toolchain, load_module
from autodiffc.emit.module import Emitted
from autodiffc.lower import lower
from autodiffc.runtime.compiled import Compiled
from autodiffc.targets import get_target

NAMES = [
    *["inputs", "params", "state", "workspace", "grads", "input_grads"],
    *["status", "header", "general", "for_backward", "threads", "arena", "mark"],
    *["inputs_check", "workspace_check", "workspace_header", "team_limit", "memcpy"],
    *["memory", "lr", "seed", "unused", "acc", "at", "v"],
    *["value", "team", "i", "i_end", "row0", "floor_div"],
    *["exp", "sin", "sum", "y_", "loss_", "f32x4", "x_extent"],
    *["exp_extent", "out_y", "scalar_lr", "default_lr", "cotangent_y"],
    *["kernel_y", "y", "x", "w", "s", "n"],
    *["uint64_t", "size_t", "float", "main", "NULL", "I", "M_PI", "INT_MAX"],
    *["EINVAL", "AUTODIFFC_GATE"],
    *["FORWARD_DONE", "isnan", "new", "in"],
    *["m_inputs", "m_predict", "m_constant_0", "M_OK", "M_API", "M_PARAM_COUNT", "M_PARAM_w"],
    *["COUNT", "a__b", "_", "_x", "self", "entry", "keys"],
]
X = np.array([0.3, -0.7, 0.2])
SIZES = range(1, len(NAMES) + 1)


def frame(name: str = "m") -> tuple[Any, ...]:
    """Leaves with names that nothing else in this file has, unless it means to."""
    return ad.input("own_x", (3,)), ad.param("own_w", (3,), init=1.5)


def model(name: str, outputs: dict[str, Any], wrt: list[str], **options: Any) -> ad.Model:
    """With a constant, an optimizer, and `own_y`, the sum of all outputs, to differentiate."""
    total = ad.name(sum(outputs.values(), ad.sum(ad.constant(np.arange(3.0)) * 0)), "own_total")
    optimizer = ad.SGD(lr=0.1) if "own_w" in wrt else None
    return ad.Model(name, {**outputs, "own_y": total}, "own_y", wrt, optimizer, **options)


# --- One model a role, with all the names that may be given ---


def inputs(names: list[str]) -> ad.Model:
    w = ad.param("own_w", (3,), init=1.5)
    terms = [ad.sum(ad.sin(ad.input(n, (3,))) * w * k) for n, k in zip(names, SIZES, strict=False)]
    return model("m", {"y": sum(terms[1:], terms[0])}, [*names, "own_w"])


def params(names: list[str]) -> ad.Model:
    x = ad.input("x", (3,))
    leaves = [ad.param(n, (3,), init=float(k)) for n, k in zip(names, SIZES, strict=False)]
    terms = [ad.sum(ad.sin(x) * p * p) for p in leaves]
    own = ad.sum(ad.param("own_w", (3,), init=1.5))
    return model("m", {"y": sum(terms[1:], terms[0]) + own}, ["x", "own_w", *names])


def states(names: list[str]) -> ad.Model:
    x, w = frame()
    leaves = [ad.state(n, (3,), init=float(k)) for n, k in zip(names, SIZES, strict=False)]
    terms = [ad.sum(ad.sin(x) * s * s * w) for s in leaves]
    updates = {s: s + 1 for s in leaves}
    return model("m", {"y": sum(terms[1:], terms[0])}, ["own_x", "own_w"], updates=updates)


def outputs(names: list[str]) -> ad.Model:
    x, w = frame()
    terms = {n: ad.sum(ad.sin(x) * w) * k for n, k in zip(names, SIZES, strict=False)}
    return model("m", terms, ["own_x", "own_w"])


def intermediates(names: list[str]) -> ad.Model:
    """Each is read twice, so that it lies in memory."""
    x, w = frame()
    terms = []
    for n, k in zip(names, SIZES, strict=False):
        value = ad.name(ad.flip(ad.sin(x), 0) * k, n)
        terms.append(ad.sum(ad.flip(value, 0) * w) + 0 * ad.sum(value))
    return model("m", {"y": sum(terms[1:], terms[0])}, ["own_x", "own_w"])


def dims(names: list[str]) -> ad.Model:
    """Sizes 1, 2, 3, …; what is differentiated by is not among the arrays of these sizes."""
    x, w = frame()
    terms = []
    for k, n in enumerate(names, 1):
        values = ad.input(f"own_{k}", (ad.dim(n, 4), 3))
        terms.append(ad.sum(ad.exp(values) * ad.sin(x) * w))
    return model("m", {"y": sum(terms[1:], terms[0])}, ["own_x", "own_w"])


ROLES: dict[str, Callable[[list[str]], ad.Model]] = {
    "input": inputs,
    "param": params,
    "state": states,
    "output": outputs,
    "intermediate": intermediates,
    "dim": dims,
}


def lowered(role: str, names: list[str], prefix: str | None = None) -> Emitted:
    chosen = {n: (1, len(NAMES)) for n in names} if role == "dim" else None
    return lower(ROLES[role](names), dims=chosen, dtype="float64", prefix=prefix, verify=False)


@cache
def accepted(role: str) -> list[str]:
    """The names that may be given; the others are refused, and the error says which name it is."""
    found = []
    for name in NAMES:
        try:
            lowered(role, [name])
        except ad.AutodiffcError as error:
            _names(error, name)
        else:
            found.append(name)
    return found


def _names(error: Exception, name: str) -> None:
    assert name in str(error), name


@cache
def program_of(role: str) -> Compiled:
    """The model of a role, with all the names that it may have."""
    return compiled(role, lowered(role, accepted(role)))


STRICT = ["-O0", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def compiled(title: str, emitted: Emitted) -> Compiled:
    built = build_library(
        f"roles_{title}",
        emitted.sources,
        toolchain=find_toolchain(),
        target=get_target("native"),
        openmp=False,
        extra_flags=STRICT,
    )
    ffi, lib = load_module(f"_roles_{title}", built, emitted.cdef, mode="abi")
    return Compiled(ffi, lib, emitted.manifest).init()


@pytest.mark.parametrize(
    ("role", "words"),
    [
        (
            "input",
            "uint64_t M_PI AUTODIFFC_GATE NULL float M_API M_PARAM_COUNT m_predict seed lr self",
        ),
        ("output", "uint64_t M_PI AUTODIFFC_GATE NULL float M_API M_PARAM_COUNT m_inputs"),
        ("dim", "uint64_t M_PI AUTODIFFC_GATE NULL float M_API m_constant_0 lr seed"),
        ("param", "float COUNT main a__b"),
        ("state", "float COUNT main a__b"),
    ],
)
def test_names_that_cannot_be_are_refused(role: str, words: str) -> None:
    assert not set(words.split()) & set(accepted(role))


@pytest.mark.parametrize("role", ROLES)
def test_most_names_may_be_given(role: str) -> None:
    fixed = {
        "inputs",
        "params",
        "state",
        "threads",
        "kernel_y",
        "cotangent_y",
        "loss_",
        "mark",
        "exp",
    }
    assert fixed <= set(accepted(role))


def factor(role: str) -> float:
    return float(sum(range(1, len(accepted(role)) + 1)))


def test_inputs_of_any_name() -> None:
    names, program = accepted("input"), program_of("input")
    arrays = {n: X + k for k, n in enumerate(names)}
    got, gradients = program.value_and_grad(**arrays)
    terms = [1.5 * k * np.sin(arrays[n]) for k, n in enumerate(names, 1)]
    np.testing.assert_allclose(got["y"], np.sum(terms), rtol=1e-12)
    for k, n in enumerate(names, 1):
        np.testing.assert_allclose(gradients[n], 1.5 * k * np.cos(arrays[n]), rtol=1e-12)
    both = program.backward(y=2.0)
    np.testing.assert_allclose(both["own_w"], 2 * np.sum(terms, 0) / 1.5, rtol=1e-11)
    assert program.step(**arrays) == pytest.approx(np.sum(terms))


def test_params_of_any_name() -> None:
    names, program = accepted("param"), program_of("param")
    got, gradients = program.value_and_grad(x=X)
    squares = [k * k for k, _ in enumerate(names, 1)]
    np.testing.assert_allclose(got["y"], np.sin(X).sum() * sum(squares) + 4.5, rtol=1e-12)
    for k, n in enumerate(names, 1):
        np.testing.assert_allclose(gradients[n], 2 * k * np.sin(X), rtol=1e-12)
    program.step(x=X)
    for k, n in enumerate(names, 1):
        np.testing.assert_allclose(program.params[n], k - 0.2 * k * np.sin(X), rtol=1e-12)


def test_states_of_any_name() -> None:
    names, program = accepted("state"), program_of("state")
    squares = sum(k * k for k, _ in enumerate(names, 1))
    got, gradients = program.value_and_grad(own_x=X)
    np.testing.assert_allclose(got["y"], 1.5 * np.sin(X).sum() * squares, rtol=1e-12)
    np.testing.assert_allclose(gradients["own_x"], 1.5 * np.cos(X) * squares, rtol=1e-12)
    np.testing.assert_allclose(
        program.backward(y=3.0)["own_w"], 3 * np.sin(X) * squares, rtol=1e-12
    )
    for k, n in enumerate(names, 1):
        assert tuple(program.states[n]) == (k + 1,) * 3


def test_outputs_of_any_name() -> None:
    names, program = accepted("output"), program_of("output")
    got, gradients = program.value_and_grad(own_x=X)
    for k, n in enumerate(names, 1):
        np.testing.assert_allclose(got[n], 1.5 * k * np.sin(X).sum(), rtol=1e-12)
    slope = 1.5 * np.cos(X)
    np.testing.assert_allclose(gradients["own_x"], factor("output") * slope, rtol=1e-12)
    for k, n in enumerate(names, 1):
        found = program.backward(**{n: 2.0})["own_x"]
        np.testing.assert_allclose(found, 2 * k * slope, rtol=1e-12)


def test_intermediates_of_any_name() -> None:
    program, total = program_of("intermediate"), factor("intermediate")
    got, gradients = program.value_and_grad(own_x=X)
    np.testing.assert_allclose(got["y"], 1.5 * np.sin(X).sum() * total, rtol=1e-12)
    np.testing.assert_allclose(gradients["own_x"], 1.5 * np.cos(X) * total, rtol=1e-12)
    np.testing.assert_allclose(program.backward(y=2.0)["own_w"], 2 * np.sin(X) * total, rtol=1e-12)


def test_dims_of_any_name() -> None:
    names, program = accepted("dim"), program_of("dim")
    arrays = {f"own_{k}": np.zeros((k, 3)) for k, _ in enumerate(names, 1)}
    total = factor("dim")  # every array of k rows counts k times
    got, gradients = program.value_and_grad(own_x=X, **arrays)
    np.testing.assert_allclose(got["y"], 1.5 * np.sin(X).sum() * total, rtol=1e-12)
    np.testing.assert_allclose(gradients["own_x"], 1.5 * np.cos(X) * total, rtol=1e-12)
    np.testing.assert_allclose(program.backward(y=2.0)["own_w"], 2 * np.sin(X) * total, rtol=1e-12)


# --- Models, and headers ---


def small(name: str) -> ad.Model:
    x, w = frame()
    hidden = ad.name(
        ad.sum(ad.sin(x)), "predict"
    )  # its kernel could be a function of the interface
    return model(name, {"inputs": ad.sum(ad.exp(x) * w) * hidden}, ["own_x", "own_w"])


def test_models_of_any_name() -> None:
    names: list[str] = []
    sources: dict[str, str] = {}
    text = ""
    more = ["out", "kernel", "check", "grad", "scalar", "default", "profile"]
    for name in dict.fromkeys([*NAMES, *more]):
        try:
            emitted = lower(small(name), dtype="float64", verify=False)
        except ad.AutodiffcError as error:
            _names(error, name)
            continue
        names.append(name)
        sources |= emitted.sources
        text += emitted.cdef
    merged = Emitted("all", sources, text, {})
    assert {"inputs", "kernel", "check", "out", "grad", "scalar", "threads"} <= set(names)
    built = build_library(
        "roles_models",
        merged.sources,
        toolchain=find_toolchain(),
        target=get_target("native"),
        openmp=False,
        extra_flags=STRICT,
    )
    ffi, lib = load_module("_roles_models", built, text, mode="abi")
    for name in names:
        program = Compiled(ffi, lib, lower(small(name), dtype="float64", verify=False).manifest)
        got, gradients = program.init().value_and_grad(own_x=X)
        np.testing.assert_allclose(got["inputs"], 1.5 * np.exp(X).sum() * np.sin(X).sum())
        np.testing.assert_allclose(gradients["own_w"], np.exp(X) * np.sin(X).sum())


LIBRARY = [
    *["stddef", "stdint", "math", "string", "stdio", "stdlib", "limits", "float"],
    *["errno", "signal", "time", "complex"],
]


@pytest.mark.parametrize("language", ["c", "c++"])
def test_headers_come_after_any_other(tmp_path: Path, language: str) -> None:
    import sysconfig

    python = Path(sysconfig.get_paths()["include"])
    lines = ["#include <Python.h>"] if (python / "Python.h").exists() else []
    lines += [f"#include <{h}.h>" for h in LIBRARY if h != "complex" or language == "c"]
    for role in ROLES:
        emitted = lowered(role, accepted(role), prefix=f"own_{role}")
        (tmp_path / f"own_{role}.h").write_text(emitted.sources[f"own_{role}.h"])
        lines.append(f'#include "own_{role}.h"')
    (tmp_path / "all.c").write_text("\n".join([*lines, "int main(void) { return 0; }", ""]))
    command = [*find_toolchain().command, "-x", language, "-fsyntax-only", f"-I{python}", "all.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_macros_of_the_headers_are_refused(tmp_path: Path) -> None:
    """The machine's own headers say which macros there are."""
    (tmp_path / "all.c").write_text("".join(f"#include <{h}.h>\n" for h in LIBRARY[:8]))
    command = [*find_toolchain().command, "-std=c11", "-dM", "-E", "all.c"]
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^#define ([A-Za-z]\w*) ", text, re.MULTILINE)
    names = [n for n in found if "__" not in n]
    assert len(names) > 50
    for name in names:
        with pytest.raises(ad.AutodiffcError, match=name):
            ad.Model("m", {name: ad.input("x") * 2})
