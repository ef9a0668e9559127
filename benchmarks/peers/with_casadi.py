"""CasADi: its virtual machine, and the C that it generates, compiled with the flags that ours gets.

Functions are called through FunctionBuffer, its fastest way in: arrays are bound once.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import casadi
import numpy as np

from autodiffc.build import find_toolchain
from autodiffc.targets import get_target
from benchmarks.harness import Arrays, Contestant, NotThere
from benchmarks.networks import Linear, Network

NAME = "CasADi"
FLAGS = ("-O3", "-fPIC", "-shared", "-ffp-contract=fast", "-fno-math-errno")
_kept: list[object] = []


def generated(function: casadi.Function, openmp: bool = False) -> casadi.Function:
    """The function's generated C, compiled and loaded."""
    folder = tempfile.TemporaryDirectory(prefix="casadi-")
    _kept.append(folder)
    generator = casadi.CodeGenerator(function.name())
    generator.add(function)
    source = Path(folder.name) / f"{function.name()}.c"
    source.write_text(generator.dump(), encoding="utf-8")
    library = source.with_suffix(".so")
    flags = [*FLAGS, *get_target("native").flags, *(["-fopenmp"] if openmp else [])]
    command = [*find_toolchain().command, *flags, str(source), "-o", str(library), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotThere(f"the generated C does not compile: {done.stderr.strip()[:200]}")
    return casadi.external(function.name(), str(library))


def bound(
    function: casadi.Function, arguments: Sequence[np.ndarray], results: Sequence[np.ndarray]
) -> Callable[[], object]:
    """A call with its arrays bound; CasADi's are float64 and in Fortran's order."""
    buffer, evaluate = function.buffer()
    for k, array in enumerate(arguments):
        buffer.set_arg(k, array.data)
    for k, array in enumerate(results):
        buffer.set_res(k, array.data)
    _kept.append((function, buffer, arguments, results))  # it reads them through bare pointers
    called: Callable[[], object] = evaluate
    return called


# --- Scalars ---


def _quiz(x: Any, z: Any) -> Any:
    return casadi.exp(x * z) + x * z / casadi.log(x) + casadi.sin(casadi.log(x)) / casadi.exp(x * z)


def _quiz_function() -> casadi.Function:
    x, z = casadi.SX.sym("x"), casadi.SX.sym("z")
    y = _quiz(x, z)
    return casadi.Function("quiz", [x, z], [y, casadi.gradient(y, x), casadi.gradient(y, z)])


def quiz_calls(x: float, z: float) -> list[Callable[[], Contestant]]:
    """Value and both partials of two numbers."""

    def make(name: str, function: casadi.Function) -> Contestant:
        arguments, results = [np.array([x]), np.array([z])], [np.zeros(1) for _ in range(3)]
        call = bound(function, arguments, results)

        def result() -> Arrays:
            call()
            names = ("value", "gradient 0", "gradient 1")
            return {n: r[0] for n, r in zip(names, results, strict=True)}

        return _contestant(name, call, result, 1)

    return [
        lambda: make(f"{NAME} buffer", _quiz_function()),
        lambda: make(f"{NAME} buffer, generated C", generated(_quiz_function())),
    ]


def quiz_maps(x: np.ndarray, z: np.ndarray, threads: int) -> list[Callable[[], Contestant]]:
    """Value and both partials at every point: `map`, serial or over threads."""

    n, function = len(x), _quiz_function()
    kinds = ("serial", "openmp") if threads == 1 else ("thread", "openmp")

    def make(name: str, mapped: casadi.Function) -> Contestant:
        results = [np.zeros(n) for _ in range(3)]
        call = bound(mapped, [x, z], results)

        def result() -> Arrays:
            call()
            return dict(zip(("y", "dx", "dz"), results, strict=True))

        return _contestant(name, call, result, threads)

    def mapped(kind: str) -> casadi.Function:
        return function.map(n) if threads == 1 else function.map(n, kind, threads)

    return [
        lambda: make(f"{NAME} map", mapped(kinds[0])),
        lambda: make(f"{NAME} map, generated C", generated(mapped(kinds[1]), openmp=threads > 1)),
    ]


# --- Networks ---


def value_and_grad(
    network: Network, weights: Sequence[np.ndarray], image: np.ndarray, label: int
) -> Contestant:
    """Loss and gradients for one image, by the generated C of a graph of matrices."""
    params = [casadi.MX.sym(f"p{k}", *_matrix(w).shape) for k, w in enumerate(weights)]
    x = casadi.MX.sym("x", image.size)
    loss = _loss(network, params, x, label)
    outputs = [loss, *(casadi.gradient(loss, p) for p in params)]
    function = generated(casadi.Function("small_mlp", [x, *params], outputs))
    arguments = [np.ascontiguousarray(image.ravel()), *(_fortran(w) for w in weights)]
    results = [np.zeros(1), *(np.zeros(w.size) for w in weights)]
    call = bound(function, arguments, results)

    def result() -> Arrays:
        call()
        grads = {
            f"gradient {k}": r.reshape(w.shape, order="F")
            for k, (r, w) in enumerate(zip(results[1:], weights, strict=True))
        }
        return {"value": results[0][0]} | grads

    return _contestant(f"{NAME} generated C", call, result, 1)


def _loss(network: Network, params: Sequence[Any], x: Any, label: int) -> Any:
    remaining = iter(params)
    for layer in network.layers:
        assert isinstance(layer, Linear), layer
        x = casadi.mtimes(next(remaining), x) + next(remaining)
        x = casadi.fmax(x, 0) if layer.relu else x
    return casadi.logsumexp(x) - x[label]


def _matrix(weight: np.ndarray) -> np.ndarray:
    return weight.reshape(len(weight), -1)


def _fortran(weight: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(_matrix(weight).ravel(order="F"))


def _contestant(
    name: str, call: Callable[[], object], result: Callable[[], Arrays], threads: int
) -> Contestant:
    return Contestant(name, casadi.__version__, threads, call, result)
