"""Random formulas and their adjoints: a pass keeps values, and does nothing when run twice."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autodiffc.differentiate.reverse import fill, gradients, vjp
from autodiffc.graph.affine import Affine, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain
from autodiffc.graph.construct import compute, elementwise, leaf, reshape, stop_gradient, view
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Cast, Index, Scalar, call, select
from tests.passes.samples import check_all, conv_gradients, pool_gradients, relu, total, transpose

quick = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def rows(draw: st.DrawFn, extents: tuple[int, ...], axes: int) -> tuple[list[Affine], list[int]]:
    """Random affine rows that stay in range, and the shape they just fit into."""
    found, shape = [], []
    for _ in range(axes):
        coefficients = [0] * len(extents)
        for k in draw(st.lists(st.integers(0, len(extents) - 1), max_size=3)):
            coefficients[k] = draw(st.integers(-2, 3))
        low, high = Affine(tuple(coefficients)).bounds(extents)
        margin = draw(st.integers(0, 1))
        found.append(Affine(tuple(coefficients), margin - low))
        shape.append(high - low + 1 + margin)
    return found, shape


BODIES = (
    lambda a, b: a * b,
    lambda a, b: a * b + a,
    lambda a, b: select(call("gt", a, 0.0), b, 0.0),
    lambda a, b: a * select(call("gt", b, 0.0), 1.0, 0.0),
    lambda a, b: call("sin", a) * 2.0 - -b,
    lambda a, b: a - b * Cast("real", Index(0)),
    lambda a, b: -(a / 4.0),
)


@st.composite
def sums(draw: st.DrawFn) -> Graph:
    """`y[O(i)] += f(a[A(i)], b[B(i)])` over a guarded box, and its adjoints."""
    extents = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    a_rows, a_shape = draw(rows(extents, draw(st.integers(1, 2))))
    b_rows, b_shape = draw(rows(extents, draw(st.integers(0, 2))))
    out, shape = draw(rows(extents, draw(st.integers(0, 3))))
    guards = []
    for _ in range(draw(st.integers(0, 2))):
        (guard,), (size,) = draw(rows(extents, 1))
        guards.append(guard - draw(st.integers(0, max(0, size - 1))))
    a, b = leaf("input", "a", tuple(a_shape), "real"), leaf("input", "b", tuple(b_shape), "real")
    body: Scalar = draw(st.sampled_from(BODIES))(Arg(0), Arg(1))
    formula = Comprehension(
        Domain(extents, tuple(guards)),
        tuple(out),
        (Access(0, tuple(a_rows)), Access(1, tuple(b_rows))),
        body,
        "sum",
    )
    y = compute([a, b], [formula], tuple(shape), label="y")
    dy = leaf("input", "dy", y.shape, "real")
    da, db = vjp([y], [dy], [a, b])
    tail = draw(st.sampled_from([None, "relu", "sin", "neg"]))
    z = y if tail is None else elementwise(tail, elementwise("add", y, dy))
    return Graph({"z": z, "da": da, "db": db})


@given(sums(), st.integers(0, 9))
@quick
def test_random_sums_and_their_adjoints(graph: Graph, seed: int) -> None:
    check_all(graph, seed)


@st.composite
def reductions(draw: st.DrawFn) -> Graph:
    """Each combiner over some of the indices, in any order, with axes of extent 1 among them."""
    extents = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    indices = draw(st.permutations(range(len(extents))))
    kept = indices[: draw(st.integers(0, len(extents)))]
    combine = draw(st.sampled_from(["sum", "prod", "max", "min", "argmax", "argmin"]))
    a_rows, a_shape = draw(rows(extents, 2))
    guards = []
    if combine in ("sum", "prod"):
        (guard,), (size,) = draw(rows(extents, 1))
        guards.append(guard - draw(st.integers(0, size)))
    x = leaf("input", "x", tuple(a_shape), "real")
    rank = len(extents)
    out = tuple(index(rank, k) for k in kept)
    formula = Comprehension(
        Domain(extents, tuple(guards)), out, (Access(0, tuple(a_rows)),), Arg(0) * 0.5, combine
    )
    y = compute([x], [formula], tuple(extents[k] for k in kept), label=combine)
    return Graph({"y": y, "z": elementwise("mul", elementwise("add", y, 1), y)})


@given(reductions(), st.integers(0, 9))
@settings(parent=quick, max_examples=100)
def test_every_combiner(graph: Graph, seed: int) -> None:
    check_all(graph, seed)


@st.composite
def convolutions(draw: st.DrawFn) -> Graph:
    groups = draw(st.integers(1, 2))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    options = {
        name: (draw(st.integers(low, high)), draw(st.integers(low, high)))
        for name, low, high in (("stride", 1, 3), ("dilation", 1, 3), ("padding", 0, 2))
    }
    least = [
        max(1, d * (k - 1) + 1 - 2 * p)
        for k, d, p in zip(kernel, options["dilation"], options["padding"], strict=True)
    ]
    size = [e + draw(st.integers(0, 3)) for e in least]
    return conv_gradients((1, groups, *size), (groups, 1, *kernel), groups=groups, **options)


@given(convolutions(), st.integers(0, 9))
@quick
def test_convolutions_and_their_adjoints(graph: Graph, seed: int) -> None:
    result = check_all(graph, seed)
    assert all("scatter" not in node.attrs for node in result.order)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(5, 3, 1), (6, 3, 2), (7, 2, 3), (4, 2, 2)])
def test_pools_and_their_adjoints(size: int, kernel: int, stride: int) -> None:
    result = check_all(pool_gradients((1, 2, size, size), kernel, stride))
    assert all("scatter" not in node.attrs for node in result.order)


def reading(x: Node, coefficients: list[tuple[int, ...]], extents: tuple[int, ...]) -> Graph:
    """`y[i] = Σ x[i…]` for given rows, squared into a loss, with the gradient."""
    formula = Comprehension(
        Domain(extents),
        (index(len(extents), 0),),
        (Access(0, tuple(Affine(c[:-1], c[-1]) for c in coefficients)),),
        Arg(0),
        "sum",
    )
    y = compute([x], [formula], extents[:1], label="reading")
    loss = total(y, Arg(0) * Arg(0))
    return Graph({"y": y, "dx": gradients(loss, [x])[0]})


@pytest.mark.parametrize(
    ("shape", "coefficients", "extents"),
    [
        ((4, 4), [(1, 0), (1, 0)], (4,)),  # the diagonal
        ((7,), [(1, 1, 0)], (4, 4)),  # a sliding window
        ((7,), [(1, -1, 3)], (4, 4)),  # a skew one
        ((9, 9), [(1, 1, 0), (1, -1, 4)], (5, 5)),  # two skew rows
        ((10,), [(3, 0)], (4,)),  # every third
        ((8,), [(-2, 7)], (4,)),  # backwards
        ((12,), [(4, 2, 0)], (3, 2)),  # stride with dilation
        ((12,), [(2, 3, 0)], (4, 2)),
        ((9,), [(2, 2, 0)], (3, 2)),  # only even elements are read
        ((20,), [(2, 3, 4, 0)], (3, 2, 2)),
    ],
)
def test_readings_and_their_adjoints(shape, coefficients, extents) -> None:
    check_all(reading(leaf("input", "x", shape, "real"), coefficients, extents))


@st.composite
def chains(draw: st.DrawFn) -> Graph:
    """Elementwise operations, views and reductions, one after the other, some values reused."""
    x, y = leaf("input", "x", (3, 4), "real"), leaf("input", "y", (4,), "real")
    values = [elementwise("mul", x, y)]
    for _ in range(draw(st.integers(1, 7))):
        a = draw(st.sampled_from(values))
        values.append(draw(st.sampled_from(STEPS))(a, draw(st.sampled_from(values))))
    kept = draw(st.sets(st.sampled_from(values), max_size=2))
    outputs = {f"v{k}": v for k, v in enumerate(dict.fromkeys([values[-1], *kept]))}
    return Graph(dict(sorted(outputs.items())))


def _fit(a: Node, b: Node) -> tuple[Node, Node]:
    return (a, b) if a.shape == b.shape else (a, a)


STEPS = (
    lambda a, b: relu(a),
    lambda a, b: elementwise("add", *_fit(a, b)),
    lambda a, b: elementwise("mul", *_fit(a, b)),
    lambda a, b: elementwise("mul", a, 0.5),
    lambda a, b: elementwise("exp", elementwise("minimum", a, 1.0)),
    lambda a, b: elementwise("where", elementwise("gt", a, 0.0), *_fit(a, b)),
    lambda a, b: transpose(a),
    lambda a, b: view(a, a.shape, lambda i: (*i[:-1], -i[-1] + (a.shape[-1] - 1)), label="flip"),
    lambda a, b: reshape(a, (2, 6)),
    lambda a, b: reshape(a, (3, 4)),
    lambda a, b: elementwise("add", a, total(b)),
    lambda a, b: elementwise("mul", a, fill(a, 0.0)),
    lambda a, b: elementwise("mul", fill(a, 1.0), elementwise("neg", a)),
    lambda a, b: elementwise("sub", a, stop_gradient(b) if a.shape == b.shape else a),
)


@given(chains(), st.integers(0, 9))
@settings(parent=quick, max_examples=100)
def test_random_chains(graph: Graph, seed: int) -> None:
    check_all(graph, seed)
