"""What `check` compares.

Two questions, kept apart. Are the derivatives right? Finite differences answer, in float64. Does
the C compute what the graph says? The NumPy interpreter answers, which evaluates the same graph,
gradients included, always in float64, at the inputs of the build's own precision.

The error of a tensor is the largest difference of an element over the largest element of the
reference (at least 1e-30); integers and truth values must be the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autodiffc import pipeline
from autodiffc.dsl.model import Model
from autodiffc.errors import GradientCheckError
from autodiffc.passes.specialize import specialize
from autodiffc.reference import evaluate
from autodiffc.runtime.check import check_gradients, random_input
from autodiffc.runtime.compiled import Compiled
from autodiffc.schedule.program import (
    GENERAL,
    GRADIENT,
    NEXT,
    OUTPUT,
    Program,
    build_program,
    split_key,
)

Array = NDArray[Any]
DimChoice = int | tuple[int, int]

TOLERANCES = {"float64": 1e-10, "float32": 1e-4}
GRADIENT_TOLERANCE = 1e-5
SMALLEST = 1e-30


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    what: str
    against: str
    dtype: str
    error: float
    tolerance: float
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance  # false for NaN


def compare_model(
    model: Model, *, dims: Mapping[str, DimChoice], target: str, cc: str | None, seed: int
) -> list[Finding]:
    """Every check of one model."""
    findings: list[Finding] = []
    for dtype in TOLERANCES:
        compiled = pipeline.compile(model, dims=dims, dtype=dtype, target=target, cc=cc)
        if dtype == "float64" and "backward" in compiled.manifest["entries"]:
            findings.append(_finite_differences(compiled, seed))
        findings += _against_reference(model, compiled, _fixed(model, dims), seed)
    return findings


def _finite_differences(compiled: Compiled, seed: int) -> Finding:
    note, what = "", "gradients"
    try:
        error = check_gradients(compiled, tolerance=GRADIENT_TOLERANCE, seed=seed)
    except GradientCheckError as failure:
        error, note = float("inf"), f"{failure.message}: {failure.found}, not {failure.expected}"
    return Finding(what, "finite differences", "float64", error, GRADIENT_TOLERANCE, note)


def _fixed(model: Model, dims: Mapping[str, DimChoice]) -> dict[str, int]:
    """The size of every dim during the checks: the least, of those that stay open."""
    chosen = {d.name: dims.get(d.name, d.default) for d in model.dims}
    return {name: size if isinstance(size, int) else size[0] for name, size in chosen.items()}


def _against_reference(
    model: Model, compiled: Compiled, sizes: Mapping[str, int], seed: int
) -> list[Finding]:
    program = build_program(model)
    inputs = _random_inputs(compiled, sizes, seed)
    compiled.init(seed)
    leaves = {**inputs, **_copies(compiled.params), **_copies(compiled.states)}
    cotangents = _cotangents(program, sizes, seed)
    expected = _reference(program, sizes, {**leaves, **cotangents})
    found = _compiled_values(program, compiled, inputs, cotangents)
    dtype = str(compiled.dtype)
    return [
        Finding(
            what=_title(key),
            against="NumPy reference",
            dtype=dtype,
            error=relative_error(found[key], value),
            tolerance=TOLERANCES[dtype],
        )
        for key, value in expected.items()
    ]


def _random_inputs(compiled: Compiled, sizes: Mapping[str, int], seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    signature = compiled._program.signature
    return {
        name: random_input(tensor, tensor.shape_for(sizes), rng)
        for name, tensor in signature.inputs.items()
    }


def _cotangents(program: Program, sizes: Mapping[str, int], seed: int) -> dict[str, Array]:
    """Random ones where the model does not say what it differentiates."""
    if program.differentiate is not None:
        return {}
    from autodiffc.graph.extents import substitute

    rng = np.random.default_rng((seed, 1))
    return {
        str(node.name): rng.standard_normal([int(str(substitute(e, sizes))) for e in node.shape])
        for node in program.cotangents
    }


def _copies(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.array(array) for name, array in arrays.items()}


def _reference(
    program: Program, sizes: Mapping[str, int], leaves: Mapping[str, Array]
) -> dict[str, Array]:
    graph = program.graphs["training"]
    unwanted = GENERAL if program.differentiate is not None else GRADIENT
    kept = {k: n for k, n in graph.outputs.items() if split_key(k)[0] != unwanted}
    return evaluate(specialize(type(graph)(kept), sizes, "float64"), leaves, dtype="float64")


def _compiled_values(
    program: Program,
    compiled: Compiled,
    inputs: Mapping[str, Array],
    cotangents: Mapping[str, Array],
) -> dict[str, Array]:
    """What the compiled model gives for each output of the reference's graph."""
    outputs = compiled.forward(**inputs)
    found = {f"{OUTPUT}:{name}": np.asarray(value) for name, value in outputs.items()}
    found |= {f"{NEXT}:{name}": np.array(value) for name, value in compiled.states.items()}
    if program.wrt:
        given = {
            str(node.attrs["cotangent"]): cotangents[str(node.name)].astype(compiled.dtype)
            for node in program.cotangents
            if str(node.name) in cotangents
        }
        role = GRADIENT if program.differentiate is not None else GENERAL
        grads = compiled.backward(**given)
        found |= {f"{role}:{name}": np.array(value) for name, value in grads.items()}
    return found


def _title(key: str) -> str:
    role, name = split_key(key)
    return {OUTPUT: name, NEXT: f"next {name}"}.get(role, f"gradient of {name}")


def relative_error(found: Array, expected: Array) -> float:
    """The largest difference, over the largest element; NaNs and infinities must be the same."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return float("inf")
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(found, expected) else float("inf")
    found = found.astype(np.float64)
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    scale = max(float(np.abs(expected[finite]).max()), SMALLEST)
    return float(np.abs(found[finite] - expected[finite]).max()) / scale
