"""Calls of subgraphs: their value, their gradients, what inlining leaves, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.errors import ArgumentTypeError, NameNotFoundError, VerificationError
from autodiffc.graph.construct import call_graph, leaf
from autodiffc.graph.dag import Graph
from autodiffc.graph.expression import Expression
from autodiffc.graph.node import Node, renew
from autodiffc.graph.verify import verify
from autodiffc.passes import inline
from autodiffc.reference import evaluate
from tests.harness import Case, compile_cases

SHAPE = (3,)
ARRAYS = {"a": np.array([0.5, -1.2, 2.0]), "b": np.array([1.5, 0.3, -0.7])}


def product_graph() -> Graph:
    """u -> sin(u) * v, and a second output that calls do not want."""
    u, v = ad.input("u", SHAPE), ad.input("v", SHAPE)
    return Graph({"y": (ad.sin(u) * v).node, "unused": ad.exp(v).node})


def nested_graph(inner: Graph) -> Graph:
    """Calls `inner` twice, once on the result of the other call."""
    u, v = leaf("input", "u", SHAPE, "real"), leaf("input", "v", SHAPE, "real")
    once = call_graph(inner, "y", {"u": u, "v": v})
    twice = call_graph(inner, "y", {"u": once, "v": u})
    return Graph({"y": (Expression(twice) + Expression(v)).node})


def called(graph: Graph, u: Expression, v: Expression) -> Expression:
    return Expression(call_graph(graph, "y", {"u": u.node, "v": v.node}))


def with_calls(a: Expression, b: Expression) -> Expression:
    """One subgraph under calls of depth one and two, with an input in two places."""
    inner = product_graph()
    outer = nested_graph(inner)
    return ad.sum(called(outer, a, b) * called(inner, b, b) + called(outer, b, ad.exp(a)))


def written_out(a: Expression, b: Expression) -> Expression:
    def inner(u: Any, v: Any) -> Any:
        return ad.sin(u) * v

    def outer(u: Any, v: Any) -> Any:
        return inner(inner(u, v), u) + v

    return ad.sum(outer(a, b) * inner(b, b) + outer(b, ad.exp(a)))


def both() -> tuple[list[Node], list[Node]]:
    """Value, gradients, and a gradient of a gradient: with calls, and written out."""
    found = []
    for build in (with_calls, written_out):
        a, b = ad.input("a", SHAPE), ad.input("b", SHAPE)
        y = build(a, b)
        first = ad.grad(y, [a, b])
        second = ad.grad(ad.sum(first[0] * first[1]), [a, b])
        found.append([e.node for e in (y, *first, *second)])
    return found[0], found[1]


def named(nodes: list[Node]) -> dict[str, Node]:
    return {f"r{k}": node for k, node in enumerate(nodes)}


def test_value_and_gradients_are_those_of_the_formulas_written_out() -> None:
    calls, formulas = (named(nodes) for nodes in both())
    verify(Graph(calls))
    assert any(n.op == "call" for n in Graph(calls).order)
    expected = evaluate(formulas, ARRAYS)
    for nodes in (calls, inline(Graph(calls)).outputs):
        for name, value in evaluate(nodes, ARRAYS).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-13)


def test_inlining_leaves_no_call_and_keeps_the_grammar() -> None:
    graph = inline(Graph(named(both()[0])))
    assert all(n.op != "call" and n.subgraph is None for n in graph.order)
    verify(graph, "inline")


def test_calls_compile() -> None:
    _, formulas = both()
    a, b = ad.input("a", SHAPE), ad.input("b", SHAPE)
    model = ad.Model("calls", {"y": with_calls(a, b)}, differentiate="y")
    program = compile_cases([Case("calls", model)], library="calls")["calls"]
    out, grads = program.value_and_grad(**ARRAYS)
    expected = evaluate(named(formulas), ARRAYS)
    np.testing.assert_allclose(out["y"], expected["r0"], rtol=1e-13)
    np.testing.assert_allclose(grads["a"], expected["r1"], rtol=1e-13)
    np.testing.assert_allclose(grads["b"], expected["r2"], rtol=1e-13)


def test_dims_of_a_subgraph_are_those_of_its_call() -> None:
    n = ad.dim("n", 3)
    u = ad.input("u", (n,))
    graph = Graph({"y": ad.mean(u * u).node})
    x = ad.input("x", (n,))
    y = call_graph(graph, "y", {"u": x.node})
    value = evaluate({"y": y}, {"x": np.arange(5.0)})["y"]
    assert value == np.mean(np.arange(5.0) ** 2)


def test_an_input_that_the_output_does_not_use_has_no_gradient() -> None:
    u, v = ad.input("u", SHAPE), ad.input("v", SHAPE)
    graph = Graph({"y": (u * 2).node, "z": v.node})
    a, b = ad.input("a", SHAPE), ad.input("b", SHAPE)
    y = ad.sum(called(graph, a, b))
    with pytest.raises(ad.AutodiffcError, match="does not depend on input 'b'"):
        ad.grad(y, b)
    grads = evaluate({"a": ad.grad(y, a).node}, ARRAYS)
    np.testing.assert_array_equal(grads["a"], np.full(SHAPE, 2.0))


def test_calls_that_do_not_fit_are_refused() -> None:
    graph, a = product_graph(), leaf("input", "a", SHAPE, "real")
    with pytest.raises(ArgumentTypeError, match="a node for each of its inputs"):
        call_graph(graph, "y", {"u": a})
    with pytest.raises(ArgumentTypeError, match="of the input's type"):
        call_graph(graph, "y", {"u": a, "v": leaf("input", "b", (4,), "real")})
    with pytest.raises(NameNotFoundError, match="no such output"):
        call_graph(graph, "x", {"u": a, "v": a})
    with pytest.raises(ArgumentTypeError) as error:
        call_graph(Graph({"y": ad.param("w", SHAPE).node}), "y", {})
    assert error.value.help == "parameters and states enter it as inputs"


def test_verify_refuses_broken_calls() -> None:
    a = leaf("input", "a", SHAPE, "real")
    good = call_graph(product_graph(), "y", {"u": a, "v": a})
    other = leaf("input", "b", (4,), "real")
    broken = {
        "subgraphs belong to calls": [renew(good, subgraph=None), renew(a, subgraph=good.subgraph)],
        "its output's type": [renew(good, attrs={**good.attrs, "output": "x"})],
        "a name for each input": [renew(good, inputs=(a,))],
        "takes its graph's inputs": [renew(good, inputs=(a, other))],
    }
    for message, nodes in broken.items():
        for node in nodes:
            with pytest.raises(VerificationError, match=message):
                verify(Graph({"y": node}))
    with pytest.raises(VerificationError, match="not inlined"):
        verify(Graph({"y": good}), "inline")


def test_verify_looks_into_subgraphs() -> None:
    graph = product_graph()
    wrong = renew(graph.outputs["y"], type=leaf("input", "b", SHAPE, "int32").type)
    x = leaf("input", "x", SHAPE, "real")
    call = call_graph(Graph({"y": wrong}), "y", {"u": x, "v": x})
    with pytest.raises(VerificationError, match="another type than the node"):
        verify(Graph({"y": call}))
