"""Small graphs that passes are tried on: formulas written by hand, gradients by `differentiate`."""

from __future__ import annotations

import numpy as np

import autodiffc.ops.functions  # noqa: F401  (fills the table of functions)
from autodiffc.differentiate.reverse import gradients, vjp
from autodiffc.graph.affine import Affine, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain
from autodiffc.graph.construct import compute, elementwise, leaf, reshape, view
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Scalar
from autodiffc.passes import fuse, gather, normalize, share, simplify, specialize
from tests.passes.brute import evaluate, numpy_dtype

PASSES = {f.__name__: f for f in (normalize, simplify, share, gather, fuse)}


def affine(rank: int, terms: dict[int, int], shift: int = 0) -> Affine:
    return Affine(tuple(terms.get(k, 0) for k in range(rank)), shift)


def conv(x: Node, w: Node, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1) -> Node:
    """y[n, g, o, i, j] over groups as an axis of their own, flattened to channels by the rows."""
    n, _, height, width = x.shape
    outputs, per_group, kh, kw = w.shape
    size = [
        (e + 2 * p - d * (k - 1) - 1) // s + 1
        for e, p, d, k, s in zip((height, width), padding, dilation, (kh, kw), stride, strict=True)
    ]
    each = outputs // groups
    rank = 8  # n g o i j c p q
    i = [index(rank, k) for k in range(rank)]
    rows = [
        affine(rank, {3: stride[0], 6: dilation[0]}, -padding[0]),
        affine(rank, {4: stride[1], 7: dilation[1]}, -padding[1]),
    ]
    guards = []
    for row, extent in zip(rows, (height, width), strict=True):
        guards += [row, -row + (extent - 1)]
    channel = affine(rank, {1: per_group, 5: 1})
    output = affine(rank, {1: each, 2: 1})
    formula = Comprehension(
        Domain((n, groups, each, *size, per_group, kh, kw), tuple(guards), tuple("ngoijcpq")),
        (i[0], output, i[3], i[4]),
        (Access(0, (i[0], channel, *rows)), Access(1, (output, i[5], i[6], i[7]))),
        Arg(0) * Arg(1),
        "sum",
    )
    return compute([x, w], [formula], (n, outputs, *size), label="conv2d")


