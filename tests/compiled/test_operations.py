"""Every operation compiled to C: values against its NumPy reference, gradients against the
interpreter, in float64 and float32, and without the optimizing passes.

Samples are compiled a few dozen to a model: what takes time is not the formulas, it is the entry
points around them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.construct import leaf
from autodiffc.graph.expression import Expression
from autodiffc.lower import passes
from autodiffc.reference import evaluate
from autodiffc.targets import get_target
from tests.harness import Case, compile_cases
from tests.samples import Sampled, all_samples

SAMPLES = {s.title: s for s in all_samples()}
PASSES = (*dict.fromkeys(name for name, _ in passes(get_target("native"))), "rows")
VARIANTS = {
    "float64": ("float64", ()),
    "float32": ("float32", ()),
    "plain": ("float64", PASSES),
}
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
# Quotients at exact multiples: float32 inputs lie on the other side of the jump.
JUMPS = ("floordiv_4", "mod_4")
TOGETHER = 40  # samples in one model


def groups() -> list[list[Sampled]]:
    listed = list(SAMPLES.values())
    return [listed[k : k + TOGETHER] for k in range(0, len(listed), TOGETHER)]


def model(samples: list[Sampled]) -> ad.Model:
    """One model of many samples: their results, and the sum of their weighted sums as its loss.

    Leaves carry the sample's title, so the results need no renaming to be told apart.
    """
    outputs: dict[str, Expression] = {}
    losses: list[Expression] = []
    wrt: list[str] = []
    for sample in samples:
        outputs |= {f"{sample.title}_y{k}": y for k, y in enumerate(sample.results)}
        if sample.loss is not None and sample.floating:
            losses.append(sample.loss)
            wrt += sample.floating
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    return ad.Model("samples", {**outputs, "loss": total}, "loss", wrt=wrt)


@cache
def results(variant: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every output and every gradient, by name."""
    dtype, without = VARIANTS[variant]
    grouped = groups()
    cases = [Case(f"g{k}", model(samples)) for k, samples in enumerate(grouped)]
    programs = compile_cases(cases, dtype=dtype, library=f"operations_{variant}", without=without)
    outputs: dict[str, Any] = {}
    gradients: dict[str, Any] = {}
    for case, samples in zip(cases, grouped, strict=True):
        program = programs[case.name]
        arrays = {n: a for s in samples for n, a in s.arrays.items() if n in program.inputs}
        typed = {n: np.array(a, program.inputs[n][1], order="C") for n, a in arrays.items()}
        out = program.forward(**typed)
        outputs |= {name: out[name] for name in out}
        gradients |= dict(program.backward())
    return outputs, gradients


TRIED = [(t, v) for t in SAMPLES for v in VARIANTS if v != "float32" or t not in JUMPS]


@pytest.mark.parametrize(("title", "variant"), TRIED)
def test_compiled_operation(title: str, variant: str) -> None:
    sample, (outputs, gradients) = SAMPLES[title], results(variant)
    tolerance = TOLERANCE[VARIANTS[variant][0]]
    for k, expected in enumerate(sample.expected):
        close(outputs[f"{title}_y{k}"], expected, tolerance)
    if sample.loss is None or not sample.floating:
        return
    found = ad.grad(sample.loss, [sample.leaves[n] for n in sample.floating])
    nodes = {n: g.node for n, g in zip(sample.floating, found, strict=True)}
    for name, expected in evaluate(nodes, sample.arrays).items():
        close(gradients[name], expected, tolerance)


def close(got: Any, expected: np.ndarray, tolerance: float) -> None:
    assert np.shape(got) == expected.shape
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=1.0)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * scale)


def test_leaves_of_samples_have_names_of_their_own() -> None:
    names = [n for s in SAMPLES.values() for n in s.leaves]
    assert len(names) == len(set(names))
    assert leaf("input", names[0], (), "real").name == names[0]
