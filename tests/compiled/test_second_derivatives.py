"""Gradients of gradients compile: for every operation the gradient of a weighted sum of its
gradients, in C, against the same graph in the interpreter."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.expression import Expression
from autodiffc.reference import evaluate
from tests.compiled.test_operations import close
from tests.harness import Case, compile_cases
from tests.samples import Sampled, all_samples

SAMPLES = {s.title: s for s in all_samples() if s.loss is not None and s.floating}
TOGETHER = 20  # samples in one model


@cache
def slope(title: str) -> Expression:
    """A weighted sum of the gradients of a sample's loss."""
    sample = SAMPLES[title]
    assert sample.loss is not None
    rng = np.random.default_rng(5)
    total: Expression | None = None
    for gradient in ad.grad(sample.loss, [sample.leaves[n] for n in sample.floating]):
        term = ad.sum(gradient * ad.constant(rng.uniform(0.5, 1.5, gradient.shape)))
        total = term if total is None else total + term
    assert total is not None
    return total


def model(samples: list[Sampled]) -> ad.Model:
    """Linear operations have no second derivative; `anchor` keeps their model differentiable."""
    anchor = ad.input("anchor")
    total = anchor * anchor
    for sample in samples:
        total = total + slope(sample.title)
    names = {n for s in samples for n in s.floating} | {"anchor"}
    used = {n.name for n in ad.Model("probe", {"loss": total}, wrt=[]).inputs}
    return ad.Model("second", {"loss": total}, "loss", wrt=sorted(names & used))


@cache
def gradients() -> dict[str, Any]:
    """Every gradient, by leaf."""
    listed = list(SAMPLES.values())
    grouped = [listed[k : k + TOGETHER] for k in range(0, len(listed), TOGETHER)]
    cases = [Case(f"g{k}", model(samples)) for k, samples in enumerate(grouped)]
    programs = compile_cases(cases, library="second_derivatives")
    found: dict[str, Any] = {}
    for case, samples in zip(cases, grouped, strict=True):
        program = programs[case.name]
        arrays = {n: a for s in samples for n, a in s.arrays.items() if n in program.inputs}
        typed = {n: np.array(a, program.inputs[n][1], order="C") for n, a in arrays.items()}
        _, values = program.value_and_grad(anchor=1.0, **typed)
        assert values["anchor"] == 2.0
        found |= dict(values)
    return found


@pytest.mark.parametrize("title", SAMPLES)
def test_second_derivatives_compile(title: str) -> None:
    sample, found = SAMPLES[title], gradients()
    second = ad.grad(slope(title), [sample.leaves[n] for n in sample.floating])
    nodes = {n: g.node for n, g in zip(sample.floating, second, strict=True)}
    for name, expected in evaluate(nodes, sample.arrays).items():
        if name in found:
            close(found[name], expected, 1e-11)
        else:  # the leaf dropped out of the gradient: it was linear in it
            assert not expected.any()
