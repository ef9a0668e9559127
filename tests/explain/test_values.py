"""What the table says is true: carried out row by row it gives what compiled code computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.differentiate.reverse import gradients
from autodiffc.dsl.files import load_model
from autodiffc.explain import derive
from autodiffc.graph.expression import Expression
from autodiffc.graph.types import is_float
from autodiffc.ops.registry import OPERATIONS, Sample, Tensor
from autodiffc.reference.interpreter import evaluate
from tests.explain.evaluation import Table

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = ["quiz", "chain", "logistic_regression", "two_layer", "own_formula", "filters", "lenet5"]


@pytest.mark.parametrize("name", NAMES)
def test_the_rows_give_the_compiled_gradients(name: str) -> None:
    model = load_model(EXAMPLES / f"{name}.py")
    rng = np.random.default_rng(7)
    dims = {dim.name: 3 for dim in model.dims}
    compiled = ad.compile(model, dims=dims, dtype="float64")
    inputs = {str(n.name): _drawn(n, dims, rng) for n in model.inputs}
    if model.params:
        compiled.init(seed=3)
    params = {str(n.name): np.array(compiled.params[str(n.name)]) for n in model.params}
    for value in params.values():
        value += rng.uniform(-0.2, 0.2, value.shape)  # biases and logistic weights start at zero
    for key, value in params.items():
        compiled.params[key][...] = value
    out, grads = compiled.value_and_grad(**inputs)
    table = Table(derive(model), {**inputs, **params}, dims)
    assert model.differentiate is not None
    for key in model.wrt:
        shown = table.named[f"d{model.outputs[model.differentiate].name}/d{key}"]
        np.testing.assert_allclose(shown, grads[key], rtol=1e-11, atol=1e-13)
    for key, node in model.outputs.items():
        np.testing.assert_allclose(table.named[str(node.name)], out[key], rtol=1e-11, atol=1e-13)


def _drawn(node: Any, dims: dict[str, int], rng: np.random.Generator) -> np.ndarray:
    shape = tuple(n if isinstance(n, int) else dims[str(n)] for n in node.shape)
    low, high = node.attrs["low"], node.attrs["high"]
    if is_float(node.dtype):
        return rng.uniform(-1 if low is None else low, 1 if high is None else high, shape)
    return rng.integers(low, high, shape).astype(node.dtype)


TAUGHT = [
    (name, sample)
    for name, operation in OPERATIONS.items()
    if operation.taught is not None
    for sample in operation.samples
]


def test_composites_with_guards_are_taught() -> None:
    assert {name for name, _ in TAUGHT} == {
        *("softmax", "log_softmax", "logsumexp", "cross_entropy"),
    }


@pytest.mark.parametrize(("name", "sample"), TAUGHT, ids=lambda v: str(v))
def test_taught_forms_equal_what_is_computed(name: str, sample: Sample) -> None:
    """Value, and gradient by each operand, of a random combination of the results."""
    rng = np.random.default_rng(11)
    given: dict[str, np.ndarray] = {}

    def as_input(t: Tensor) -> Expression:
        given[f"x{len(given)}"] = t.draw(rng) / (100.0 if t.dtype == "real" and t.high > 50 else 1)
        return ad.input(f"x{len(given) - 1}", t.shape, t.dtype)

    args, kwargs = sample.map(as_input)
    result = OPERATIONS[name].function(*args, **kwargs)
    weights = ad.constant(rng.uniform(0.5, 1.5, result.shape), dtype="float64")
    inputs = [a for a in args if isinstance(a, Expression) and is_float(a.dtype)]
    total = ad.sum(result * weights)
    model = ad.Model("m", {"total": total, "result": result}, "total", wrt=inputs)
    found = gradients(total.node, [x.node for x in inputs])
    keys = {f"d{x.node.name}": g for x, g in zip(inputs, found, strict=True)}
    expected = evaluate({"result": result.node, **keys}, given)
    derivation = derive(model)
    assert any("adjoint" in step.node.attrs for step in derivation.forward)
    table = Table(derivation, given, {})
    names = {key: str(node.name) for key, node in model.outputs.items()}
    np.testing.assert_allclose(table.named[names["result"]], expected["result"], rtol=1e-11)
    for x in inputs:
        shown = table.named[f"d{names['total']}/d{x.node.name}"]
        np.testing.assert_allclose(shown, expected[f"d{x.node.name}"], rtol=1e-9, atol=1e-12)


def test_rows_for_everything_a_formula_can_hold() -> None:
    """Broadcasts, ties, products, several pieces, a value that two rows read, squared sums."""
    x, w = ad.input("x", (4, 3)), ad.input("w", (3,))
    product = ad.prod(x + 2.0, axis=1)
    peak = ad.max(x, axis=0) - ad.mean(x, axis=0, keepdims=True)
    joined = ad.concat([x * w, peak], axis=0)
    spread = ad.var(joined, axis=0)
    logits = ad.softmax(joined, axis=0)
    loss = ad.sum(logits * spread) ** 2 + ad.sum(product) / 4 - ad.sum(ad.logsumexp(joined, 1))
    model = ad.Model("m", {"loss": loss}, "loss")
    rng = np.random.default_rng(5)
    given = {"x": np.round(rng.normal(size=(4, 3)), 1), "w": rng.normal(size=3)}
    given["x"][1] = given["x"][2]
    found = gradients(model.outputs["loss"], model.inputs)
    expected = evaluate({"dx": found[0], "dw": found[1]}, given)
    table = Table(derive(model), given, {})
    for key in ("x", "w"):
        np.testing.assert_allclose(table.named[f"dloss/d{key}"], expected[f"d{key}"], rtol=1e-9)


def test_a_composite_whose_parts_are_read_elsewhere() -> None:
    """The gradient of a softmax reads its exponentials, which are no softmax."""
    x = ad.input("x", (3,))
    slope = ad.grad(ad.sum(ad.softmax(x) ** 2), x)
    model = ad.Model("m", {"loss": ad.sum(slope**2)}, "loss")
    given = {"x": np.array([0.3, -0.4, 1.1])}
    expected = evaluate({"dx": gradients(model.outputs["loss"], model.inputs)[0]}, given)
    table = Table(derive(model), given, {})
    np.testing.assert_allclose(table.named["dloss/dx"], expected["dx"], rtol=1e-10)
