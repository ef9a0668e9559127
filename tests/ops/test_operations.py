"""Every operation of the registry against its independent reference, and whether it has one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from autodiffc.graph.construct import leaf
from autodiffc.graph.expression import Expression
from autodiffc.ops.registry import OPERATIONS, Operation, Sample, Tensor, operation
from autodiffc.reference.interpreter import evaluate

CASES = [
    pytest.param(op, sample, id=f"{op.name}({sample})")
    for op in OPERATIONS.values()
    for sample in op.samples
]


def symbolic_and_numeric(case: Sample, seed: int = 0) -> tuple[Any, Any, dict[str, np.ndarray]]:
    """The sample's arguments as expressions and as arrays, and the arrays by leaf name."""
    rng = np.random.default_rng(seed)
    env: dict[str, np.ndarray] = {}
    made: dict[int, np.ndarray] = {}
    order: list[np.ndarray] = []

    def draw(spec: Tensor) -> np.ndarray:
        order.append(spec.draw(rng))
        return order[-1]

    numeric = case.map(draw)
    remaining = iter(order)

    def expression(spec: Tensor) -> Expression:
        name = f"x{len(env)}"
        env[name] = next(remaining)
        made[id(env[name])] = env[name]
        return Expression(leaf("input", name, spec.shape, spec.dtype))

    return case.map(expression), numeric, env


def run(results: Any, env: dict[str, np.ndarray]) -> list[np.ndarray]:
    listed = results if isinstance(results, list | tuple) else [results]
    nodes = {f"y{k}": r.node for k, r in enumerate(listed)}
    values = evaluate(nodes, env, dtype="float64")
    for name, node in nodes.items():
        assert values[name].shape == node.shape
        expected = "float64" if node.dtype == "real" else node.dtype
        assert str(values[name].dtype) == expected
    return list(values.values())


@pytest.mark.parametrize(("op", "case"), CASES)
def test_operation_equals_its_reference(op: Operation, case: Sample) -> None:
    (args, kwargs), (arrays, keywords), env = symbolic_and_numeric(case)
    got = run(op.function(*args, **kwargs), env)
    with np.errstate(all="ignore"):
        expected = op.reference(*arrays, **keywords)
    expected = expected if isinstance(expected, list | tuple) else [expected]
    assert len(got) == len(expected)
    for value, truth in zip(got, expected, strict=True):
        np.testing.assert_allclose(value, truth, rtol=1e-12, atol=1e-13)
        assert value.shape == np.shape(truth)


@pytest.mark.parametrize("op", OPERATIONS.values(), ids=lambda op: op.name)
def test_operation_has_every_part(op: Operation) -> None:
    assert op.doc, "an operation is documented"
    assert op.samples, "an operation has samples"
    assert callable(op.reference)
    assert op.signature.startswith(op.name)
    nodes = op.function(*symbolic_and_numeric(op.samples[0])[0][0], **op.samples[0].map(_leaf)[1])
    first = nodes[0] if isinstance(nodes, list | tuple) else nodes
    assert isinstance(first, Expression)


def _leaf(spec: Tensor) -> Expression:
    return Expression(leaf("input", "k", spec.shape, spec.dtype))


def test_nodes_carry_the_name_of_the_operation() -> None:
    x = Expression(leaf("input", "x", (2, 3), "real"))
    y = OPERATIONS["softmax"].function(x).node
    assert y.label == "softmax"
    assert y.loc is not None
    assert y.loc.file == __file__


def test_an_operation_is_declared_once() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        operation(reference=np.sum, samples=[], name="sum")(lambda x: x)


def test_references_do_not_call_the_operation() -> None:
    """A reference over NumPy arrays returns arrays: it shares no code with the formula."""
    for op in OPERATIONS.values():
        args, kwargs = op.samples[0].map(lambda t: t.draw(np.random.default_rng(1)))
        with np.errstate(all="ignore"):
            result = op.reference(*args, **kwargs)
        for value in result if isinstance(result, list | tuple) else [result]:
            assert isinstance(value, np.ndarray | np.generic | float | int), op.name
    assert math.isclose(float(OPERATIONS["sum"].reference(np.ones(3))), 3.0)
