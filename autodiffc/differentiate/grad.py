"""`ad.grad`: gradients as expressions of the same graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from autodiffc.differentiate.dependence import check_dependence
from autodiffc.differentiate.reverse import gradients
from autodiffc.errors import ArgumentTypeError
from autodiffc.graph.dag import ancestors
from autodiffc.graph.expression import Expression
from autodiffc.graph.location import here
from autodiffc.graph.node import Origin, note, renew


@overload
def grad(y: Expression, x: Expression) -> Expression: ...
@overload
def grad(y: Expression, x: Sequence[Expression]) -> list[Expression]: ...
def grad(y: Expression, x: Expression | Sequence[Expression]) -> Expression | list[Expression]:
    """The gradient of the scalar `y` with respect to `x`, or to each of a list.

    The result is an expression like any other: it may be an output, stand inside a loss, and be
    differentiated again. `x` may be an input, a parameter, or any intermediate value of `y`.
    Like any value it is called after its variable: `slope = ad.grad(y, x)`.
    Raises DifferentiationError where `y` is not a scalar, or does not depend on `x`.
    """
    many = isinstance(x, list | tuple)
    targets: list[Expression] = list(x) if isinstance(x, list | tuple) else [x]  # type: ignore[list-item]
    for value in (y, *targets):
        if not isinstance(value, Expression):
            raise ArgumentTypeError(
                "grad takes expressions",
                found=f"{value!r} ({type(value).__name__})",
                expected="ad.grad(y, x) or ad.grad(y, [x1, x2])",
                loc=here(),
            )
    wanted = [t.node for t in targets]
    nodes = gradients(y.node, wanted)
    check_dependence(y.node, wanted, "the differentiated value", here())
    known = set(ancestors([y.node, *wanted]))
    named = [
        node if node in known else renew(node, loc=here(), label=_label(k, len(nodes), many))
        for k, node in enumerate(nodes)
    ]
    found = [Expression(note(node, gradient_of=y.node)) for node in named]
    return found if many else found[0]


def _label(position: int, count: int, many: bool) -> str:
    """The operation, with the result's position where they may be unpacked: `a, b = grad(…)`."""
    return Origin("grad", (position, count), {}) if many else "grad"
