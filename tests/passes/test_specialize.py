"""What `specialize` refuses, and what it fixes."""

from __future__ import annotations

import pytest

import autodiffc.ops.functions  # noqa: F401 - fills the table of functions
from autodiffc.errors import ShapeError
from autodiffc.graph.affine import Affine, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain
from autodiffc.graph.construct import check_index, compute, elementwise, leaf, view
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import dim
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Cast, Const, Size
from autodiffc.passes import normalize, specialize

BATCH, WIDTH = dim("batch", 64), dim("width", 28)


def windowed(width: object, kernel: int, stride: int = 1) -> Node:
    """Sums over windows of a row, as average pooling does."""
    x = leaf("input", "x", (width,), "real")
    size = (width - kernel) // stride + 1  # type: ignore[operator]
    formula = Comprehension(
        Domain((size, kernel)),
        (index(2, 0),),
        (Access(0, (Affine((stride, 1), 0),)),),
        Arg(0),
        "sum",
    )
    return compute([x], [formula], (size,), label="avg_pool1d")


def fixed(node: Node, **dims: int) -> Node:
    return specialize(Graph({"y": node}), dims, "float32").outputs["y"]


def opened(node: Node, low: int = 1, high: int = 128) -> Node:
    """With the dim `batch` left open."""
    return specialize(Graph({"y": node}), {}, "float32", {"batch": (low, high)}).outputs["y"]


def test_dims_are_fixed_everywhere() -> None:
    x = leaf("input", "x", (BATCH, 3), "real")
    flipped = view(x, (BATCH, 3), lambda i: (-i[0] + (BATCH - 1), i[1]), label="flip")
    mean = Comprehension(
        Domain((BATCH, 3)),
        (index(2, 1),),
        (Access(0, identity(2)),),
        Arg(0) / Cast("real", Size(BATCH)),
        "sum",
    )
    y = fixed(compute([flipped], [mean], (3,)), batch=5)
    assert y.formula.body == Arg(0) / Cast("float32", Const(5, "int64"))
    assert y.inputs[0].formula.operands[0].rows[0] == Affine((-1, 0), 4)
    assert y.inputs[0].shape == (5, 3)


def test_extent_of_a_checked_index_is_fixed() -> None:
    ids = check_index(leaf("input", "ids", (4,), "int32"), BATCH)
    assert fixed(ids, batch=7).attrs["extent"] == 7


def test_open_dims_stay() -> None:
    x = leaf("input", "x", (BATCH, 3), "real")
    y = elementwise("sin", x)
    new = normalize(specialize(Graph({"y": y}), {}, "float32")).outputs["y"]
    assert new.shape == (BATCH, 3)
    assert new.formula.domain.extents == (BATCH, 3)


def test_kernel_larger_than_the_input() -> None:
    with pytest.raises(ShapeError, match="avg_pool1d has a window that fits nowhere") as error:
        fixed(windowed(WIDTH, 5), width=4)
    assert error.value.loc is not None
    with pytest.raises(ShapeError, match="avg_pool1d gets a negative extent"):
        fixed(windowed(WIDTH, 5), width=2)


def test_windowed_dim_cannot_stay_open() -> None:
    with pytest.raises(ShapeError, match="width cannot stay open") as error:
        fixed(windowed(WIDTH, 5))
    assert "avg_pool1d runs a window over it" in str(error.value)
    with pytest.raises(ShapeError, match="width cannot stay open in avg_pool1d"):
        fixed(windowed(WIDTH, 5, stride=2))


def test_product_of_open_dims() -> None:
    x = leaf("input", "x", (BATCH * WIDTH,), "real")
    assert fixed(elementwise("sin", x), width=3).shape == (3 * BATCH,)
    with pytest.raises(ShapeError, match=r"integer \* dim \+ integer"):
        fixed(elementwise("sin", x))


