"""The walk backwards: what takes part, in which order, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.differentiate import gradients, vjp
from autodiffc.errors import ArgumentTypeError, DifferentiationError, DtypeError
from autodiffc.graph.construct import elementwise, leaf
from autodiffc.graph.dag import ancestors
from autodiffc.graph.expression import Expression
from autodiffc.graph.functions import FUNCTIONS, Function
from autodiffc.graph.node import Node
from autodiffc.reference import evaluate
from tests.differentiate.finite import inputs, value

X = np.array([0.5, -1.0, 2.0])


def test_vjp_of_several_outputs() -> None:
    x, y = inputs(x=X, y=X)
    outputs = [(x * y).node, ad.exp(x).node]
    cotangents = [leaf("input", n, (3,), "real") for n in ("p", "q")]
    dx, dy = vjp(outputs, cotangents, [x.node, y.node])
    arrays = {"x": X, "y": X + 1, "p": X - 1, "q": 2 * X}
    got = evaluate({"dx": dx, "dy": dy}, arrays)
    np.testing.assert_allclose(got["dx"], arrays["p"] * arrays["y"] + arrays["q"] * np.exp(X))
    np.testing.assert_allclose(got["dy"], arrays["p"] * X)


def test_one_output_twice_counts_twice() -> None:
    (x,) = inputs(x=X)
    y = ad.sin(x).node
    one = [leaf("input", n, (3,), "real") for n in ("p", "q")]
    (dx,) = vjp([y, y], one, [x.node])
    got = evaluate({"dx": dx}, {"x": X, "p": X, "q": X})["dx"]
    np.testing.assert_allclose(got, 2 * X * np.cos(X))


def test_intermediates_have_gradients() -> None:
    (x,) = inputs(x=X)
    t = x * x
    y = ad.sum(ad.sin(t) * x)
    dt, dx = ad.grad(y, [t, x])
    np.testing.assert_allclose(value(dt, {"x": X}), np.cos(X**2) * X)
    total = np.cos(X**2) * X * 2 * X + np.sin(X**2)
    np.testing.assert_allclose(value(dx, {"x": X}), total)


def test_the_gradient_by_itself_is_one() -> None:
    x = ad.input("x")
    assert value(ad.grad(x, x), {"x": np.array(3.0)}) == 1


def test_vjp_gives_zeros_for_what_no_path_leads_to() -> None:
    """So the parameters of another head take part in a model; `ad.grad` refuses them."""
    x, y = inputs(x=X, y=np.ones((2, 3)))
    dx, dy = gradients(ad.sum(x).node, [x.node, y.node])
    got = evaluate({"dx": dx, "dy": dy}, {"x": X})
    assert got["dx"].tolist() == [1, 1, 1]
    assert got["dy"].tolist() == np.zeros((2, 3)).tolist()


def test_only_paths_between_are_walked() -> None:
    x, y = inputs(x=X, y=X)
    (dx,) = gradients(ad.sum(ad.sin(x) + ad.exp(y)).node, [x.node])
    assert not any(n.name == "y" for n in ancestors([dx]))


def test_reshape_chains_go_back_the_way_they_came() -> None:
    (x,) = inputs(x=np.ones((2, 6)))
    y = ad.reshape(ad.reshape(x, (3, 4)), (12,))
    weights = np.arange(12.0)
    dx = ad.grad(ad.sum(y * ad.constant(weights)), x)
    assert value(dx, {"x": np.ones((2, 6))}).tolist() == weights.reshape(2, 6).tolist()


def test_named_dims_stay_open() -> None:
    batch = ad.dim("batch", 4)
    x = ad.input("x", (batch, 3))
    dx = ad.grad(ad.sum(ad.exp(ad.max(x, axis=0)) * ad.prod(x, axis=1)[0]), x)
    assert dx.shape == (batch, 3)
    for rows in (2, 5):
        assert value(dx, {"x": np.ones((rows, 3))}).shape == (rows, 3)
    image = ad.input("i", (batch, 1, 4, 4))
    pooled = ad.grad(ad.sum(ad.max_pool2d(image, 2)), image)
    assert value(pooled, {"i": np.ones((5, 1, 4, 4))}).sum() == 5 * 4


def test_deep_graphs_need_no_recursion() -> None:
    x = ad.input("x")
    y = x.node
    for _ in range(3000):
        y = elementwise("sin", y)
    (dx,) = gradients(y, [x.node])
    t, slope = 0.5, 1.0
    for _ in range(3000):
        t, slope = np.sin(t), slope * np.cos(t)
    assert evaluate({"dx": dx}, {"x": np.array(0.5)})["dx"] == pytest.approx(slope, rel=1e-12)


def test_the_backward_graph_is_the_same_in_every_run() -> None:
    def shape_of_graph() -> list[object]:
        x, w = inputs(x=np.ones((2, 3)), w=np.ones((3, 3)))
        y = ad.sum(ad.tanh(x @ w) @ w + x)
        nodes = ancestors(gradients(y.node, [x.node, w.node]))
        place = {n: k for k, n in enumerate(nodes)}
        return [(n.op, n.label, n.pieces, tuple(place[i] for i in n.inputs)) for n in nodes]

    assert shape_of_graph() == shape_of_graph()


def test_backward_nodes_point_at_the_forward_line() -> None:
    (x,) = inputs(x=X)
    t = ad.sin(x)
    u = t * x + x
    forward = {n.loc for n in ancestors([ad.sum(u).node])}
    for node in ancestors(gradients(ad.sum(u).node, [x.node])):
        if node.label not in ("sum", "ones"):
            assert node.loc is not None
            assert node.loc.line in {loc.line for loc in forward if loc} or "ad.sum(u)" in str(
                node.loc.excerpt()
            )


# --- Refusals ---


def test_only_scalars_are_differentiated() -> None:
    (x,) = inputs(x=X)
    with pytest.raises(DifferentiationError) as caught:
        ad.grad(x * 2, x)
    text = str(caught.value)
    assert "(3,)" in text
    assert "ad.mean(...) or ad.sum(...)" in text
    assert "x * 2" in text


def test_integers_have_no_gradient() -> None:
    labels = ad.input("labels", (3,), "int32", low=0, high=3)
    (x,) = inputs(x=X)
    with pytest.raises(DtypeError, match="must be floating"):
        ad.grad(ad.sum(x * labels), labels)
    with pytest.raises(DtypeError, match="must be floating"):
        ad.grad(ad.sum(labels), x)


@pytest.mark.parametrize("wrong", [3.0, "x", None, [1.0]])
def test_grad_takes_expressions(wrong: object) -> None:
    (x,) = inputs(x=X)
    with pytest.raises(ArgumentTypeError, match="grad takes expressions"):
        ad.grad(ad.sum(x), wrong)  # type: ignore[call-overload]
    with pytest.raises(ArgumentTypeError, match="grad takes expressions"):
        ad.grad(1.0, x)  # type: ignore[call-overload]


def test_cotangents_must_fit() -> None:
    (x,) = inputs(x=X)
    with pytest.raises(DifferentiationError, match="its output's shape and dtype") as caught:
        vjp([x.node], [leaf("input", "p", (2,), "real")], [x.node])
    assert "real(2,)" in str(caught.value)
    with pytest.raises(DifferentiationError, match="its output's shape and dtype"):
        vjp([x.node], [leaf("input", "p", (3,), "float32")], [x.node])


def test_an_operation_without_a_derivative_is_named_with_its_line() -> None:
    x = leaf("input", "x", (), "real")
    mystery = Node("mystery", (x,), x.type, label="mystery_op", loc=elementwise("sin", x).loc)
    with pytest.raises(DifferentiationError, match="mystery_op has no derivative") as caught:
        gradients(mystery, [x])
    assert caught.value.loc is not None
    assert caught.value.loc.file == __file__
    other = leaf("input", "z", (), "real")
    (dz,) = gradients(elementwise("mul", mystery, other), [other])  # not on the path: no matter
    assert mystery in ancestors([dz])


@pytest.mark.parametrize(
    ("operation", "label"),
    [
        (lambda x: ad.argmax(x, axis=0), "argmax"),
        (lambda x: x > 0.5, "gt"),
        (lambda x: ad.stop_gradient(x), "stop_gradient"),
        (lambda x: ad.astype(x, "int32"), "astype"),
    ],
)
def test_the_operation_that_cuts_a_gradient_off_is_named_with_its_line(
    operation: Callable[[Expression], Expression], label: str
) -> None:
    x = ad.input("x", (3,))
    cut = operation(ad.exp(x))
    y = ad.sum(ad.astype(cut, "float64") * 2)
    with pytest.raises(DifferentiationError, match="does not depend on input 'x'") as caught:
        ad.grad(y, x)
    message = str(caught.value)
    assert f"read by {cut.node!r} at {cut.node.loc}, which has no derivative" in message
    assert label in repr(cut.node)


def test_a_function_without_a_derivative_is_named_with_its_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unknown = Function("opaque", 1, "float", lambda x: x, operator="({0})")
    monkeypatch.setitem(FUNCTIONS, "opaque", unknown)
    x = leaf("input", "x", (), "real")
    y = elementwise("opaque", x)
    with pytest.raises(DifferentiationError, match="opaque has no derivative") as caught:
        gradients(y, [x])
    assert caught.value.loc == y.loc
    assert 'elementwise("opaque", x)' in str(caught.value)