def max_pool(x: Node, kernel: int, stride: int) -> Node:
    n, c, height, width = x.shape
    size = [(e - kernel) // stride + 1 for e in (height, width)]
    rank = 6  # n c i j p q
    i = [index(rank, k) for k in range(rank)]
    rows = (affine(rank, {2: stride, 4: 1}), affine(rank, {3: stride, 5: 1}))
    formula = Comprehension(
        Domain((n, c, *size, kernel, kernel), (), tuple("ncijpq")),
        tuple(i[:4]),
        (Access(0, (i[0], i[1], *rows)),),
        Arg(0),
        "max",
    )
    return compute([x], [formula], (n, c, *size), label="max_pool2d")


def linear(x: Node, w: Node, b: Node) -> Node:
    """x @ w.T + b."""
    i = [index(3, k) for k in range(3)]
    formula = Comprehension(
        Domain((x.shape[0], w.shape[0], x.shape[1]), (), ("n", "o", "c")),
        (i[0], i[1]),
        (Access(0, (i[0], i[2])), Access(1, (i[1], i[2]))),
        Arg(0) * Arg(1),
        "sum",
    )
    product = compute([x, w], [formula], (x.shape[0], w.shape[0]), label="linear")
    return elementwise("add", product, b)


def relu(x: Node) -> Node:
    return elementwise("relu", x)


def total(x: Node, body: Scalar | None = None) -> Node:
    """The sum of a body (by default the element itself) over all elements."""
    rank = len(x.shape)
    access = Access(0, tuple(index(rank, k) for k in range(rank)))
    formula = Comprehension(Domain(x.shape), (), (access,), body or Arg(0), "sum")
    return compute([x], [formula], (), label="sum")


def transpose(x: Node) -> Node:
    return view(x, x.shape[::-1], lambda i: i[::-1], label="transpose")


def lenet(batch: int = 2, size: int = 12) -> Graph:
    """LeNet-5's shape in small: conv, relu, pool twice, two linear layers; loss and gradients."""
    x = leaf("input", "x", (batch, 1, size, size), "real")
    w1, b1 = leaf("param", "w1", (2, 1, 3, 3), "real"), leaf("param", "b1", (2, 1, 1), "real")
    w2, b2 = leaf("param", "w2", (3, 2, 3, 3), "real"), leaf("param", "b2", (3, 1, 1), "real")
    h = max_pool(relu(elementwise("add", conv(x, w1, padding=(1, 1)), b1)), 2, 2)
    h = max_pool(relu(elementwise("add", conv(h, w2), b2)), 2, 2)
    features = int(np.prod(h.shape[1:]))
    flat = reshape(h, (batch, features))
    w3, b3 = leaf("param", "w3", (5, features), "real"), leaf("param", "b3", (5,), "real")
    w4, b4 = leaf("param", "w4", (4, 5), "real"), leaf("param", "b4", (4,), "real")
    logits = linear(relu(linear(flat, w3, b3)), w4, b4)
    loss = elementwise("mul", total(logits, Arg(0) * Arg(0)), 1.0 / (4 * batch))
    params = [w1, b1, w2, b2, w3, b3, w4, b4]
    found = gradients(loss, params)
    outputs = {"logits": logits, "loss": loss}
    return Graph(outputs | {f"d_{p.name}": g for p, g in zip(params, found, strict=True)})


def conv_gradients(x_shape, w_shape, **options) -> Graph:
    """A convolution and its two adjoints for a random cotangent."""
    x, w = leaf("input", "x", x_shape, "real"), leaf("param", "w", w_shape, "real")
    y = conv(x, w, **options)
    dy = leaf("input", "dy", y.shape, "real")
    dx, dw = vjp([y], [dy], [x, w])
    return Graph({"y": y, "dx": dx, "dw": dw})


def pool_gradients(shape, kernel: int, stride: int) -> Graph:
    x = leaf("input", "x", shape, "real")
    y = max_pool(relu(x), kernel, stride)
    dy = leaf("input", "dy", y.shape, "real")
    (dx,) = vjp([y], [dy], [x])
    return Graph({"y": y, "dx": dx})


def random_values(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = {}
    for node in graph.order:
        if node.op in ("input", "param", "state"):
            array = np.round(rng.normal(size=node.shape) * 4) / 4  # ties and zeros among them
            values[str(node.name)] = np.abs(array) if node.dtype != "real" else array
    return values


def assert_same(before: Graph, after: Graph, values: dict[str, np.ndarray]) -> None:
    assert_values(before, after, values, evaluate(before, values))


def assert_values(
    before: Graph, after: Graph, values: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> None:
    assert list(before.outputs) == list(after.outputs)
    found = evaluate(after, values)
    for name, array in expected.items():
        assert after.outputs[name].type == before.outputs[name].type
        assert found[name].dtype == numpy_dtype(before.outputs[name].dtype)
        np.testing.assert_allclose(found[name], array, rtol=1e-10, atol=1e-10, err_msg=name)


def check_all(graph: Graph, seed: int = 0) -> Graph:
    """Runs every pass alone and all after another; results must stay equal. Returns the last."""
    graph = specialize(graph, {}, "float64")
    values = random_values(graph, seed)
    expected = evaluate(graph, values)
    for one in PASSES.values():
        new = one(graph)
        if structure(new) != structure(graph):
            assert_values(graph, new, values, expected)
        assert structure(one(new)) == structure(new), f"{one.__name__} is not idempotent"
    result = graph
    for one in (*PASSES.values(), simplify, normalize, share):
        result = one(result)
    assert_values(graph, result, values, expected)
    return result


def structure(graph: Graph) -> list[object]:
    """All that a graph says, by value."""
    number = {node: k for k, node in enumerate(graph.order)}
    described: list[object] = [
        (n.op, tuple(number[i] for i in n.inputs), n.type, n.pieces, sorted(n.attrs), n.name)
        for n in graph.order
    ]
    return [*described, {name: number[node] for name, node in graph.outputs.items()}]