def test_slice_beyond_what_a_dim_became() -> None:
    x = leaf("input", "x", (BATCH,), "real")
    y = view(x, (5,), lambda i: (i[0] + 2,), label="getitem")
    assert fixed(y, batch=7).shape == (5,)
    with pytest.raises(ShapeError, match="getitem reads outside its operand"):
        fixed(y, batch=6)


def test_maximum_of_nothing() -> None:
    x = leaf("input", "x", (3, BATCH), "real")
    formula = Comprehension(
        Domain((3, BATCH)), (index(2, 0),), (Access(0, identity(2)),), Arg(0), "max"
    )
    y = compute([x], [formula], (3,), label="max")
    with pytest.raises(ShapeError, match="max is the max of no elements"):
        fixed(y, batch=0)


@pytest.mark.parametrize("last", [4, BATCH - 1], ids=["first five", "last five"])
def test_slice_that_does_not_fit_every_value_of_an_open_dim(last: int) -> None:
    x = leaf("input", "x", (BATCH,), "real")
    y = view(x, (5,), lambda i: (-i[0] + last,), label="getitem")
    assert opened(y, 5).shape == (5,)
    for low in (1, 4):
        with pytest.raises(ShapeError, match="getitem reads outside its operand") as error:
            opened(y, low)
        assert f"with batch from {low} to 128" in str(error.value)
        assert "let its range start higher" in str(error.value)
    with pytest.raises(ShapeError, match="with batch from 1 on"):
        fixed(y)


def test_rest_of_an_open_dim() -> None:
    x = leaf("input", "x", (BATCH,), "real")
    y = view(x, (BATCH - 3,), lambda i: (i[0] + 3,), label="getitem")
    assert opened(y, 3).shape == (BATCH - 3,)
    with pytest.raises(ShapeError, match="getitem gets a negative extent") as error:
        opened(y, 2)
    assert "shape (batch - 3,) from (batch,), with batch from 2 to 128" in str(error.value)


def test_guards_must_hold_an_open_dim_in_range() -> None:
    """The last element of each row of ten, where the batch is shorter than a row."""
    x = leaf("input", "x", (BATCH,), "real")
    for low, last in ((1, BATCH - 1), (10, 9)):
        formula = Comprehension(
            Domain((10,), (-index(1, 0) + last,)), (index(1, 0),), (Access(0, identity(1)),), Arg(0)
        )
        y = compute([x], [formula], (10,))
        assert opened(y, low).shape == (10,)
    with pytest.raises(ShapeError, match="reads outside its operand"):
        opened(y, 9)


def least_after(first: int) -> Node:
    """y[i] = max of x[i, k] over k >= first."""
    x = leaf("input", "x", (3, BATCH), "real")
    domain = Domain((3, BATCH), (index(2, 1) - first,))
    formula = Comprehension(domain, (index(2, 0),), (Access(0, identity(2)),), Arg(0), "max")
    return compute([x], [formula], (3,), label="max")


def test_maximum_of_nothing_under_a_guard() -> None:
    assert fixed(least_after(3), batch=4).shape == (3,)
    with pytest.raises(ShapeError, match="max is the max of no elements"):
        fixed(least_after(3), batch=3)
    assert opened(least_after(3), 4).shape == (3,)
    with pytest.raises(ShapeError, match="max is the max of no elements") as error:
        opened(least_after(3), 2)
    assert "batch = 2" in str(error.value)


def test_positions_over_an_open_dim() -> None:
    """The row-major position of an extremum in (batch, 3) does not depend on the batch."""
    x = leaf("input", "x", (BATCH, 3), "real")
    first, second = identity(2)
    for out_of_order in (False, True):
        extents = (3, BATCH) if out_of_order else (BATCH, 3)
        rows = (second, first) if out_of_order else (first, second)
        formula = Comprehension(Domain(extents), (), (Access(0, rows),), Arg(0), "argmax")
        y = compute([x], [formula], (), label="argmax")
        if out_of_order:
            with pytest.raises(ShapeError, match="batch cannot stay open: argmax counts positions"):
                opened(y)
        else:
            assert opened(y).formula.domain.extents == extents
