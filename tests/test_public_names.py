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

DIFFERENTIATION = ["grad", "stop_gradient"]

ELEMENTARY = [
    *["exp", "log", "log1p", "expm1", "sqrt", "pow", "abs", "sign"],
    *["sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "erf"],
    *["minimum", "maximum", "where", "clip"],
]

ACTIVATIONS = ["sigmoid", "softplus", "relu", "softmax", "log_softmax"]

REDUCTIONS = ["sum", "mean", "max", "min", "amax", "amin", "prod", "argmax", "logsumexp"]

LINEAR_ALGEBRA = ["matmul", "einsum", "linear"]

WINDOWS = [
    *["conv1d", "conv2d", "conv3d"],
    *["max_pool1d", "max_pool2d", "max_pool3d"],
    *["avg_pool1d", "avg_pool2d", "avg_pool3d"],
]

SHAPES = ["reshape", "transpose", "flatten", "concat", "pad", "broadcast_to", "flip", "one_hot"]

LOSSES = [
    *["cross_entropy", "mse", "mse_loss"],
    *["bce_with_logits", "binary_cross_entropy_with_logits"],
]

USING = ["compile", "load", "check_grads", "AutodiffcError", "Expression", "__version__"]

PUBLIC = [
    *MODEL_FILE,
    *INDEX_NOTATION,
    *DIFFERENTIATION,
    *ELEMENTARY,
    *ACTIVATIONS,
    *REDUCTIONS,
    *LINEAR_ALGEBRA,
    *WINDOWS,
    *SHAPES,
    *LOSSES,
    *USING,
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
