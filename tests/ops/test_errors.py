"""What operations refuse: the class, what was found and expected, and the user's line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.errors import (
    ArgumentError,
    ArgumentTypeError,
    AutodiffcError,
    DifferentiationError,
    DtypeError,
    IndexRangeError,
    NumberOverflowError,
    ShapeError,
)
from autodiffc.graph.construct import leaf
from autodiffc.graph.expression import Expression
from autodiffc.graph.extents import dim
from autodiffc.ops.registry import OPERATIONS


def x(*shape: Any, dtype: str = "real") -> Expression:
    return Expression(leaf("input", "x", shape, dtype))


def op(name: str, *args: Any, **kwargs: Any) -> Any:
    return OPERATIONS[name].function(*args, **kwargs)


IDS = {"dtype": "int32"}


def loss(**kwargs: Any) -> Any:
    return op("cross_entropy", x(2, 3), x(2, **IDS), **kwargs)


CASES: list[tuple[Callable[[], Any], type[AutodiffcError], str]] = [
    # shapes that do not fit
    (lambda: x(2, 3) + x(2), ShapeError, r"(?s)do not broadcast.*\(2, 3\) and \(2,\)"),
    (lambda: x(2, 3) @ x(2, 3), ShapeError, r"(?s)inner extents of matmul.*3 and 2"),
    (lambda: x() @ x(3), ShapeError, "scalars"),
    (lambda: x(2, 3, 4) @ x(3, 4, 5), ShapeError, "do not broadcast"),
    (lambda: op("linear", x(2, 3), x(4, 5)), ShapeError, "inner extents of linear"),
    (lambda: op("linear", x(2, 3), x(4, 3), x(3)), ShapeError, r"(?s)bias.*\(4,\)"),
    (lambda: op("outer", x(2, 2), x(2)), ShapeError, "two vectors"),
    (lambda: op("tensordot", x(2, 3), x(2, 3)[0:1], axes=3), ShapeError, "so many axes"),
    (lambda: op("tensordot", x(2, 3), x(4), axes=1), ShapeError, "inner extents"),
    (lambda: op("reshape", x(2, 3), (4, 2)), ShapeError, "number of elements"),
    (lambda: op("reshape", x(2, 3), (4, -1)), ShapeError, "what -1 stands for"),
    (lambda: op("reshape", x(2, 3), (-1, -1)), ShapeError, "one extent only"),
    (lambda: op("reshape", x(2, 3), (dim("n", 2), -1)), ShapeError, "what -1 stands for"),
    (lambda: op("reshape", x(2, 3), (2.0, 3)), ArgumentTypeError, "integer or a dim"),
    (lambda: op("broadcast_to", x(2), (3,)), ShapeError, "cannot be broadcast"),
    (lambda: op("concat", [x(2, 3), x(2, 4)]), ShapeError, r"(?s)joined.*but for axis 0"),
    (lambda: op("concat", x(2, 3)), ArgumentTypeError, "list of tensors"),
    (lambda: op("concat", []), ArgumentTypeError, "list of tensors"),
    (lambda: op("stack", [x(2), x(3)]), ShapeError, "joined"),
    (lambda: op("squeeze", x(2, 1), axis=0), ShapeError, "extent 1"),
    (lambda: op("split", x(5), 2), ShapeError, "equal parts"),
    (lambda: op("pad", x(2, 2), ((1, 1), (1, 1), (1, 1))), ShapeError, "widths"),
    (lambda: op("pad", x(2), -1), ArgumentError, "width is too small"),
    (lambda: op("pad", x(2, dtype="int32"), 1, value=0.5), ArgumentError, "padding value"),
    # axes
    (lambda: op("sum", x(2, 3), axis=2), ShapeError, r"(?s)axis is out of range.*-2 <= axis < 2"),
    (lambda: op("sum", x(2, 3), axis=(0, -2)), ShapeError, "an axis is given twice"),
    (lambda: op("sum", x(2, 3), axis=1.0), ArgumentTypeError, "must be an integer"),
    (lambda: op("max", x(0, 3), axis=0), ShapeError, "max of no elements"),
    (lambda: op("argmin", x(0)), ShapeError, "argmin of no elements"),
    (lambda: op("transpose", x(2, 3), (0, 0)), ShapeError, "every axis once"),
    # einsum
    (lambda: op("einsum", "ij,jk->ik", x(2, 3)), ArgumentError, "1 operands for 2 terms"),
    (lambda: op("einsum", "ij->ik", x(2, 3)), ArgumentError, "the result 'ik'"),
    (lambda: op("einsum", "ij->ii", x(2, 3)), ArgumentError, "the result 'ii'"),
    (lambda: op("einsum", "ijk->i", x(2, 3)), ShapeError, "an index for each axis"),
    (lambda: op("einsum", "i->i", x(2, 3)), ShapeError, "an index for each axis"),
    (lambda: op("einsum", "ii->i", x(2, 3)), ShapeError, "index i"),
    (lambda: op("einsum", "i$->i", x(2, 3)), ArgumentError, "letters"),
    (lambda: op("einsum", x(2, 3), "ij"), ArgumentTypeError, "subscripts"),
    # windows
    (lambda: op("conv2d", x(3, 4), x(1, 3, 2, 2)), ShapeError, r"\(batch, channels, height"),
    (lambda: op("conv2d", x(2, 3, 4), x(1, 3, 2, 2)), ShapeError, "for 2 channels in"),
    (lambda: op("conv2d", x(1, 3, 4, 4), x(1, 2, 2, 2)), ShapeError, "for 3 channels in"),
    (lambda: op("conv2d", x(1, 4, 4, 4), x(3, 2, 2, 2), groups=2), ShapeError, "groups must div"),
    (lambda: op("conv2d", x(1, 3, 4, 4), x(2, 3, 5, 5)), ShapeError, "larger than what it slides"),
    (lambda: op("conv1d", x(1, 1, 4), x(1, 1, 2), x(2)), ShapeError, "bias of conv1d"),
    (lambda: op("conv1d", x(1, 1, 4), x(1, 1, 2), stride=0), ArgumentError, "stride is too small"),
    (lambda: op("conv1d", x(1, 1, 4), x(1, 1, 2), stride=1.5), ArgumentTypeError, "stride must"),
    (lambda: op("conv1d", x(1, 1, 4), x(1, 1, 2), padding=-1), ArgumentError, "padding is too"),
    (lambda: op("conv1d", x(1, 1, 4), x(1, 1, 2), groups=0), ArgumentError, "groups is too"),
    (lambda: op("conv1d", x(1, 1, 4), x(1, 1, 2), padding=(1, 1)), ShapeError, "each spatial axis"),
    (lambda: op("conv1d", x(1, 1, 4), x(1, 1, 2), stride=2, padding="same"), ArgumentError, "same"),
    (lambda: op("conv1d", x(1, 1, 4), x(1, 1, 2), padding="full"), ArgumentError, "'full'"),
    (lambda: op("max_pool2d", x(1, 1, 4, 4), 2, padding=2), ArgumentError, "more than half"),
    (lambda: op("max_pool1d", x(1, 1, 2), 2, padding=1, dilation=3), ShapeError, "but padding"),
    (lambda: op("max_pool1d", x(1, 1, 4), 0), ArgumentError, "kernel_size is too small"),
    (lambda: op("avg_pool1d", x(4), 2), ShapeError, r"(?s)1 axes.*or \(channels, width\)"),
    (lambda: op("avg_pool2d", x(1, 4, 4), 2, divisor_override=0), ArgumentError, "divisor_overr"),
    (lambda: op("prelu", x(2, 3), x(2)), ShapeError, "(?s)weight of prelu.*or 3"),
    (lambda: op("roll", x(3), 0.5), ArgumentTypeError, "shift is an integer"),
    (lambda: op("roll", x(3), (1, 2), axis=0), ShapeError, "a shift for each axis"),
    (lambda: op("full", (2,), x(2)), ArgumentTypeError, "full takes a number"),
    (lambda: op("zeros", (2, -1)), ShapeError, "must not be negative"),
    (lambda: op("eye", 3, k=1.5), ArgumentTypeError, "diagonal is an integer"),
    # element types
    (lambda: x(2) & x(2), DtypeError, "(?s)truth values or integers.*bool"),
    (lambda: ~x(2), DtypeError, "truth values"),
    (lambda: -x(2, dtype="bool"), DtypeError, "~x"),
    (lambda: x(2, **IDS) ** -1, DtypeError, "power of integers"),
    (lambda: x(2, dtype="bool") - x(2, dtype="bool"), DtypeError, "cannot be subtracted"),
    (lambda: x(2, **IDS) + 2**40, NumberOverflowError, "(?s)1099511627776 beside int32.*int64"),
    (lambda: x(2, dtype="uint8") * -1, NumberOverflowError, "-1 beside uint8"),
    (lambda: 2**70 - x(2, dtype="int64"), NumberOverflowError, "beside int64"),
    (lambda: x(2) * 10**400, NumberOverflowError, "(?s)1329 bits beside real"),
    (lambda: op("where", x(2) > 0, x(2, **IDS), 2**31), NumberOverflowError, "beside int32"),
    (lambda: op("where", x(2), x(2), x(2)), DtypeError, "condition must be a bool"),
    (lambda: op("astype", x(2), "complex64"), DtypeError, "unknown dtype"),
    (lambda: op("cross_entropy", x(2, 3, **IDS), x(2, **IDS)), DtypeError, "floating elements"),
    (lambda: op("nll_loss", x(2, 3), x(2)), DtypeError, "integer labels"),
    (lambda: op("mse", x(2, **IDS), x(2, **IDS)), DtypeError, "floating elements"),
    # arguments
    (lambda: x(2) + "a", ArgumentTypeError, "'a'"),
    (lambda: op("clip", x(2)), ArgumentError, "needs a limit"),
    (lambda: op("gelu", x(2), approximate="cubic"), ArgumentError, "(?s)approximate.*'tanh'"),
    (lambda: x(2) + np.array([2**63], np.uint64), NumberOverflowError, "int64 cannot"),
    (lambda: op("cross_entropy", x(2, 3), x(2, **IDS), x(3)), ArgumentError, "unknown reduction"),
    (lambda: op("mse", x(2), x(2), reduction="max"), ArgumentError, "(?s)reduction.*'mean'"),
    (lambda: op("arange", 0, 5, 0), ArgumentError, "step other than 0"),
    (lambda: op("arange", "a"), ArgumentError, "takes integers"),
    (lambda: op("arange", 0, math.inf, 0.5), ArgumentError, "takes numbers"),
    (lambda: op("arange", dim("n", 4), 9, 0.5), ArgumentError, "takes numbers"),
    (lambda: op("arange", 0.5, 2.0, 0), ArgumentError, "step other than 0"),
    (lambda: op("moveaxis", x(2, 3), (0, 1), 0), ShapeError, "a place for each axis"),
    (lambda: op("moveaxis", x(2, 3), (0, 1), (1, 1)), ShapeError, "a place for each axis"),
    (lambda: op("transpose", x(2, 3), 1), ShapeError, "every axis once"),
    # positions
    (lambda: x(3)[3], IndexRangeError, r"(?s)axis 0.*-3 <= position < 3"),
    (lambda: x(3)[[0, -4]], IndexRangeError, "out of range"),
    (lambda: x(3)[0, 0], ShapeError, "too many subscripts"),
    (lambda: x(3)[..., ...], ShapeError, "`...` may stand once"),
    (lambda: x(3)[::0], ArgumentError, "step"),
    (lambda: x(3)[x(2)], DtypeError, "integer tensor"),
    (lambda: x(3)[[0.5]], ArgumentTypeError, "positions"),
    (lambda: x(3)[0.5:2], ArgumentTypeError, r"(?s)slice's bounds.*0\.5 \(float\)"),
    (lambda: x(3)[:"a"], ArgumentTypeError, "(?s)slice's bounds.*'a'"),
    (lambda: x(3)[True:], ArgumentTypeError, "slice's bounds"),
    (lambda: x(3)[x(2, **IDS)[0] :], ArgumentTypeError, r"(?s)slice's bounds.*x\[ids\] takes"),
    (lambda: x(dim("n", 4))[0.5:], ArgumentTypeError, "slice's bounds"),
    (lambda: x(3)[1.0], ArgumentTypeError, r"(?s)cannot stand in brackets.*1\.0 \(float\)"),
    (lambda: x(3)["a"], ArgumentTypeError, r"(?s)cannot stand in brackets.*'a' \(str\)"),
    (lambda: x(3)[((0, 5),)], IndexRangeError, "index < 3"),
    (lambda: op("softmax", x()), ShapeError, "a scalar has no axis"),
    (lambda: ad.input("q", (3,), "float16"), DtypeError, "(?s)float16.*int64, float32, float64"),
    (lambda: ad.param("q", (3,), dtype=object), DtypeError, "unknown dtype"),
    (lambda: ad.constant([1.0], "half"), DtypeError, "unknown dtype"),
    (lambda: ad.grad(x(3), x(3)), DifferentiationError, "scalar"),
    (lambda: x(3)[True], ArgumentTypeError, "truth value"),
    (lambda: x(dim("n", 4))[5], IndexRangeError, "out of range"),
    (lambda: x(dim("n", 4))[:5], IndexRangeError, "must lie within"),
    (lambda: op("take", x(3), x(2)), DtypeError, "index must be an integer"),
    (lambda: op("take", x(4), [0, 4]), IndexRangeError, r"(?s)out of range.*4 at \[1\].*index < 4"),
    (lambda: op("take", x(4), [0, -5]), IndexRangeError, r"(?s)out of range.*-4 <= position < 4"),
    (lambda: op("take", x(dim("n", 4)), [0, -1]), IndexRangeError, "(?s)from the end.*-1 for n"),
    (lambda: op("gather", x(3, 2), np.array([[0, 3]])), IndexRangeError, r"3 at \[0, 1\]"),
    (lambda: op("gather", x(3, 2), np.array([[-1]])), IndexRangeError, "(?s)-1.*0 <= index < 3"),
    (lambda: op("one_hot", np.array([0, 4]), 3), IndexRangeError, "index < 3"),
    (lambda: op("embedding", [7], x(3, 2)), IndexRangeError, "index < 3"),
    (lambda: op("cross_entropy", x(2, 3), np.array([0, 3])), IndexRangeError, "index < 3"),
    (lambda: x(3)[ad.constant([0, 3])], IndexRangeError, "index < 3"),
    (lambda: op("take_along_axis", x(4, 5), [0]), ShapeError, "as many axes"),
    (lambda: op("take_along_axis", x(4, 5), [[0, 1]], 0), ShapeError, "do not broadcast"),
    (lambda: op("gather", x(3, 2), x(4, 3, **IDS)), ShapeError, "index of gather"),
    (lambda: op("embedding", x(2, **IDS), x(3)), ShapeError, "matrix"),
    (lambda: op("one_hot", x(2), 3), DtypeError, "index must be an integer"),
    (lambda: op("cross_entropy", x(2, 3), x(3, **IDS)), ShapeError, r"(?s)target.*\(2,\)"),
    (lambda: op("cross_entropy", x(2, 3), x(2, 4)), ShapeError, r"(?s)probabilities.*\(2, 3\)"),
    (lambda: op("cross_entropy", x(2, 3), x(2, dtype="bool")), DtypeError, "truth values"),
    (lambda: loss(label_smoothing=2.0), ArgumentError, "(?s)label_smoothing is out.*2.0.*0 to 1"),
    (lambda: loss(label_smoothing="a"), ArgumentTypeError, "(?s)label_smoothing must be.*'a'"),
    (lambda: loss(weight=np.ones(4)), ShapeError, r"(?s)each class.*\(4,\).*\(3,\)"),
    (lambda: loss(ignore_index=1.5), ArgumentTypeError, "(?s)ignore_index must be.*1.5"),
    (lambda: op("cross_entropy", x(3), x(3), ignore_index=1), ArgumentError, "probabilities"),
]


@pytest.mark.parametrize(("make", "error", "message"), CASES, ids=range(len(CASES)))
def test_refused(make: Callable[[], Any], error: type[AutodiffcError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    assert caught.value.loc is not None
    assert caught.value.loc.file == __file__
    assert caught.value.found is not None


def test_a_mask_of_truth_values_selects_only_when_it_fits() -> None:
    assert x(3)[np.array([True, False, True])].shape == (2,)
    with pytest.raises(ArgumentTypeError, match="3 truth values"):
        x(3)[np.array([True, False])]
