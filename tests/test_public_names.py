"""The public surface: every name that `import autodiffc as ad` offers stands here.

A new name is a promise to users: add it here deliberately, in the group where it belongs. What is
public must exist, and loading the package must stay cheap.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

import autodiffc as ad

MODEL_FILE = ["input", "param", "state", "constant", "dim", "name", "Model", "SGD", "nn"]

INDEX_NOTATION = ["indices", "compute", "sum_over", "prod_over", "max_over", "min_over"]

ELEMENTWISE = [
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sqrt",
    "rsqrt",
    "cbrt",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "atan2",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "arcsin",
    "arccos",
    "arctan",
    "arctan2",
    "arcsinh",
    "arccosh",
    "arctanh",
    "hypot",
    "logaddexp",
    "erf",
    "erfc",
    "sigmoid",
    "relu",
    "abs",
    "sign",
    "floor",
    "ceil",
    "round",
    "trunc",
    "square",
    "reciprocal",
    "minimum",
    "maximum",
    "where",
    "clip",
    "astype",
    "isnan",
    "isinf",
    "isfinite",
    "add",
    "subtract",
    "multiply",
    "divide",
    "negative",
    "floor_divide",
    "mod",
    "pow",
    "power",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "equal",
    "not_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "logical_not",
]

ACTIVATIONS = [
    "leaky_relu",
    "prelu",
    "elu",
    "celu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "hardtanh",
    "hardsigmoid",
    "hardswish",
    "relu6",
    "softsign",
    "softplus",
    "logsigmoid",
]

REDUCTIONS = [
    "sum",
    "prod",
    "mean",
    "var",
    "std",
    "max",
    "min",
    "amax",
    "amin",
    "argmax",
    "argmin",
    "any",
    "all",
    "logsumexp",
]

LINEAR_ALGEBRA = ["matmul", "linear", "outer", "dot", "tensordot", "einsum"]

SHAPES = [
    "reshape",
    "flatten",
    "transpose",
    "permute",
    "swapaxes",
    "moveaxis",
    "squeeze",
    "expand_dims",
    "broadcast_to",
    "flip",
    "concat",
    "concatenate",
    "stack",
    "tile",
    "repeat",
    "pad",
]

CONSTANTS = ["zeros", "ones", "full", "eye"]

INDEXING = ["one_hot", "take", "embedding", "gather", "take_along_axis", "arange"]

LOSSES = [
    "stop_gradient",
    "softmax",
    "log_softmax",
    "cross_entropy",
    "nll_loss",
    "bce_with_logits",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy",
    "mse",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
]

WINDOWS = [
    "conv1d",
    "conv2d",
    "conv3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
]

USING = ["grad", "split", "roll", "compile", "load", "check_grads"]

PACKAGE = ["AutodiffcError", "Expression", "__version__"]

PUBLIC = [
    *MODEL_FILE,
    *INDEX_NOTATION,
    *ELEMENTWISE,
    *ACTIVATIONS,
    *REDUCTIONS,
    *LINEAR_ALGEBRA,
    *SHAPES,
    *CONSTANTS,
    *INDEXING,
    *LOSSES,
    *WINDOWS,
    *USING,
    *PACKAGE,
]


def test_the_public_names_are_these() -> None:
    assert len(PUBLIC) == len(set(PUBLIC))
    assert len(ad.__all__) == len(set(ad.__all__))
    missing = sorted(set(PUBLIC) - set(ad.__all__))
    unlisted = sorted(set(ad.__all__) - set(PUBLIC))
    assert (missing, unlisted) == ([], [])


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_exists(name: str) -> None:
    assert getattr(ad, name) is not None


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        ad.no_such_name  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, autodiffc;"
        "print([m for m in ('sympy', 'networkx', 'numpy', 'cffi', 'rich') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "[]"
