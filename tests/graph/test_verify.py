"""Every rule of `verify`, violated once: the message names the node, the formula and the rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import autodiffc.ops.functions  # noqa: F401 - fills the table of functions
from autodiffc.errors import VerificationError
from autodiffc.graph.affine import Affine, constant, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Indirect
from autodiffc.graph.construct import (
    check_index,
    compute,
    constant_node,
    elementwise,
    leaf,
    reshape,
    stop_gradient,
    view,
)
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import dim
from autodiffc.graph.inequalities import ANY_SIZE, Ranges
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, Cast, Const, Index, Scalar, Size, call, const
from autodiffc.graph.types import TensorType
from autodiffc.graph.verify import verify

i, k = identity(2)
N = dim("n", 4)

X = leaf("input", "x", (4, 5), "real")
FLAGS = leaf("input", "flags", (4, 5), "bool")
IDS = leaf("input", "ids", (4,), "int32")
TABLE = leaf("param", "table", (7,), "real")
DOMAIN = Domain((4, 5), (), ("i", "k"))
TOTAL = Comprehension(DOMAIN, (i,), (Access(0, (i, k)),), Arg(0), "sum")


def total(node: Node = X, shape: tuple[Any, ...] = (4,), **changes: Any) -> Node:
    """y[i] = sum_k x[i, k], with the formula changed."""
    return renew(compute([node], [TOTAL], shape), pieces=(replace(TOTAL, **changes),))


def search() -> Node:
    """y[i] = argmax_k x[i, k]."""
    return compute([X], [replace(TOTAL, combine="argmax")], (4,))


def finished(finish: Scalar, *operands: Access) -> Node:
    return total(finish=finish, finish_operands=operands)


def looked_up(ids: Node, table: Node = TABLE, rows: tuple[Affine, ...] = (index(1, 0),)) -> Node:
    formula = Comprehension(
        Domain((4,)), (index(1, 0),), (Access(1, (Indirect(0, rows),)),), Arg(0)
    )
    return compute([ids, table], [formula], (4,))


def raw(op: str, *inputs: Node, shape: tuple[Any, ...] = (4,), dtype: str = "real", **rest: Any):
    return Node(op, inputs, TensorType(shape, dtype), **rest)


def extended(affine: Affine) -> Affine:
    return Affine((*affine.coefficients, 0), affine.constant)


def fails(node: Node, stage: str = "graph", ranges: Ranges = ANY_SIZE) -> str:
    with pytest.raises(VerificationError) as caught:
        verify(Graph({"y": node}), stage, ranges)
    return str(caught.value)


# --- What is right passes ---


@pytest.mark.parametrize(
    "node",
    [
        X,
        total(),
        search(),
        finished(Arg(0) * 2.0),
        finished(Arg(0) * Arg(1), Access(0, (i, constant(2, 4)))),
        finished(Arg(0) * Cast("real", Index(0))),
        looked_up(check_index(IDS, 7)),
        looked_up(check_index(IDS, 5)),
        looked_up(reshape(check_index(reshape(IDS, (2, 2)), 7), (4,))),
        looked_up(stop_gradient(check_index(IDS, 7))),
        looked_up(view(check_index(IDS, 7), (4,), lambda r: (-r[0] + 3,), label="flip")),
        constant_node(np.ones((2, 3)), "real"),
        elementwise("add", X, 1.0),
        total(leaf("input", "open", (N, 5), "real"), (N,), domain=Domain((N, 5))),
        total(combine="prod"),
    ],
)
def test_right_graphs_pass(node: Node) -> None:
    verify(Graph({"y": node}))


# --- Nodes ---

NODE_RULES: list[tuple[Node, str]] = [
    (raw("quicksort", X), "unknown operation"),
    (raw("compute", X), "formulas belong to compute nodes"),
    (raw("stop_gradient", X, pieces=(TOTAL,)), "formulas belong to compute nodes"),
    (raw("stop_gradient"), "wrong number of inputs"),
    (raw("input", X, name="x"), "wrong number of inputs"),
    (raw("input", shape=(-1,), name="x"), "negative extent"),
    (raw("param"), "a leaf needs a name"),
    (raw("constant", attrs={"value": np.ones(3)}), "a constant needs a value of its shape"),
    (raw("constant"), "a constant needs a value of its shape"),
    (raw("reshape", X, shape=(21,)), "reshape keeps the elements"),
    (raw("reshape", X, shape=(20,), dtype="float32"), "reshape keeps the elements"),
    (raw("stop_gradient", X), "stop_gradient keeps its type"),
    (raw("check_index", X, shape=(4, 5), attrs={"extent": 3}), "an index is an integer"),
    (raw("check_index", IDS, dtype="int32"), "check_index needs an extent"),
]


@pytest.mark.parametrize(("node", "message"), NODE_RULES, ids=[m for _, m in NODE_RULES])
def test_rules_of_nodes(node: Node, message: str) -> None:
    assert message in fails(node)


# --- Formulas ---

PIECE_RULES: list[tuple[Callable[[], Node], str]] = [
    (lambda: total(combine="median"), "unknown combiner"),
    (lambda: renew(search(), type=TensorType((4,), "int64")), "a position is an int32"),
    (lambda: total(domain=Domain((4, -5))), "negative extent"),
    (lambda: total(domain=Domain((4, 5), (), ("i",))), "a name for every index"),
    (lambda: total(domain=Domain((4, 5), (index(3, 0),))), "a guard over the domain's indices"),
    (lambda: total(operands=(Access(1, (i, k)),)), "reads an input that is not there"),
    (lambda: total(operands=(Access(-1, (i, k)),)), "reads an input that is not there"),
    (lambda: total(operands=(Access(0, (i,)),)), "operand 0 needs a row for every axis"),
    (lambda: total(out=(i, constant(2, 0))), "the output needs a row for every axis"),
    (
        lambda: total(operands=(Access(0, (i, extended(k))),)),
        "operand 0 is addressed over other indices",
    ),
    (lambda: total(body=Arg(1)), "the body reads an operand that is not there"),
    (lambda: total(body=Arg(-1)), "the body reads an operand that is not there"),
    (lambda: total(body=Arg(0) * Cast("real", Index(-1))), "the body uses an index"),
    (lambda: total(body=Arg(0) * Cast("real", Index(2))), "the body uses an index"),
    (lambda: total(body=call("and", Arg(0), Arg(0))), "the body is not typed"),
    (lambda: total(body=Cast("int32", Arg(0))), "the body has another type than the node"),
    (lambda: total(FLAGS), "a sum of truth values"),
    (lambda: total(FLAGS, combine="prod"), "a prod of truth values"),
    (
        lambda: total(finish_operands=(Access(0, (i, constant(2, 0))),)),
        "finish operands without a finish",
    ),
    (
        lambda: renew(
            elementwise("neg", X),
            pieces=(Comprehension(DOMAIN, (i, k), (Access(0, (i, k)),), Arg(0), finish=Arg(0)),),
        ),
        "a finish needs a reduction",
    ),
    (lambda: finished(Arg(0) + Arg(1), Access(0, (i, k))), "finish reads at a reduced index"),
    (
        lambda: finished(Arg(0) * Cast("real", Index(1))),
        "the finish uses an index that it does not have",
    ),
    (lambda: finished(Arg(0) + Arg(1)), "the finish reads an operand that is not there"),
    (lambda: finished(Arg(0) + Arg(-1)), "the finish reads an operand that is not there"),
    (lambda: looked_up(IDS), "an index tensor without check_index"),
    (lambda: looked_up(check_index(IDS, 8)), "check_index allows more than the axis has"),
    (lambda: looked_up(elementwise("add", check_index(IDS, 5), 1)), "without check_index"),
    (lambda: looked_up(leaf("input", "z", (4,), "real")), "an index tensor holds integers"),
    (
        lambda: looked_up(check_index(IDS, 7), rows=(index(1, 0), index(1, 0))),
        "an indirect row needs a row for every axis",
    ),
]


@pytest.mark.parametrize(("make", "message"), PIECE_RULES, ids=[m for _, m in PIECE_RULES])
def test_rules_of_formulas(make: Callable[[], Node], message: str) -> None:
    assert message in fails(make())


# --- Bounds ---


def read(row: Affine, guards: tuple[Affine, ...] = ()) -> Node:
    """y[i] = sum_k x[i, row] within guards."""
    return total(operands=(Access(0, (i, row)),), domain=Domain((4, 5), guards, ("i", "k")))


@pytest.mark.parametrize(
    ("node", "title"),
    [
        (read(k + 1), "axis 1 of operand 0"),
        (read(k - 1), "axis 1 of operand 0"),
        (read(k * 2), "axis 1 of operand 0"),
        (read(k + i), "axis 1 of operand 0"),
        (read(k + i, (-i - k + 5,)), "axis 1 of operand 0"),  # one too many
        (read(k - 1, (k,)), "axis 1 of operand 0"),
        (total(out=(i + 1,)), "axis 0 of the output"),
        (total(shape=(3,)), "axis 0 of the output"),
        (looked_up(check_index(IDS, 7), rows=(index(1, 0) + 1,)), "an index of operand 0"),
        (finished(Arg(0) + Arg(1), Access(0, (i + 1, constant(2, 0)))), "finish operand 0"),
    ],
)
def test_addresses_out_of_bounds(node: Node, title: str) -> None:
    message = fails(node)
    assert f"{title} may be out of bounds" in message
    assert "expected: 0 <= index < " in message


@pytest.mark.parametrize(
    "node",
    [
        read(k + 1, (-k + 3,)),
        read(k - 1, (k - 1,)),
        read(k * 2, (-(k * 2) + 4,)),
        read(k + i - 2, (k + i - 2, -(k + i - 2) + 4)),  # the padding of a convolution
        read(k * 2 + i - 1, (k * 2 + i - 1, -(k * 2 + i - 1) + 4)),
        read(k + i, (-i, -k + 4)),
    ],
)
def test_guards_certify_addresses(node: Node) -> None:
    verify(Graph({"y": node}))


def test_a_finish_is_not_protected_by_guards() -> None:
    """It is applied at every kept point, so its reads must be right there."""
    guarded = Domain((4, 5), (-i + 2,), ("i", "k"))
    rest = Access(0, (i + 1, constant(2, 0)))
    verify(Graph({"y": total(domain=guarded, operands=(Access(0, (i + 1, k)),))}))
    node = total(domain=guarded, finish=Arg(0) + Arg(1), finish_operands=(rest,))
    assert "finish operand 0 may be out of bounds" in fails(node)


def test_guards_on_kept_indices_leave_out_elements() -> None:
    """A finish is applied to elements of the output; a search writes those that are left."""
    guarded = Domain((4, 5), (i - 1,), ("i", "k"))
    rest = Access(0, (i - 1, constant(2, 0)))
    finish = Arg(0) * Arg(1)
    for combine in ("sum", "max", "min"):
        node = total((X), (3,), domain=guarded, out=(i - 1,), combine=combine)
        verify(Graph({"y": node}))
        node = renew(node, pieces=(replace(node.formula, finish=finish, finish_operands=(rest,)),))
        verify(Graph({"y": node}))


@pytest.mark.parametrize(
    ("combine", "guard"),
    [("prod", i - 1), ("prod", i - k - 1), ("max", i - k - 1), ("min", i - k - 1)],
)
def test_what_is_written_without_a_point_must_be_inside(combine: str, guard: Affine) -> None:
    """An empty product is 1 and is stored; so is a search that guards on reduced indices end."""
    guarded = Domain((4, 5), (guard,), ("i", "k"))
    node = total(X, (3,), domain=guarded, out=(i - 1,), combine=combine)
    assert "axis 0 of the output may be out of bounds" in fails(node)
    verify(Graph({"y": total(X, (3,), domain=guarded, out=(i - 1,))}))  # a sum is not


def test_the_message_says_where_the_row_goes() -> None:
    message = fails(read(k + i, (k - 1,)))
    assert "found:    i + k where i < 4, k < 5, k - 1 >= 0" in message
    assert "expected: 0 <= index < 5" in message
    assert message.splitlines()[0].startswith(f"{__file__}:")


# --- One write an element ---


def placed(
    out: tuple[Affine, ...], shape: tuple[int, ...], guards: tuple[Affine, ...] = ()
) -> Node:
    formula = Comprehension(Domain((4, 5), guards), out, (Access(0, (i, k)),), Arg(0), "set")
    return compute([X], [formula], shape)


@pytest.mark.parametrize(
    "node",
    [
        placed((i,), (4,)),
        placed((i + k,), (8,)),
        placed((i * 2 + k,), (11,)),
        compute([X], [replace(TOTAL, combine="argmax", out=(i + k,))], (8,)),
        compute([X], [replace(TOTAL, out=(i + k,), finish=Arg(0) * 2.0)], (8,)),
    ],
)
def test_two_points_on_one_element(node: Node) -> None:
    assert "two points may write one element" in fails(node)


@pytest.mark.parametrize(
    "node",
    [
        placed((k, i), (5, 4)),
        placed((i * 5 + k,), (20,)),
        placed((i * 3 + 1, k * -1 + 4), (11, 5)),
        placed((i,), (4,), (i - k, k - i)),  # guards leave one point an element
        compute([X], [replace(TOTAL, out=(i + k,))], (8,)),  # a sum may collide
    ],
)
def test_addresses_that_tell_points_apart(node: Node) -> None:
    verify(Graph({"y": node}))


# --- Open dims ---


def opened(extent: Any, row: Affine = k, guards: tuple[Affine, ...] = (), **changes: Any) -> Node:
    """y[i] = sum_k x[i, row] for k < extent, where x is (4, n)."""
    x = leaf("input", "open", (4, N), "float64")
    formula = replace(
        TOTAL,
        domain=Domain((4, extent), guards, ("i", "k")),
        operands=(Access(0, (i, row)),),
        **changes,
    )
    return compute([x], [formula], (4,))


@pytest.mark.parametrize(
    ("node", "ranges"),
    [
        (opened(3), {"n": (1, 128)}),  # the default, 4, is wide enough
        (opened(3), {}),
        (opened(3), {"n": (2, 128)}),
        (opened(N, k + N - 3), {"n": (1, 128)}),
        (opened(N, k * 2 - N + 1), {"n": (1, 128)}),
        (opened(20, k, (-k + 19, k - N + 1)), {"n": (1, 20)}),  # wrong between both ends
    ],
)
def test_bounds_hold_for_every_value_of_an_open_dim(node: Node, ranges: Ranges) -> None:
    assert "axis 1 of operand 0 may be out of bounds" in fails(node, "specialize", ranges)


@pytest.mark.parametrize(
    ("node", "ranges"),
    [
        (opened(N), {}),
        (opened(3), {"n": (3, 128)}),
        (opened(128, k, (-k + N - 1,)), {}),
        (opened(N, -k + N - 1), {}),
        (opened(N - 2, k + 2), {}),
        (opened(20, k, (-k + N - 1,)), {"n": (1, 20)}),
    ],
)
def test_bounds_that_hold_for_every_value(node: Node, ranges: Ranges) -> None:
    verify(Graph({"y": node}), "specialize", ranges)


def test_before_dims_are_fixed_their_defaults_count() -> None:
    verify(Graph({"y": opened(3)}), "differentiate")
    verify(Graph({"y": opened(4)}), "differentiate")
    assert "out of bounds" in fails(opened(5), "differentiate")


@pytest.mark.parametrize(
    ("guard", "ranges", "message"),
    [
        (k - 3, {}, "no point at n = 1 with k - 3 >= 0"),
        (k - 3, {"n": (3, 9)}, "no point at n = 3 with k - 3 >= 0"),
        (k - 3, {"n": (4, 9)}, None),
        (k - i, {"n": (3, 9)}, "no point at i = 3, n = 3 with -i + k >= 0"),
        (k - i, {"n": (4, 9)}, None),
    ],
)
def test_an_extremum_has_something_for_every_value(
    guard: Affine, ranges: Ranges, message: str | None
) -> None:
    node = opened(N, k, (guard,), combine="max")
    if message is None:
        verify(Graph({"y": node}), "specialize", ranges)
    else:
        assert message in fails(node, "specialize", ranges)


# --- Nothing to compare ---


@pytest.mark.parametrize("combine", ["max", "min", "argmax", "argmin"])
def test_an_extremum_needs_a_point_for_every_element(combine: str) -> None:
    domain = Domain((4, 5), (k * 2 - i - 6,), ("i", "k"))
    node = compute([X], [replace(TOTAL, domain=domain, combine=combine)], (4,))
    message = fails(node)
    assert f"{combine} over no element at all" in message
    assert "no point at i = 3 with -i + 2*k - 6 >= 0" in message
    guarded = replace(domain, guards=(*domain.guards, -i + 2))  # i = 3 is no element
    verify(Graph({"y": renew(node, pieces=(replace(node.formula, domain=guarded),))}))


@pytest.mark.parametrize("combine", ["max", "min", "argmax", "argmin"])
def test_an_extremum_of_nothing(combine: str) -> None:
    for domain in (Domain((4, 0)), Domain((4, 5), (k - 5,)), Domain((4, 5), (k - i - 5,))):
        node = compute([X], [replace(TOTAL, domain=domain, combine=combine)], (4,))
        assert f"{combine} over no element at all" in fails(node)


def test_an_extremum_for_no_element_is_no_extremum() -> None:
    x = leaf("input", "x", (0, 0), "real")
    verify(Graph({"y": compute([x], [replace(TOTAL, domain=Domain((0, 0)), combine="max")], (0,))}))


# --- After specialize ---


def fixed(dtype: str = "float64", shape: tuple[Any, ...] = (4, 5)) -> Node:
    return leaf("input", "x", shape, dtype)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (fixed("real"), "`real` is still there"),
        (total(fixed(), body=Arg(0) * const(2.0, "float64") + Cast("float64", const(1.0))), "real"),
        (fixed(shape=(N * N,)), "not linear in one dim"),
        (fixed(shape=(N // 2,)), "not linear in one dim"),
        (
            renew(
                elementwise("neg", leaf("input", "z", (), "int64")),
                pieces=(Comprehension(Domain(()), (), (), Size(N * N)),),
            ),
            "not linear in one dim",
        ),
    ],
)
def test_rules_after_specialize(node: Node, message: str) -> None:
    verify(Graph({"y": node}), "graph")
    for stage in ("specialize", "fuse"):
        found = fails(node, stage)
        assert message in found
        assert f"after {stage}, " in found


def test_linear_extents_may_stay_open() -> None:
    verify(Graph({"y": fixed(shape=(N * 2 + 1, 3))}), "specialize")


def test_constants_of_the_builds_type_are_no_real() -> None:
    node = total(fixed(), body=Arg(0) * Const(2.0, "float64"))
    verify(Graph({"y": node}), "specialize")
