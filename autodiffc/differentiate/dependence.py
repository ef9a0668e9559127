"""Which values a derivative reaches, so that asking for another one is an error, not a zero.

A derivative passes from a node to an operand if the operand's elements enter the node's body as
floating values: not through a comparison, a conversion to integers, an index or `stop_gradient`.
A floating step function such as `floor` lets it pass; its derivative is zero wherever it has one.

A gradient may well not depend any more on what the function it came from depends on: the gradient
of `x*z` by x is z. Differentiating it by x is no mistake and gives zero, so every gradient
remembers its function (`Node.gradient_of`), and the paths of that count too.
"""

from __future__ import annotations

from collections.abc import Sequence

from autodiffc.errors import DifferentiationError, SourceLocation
from autodiffc.graph.dag import ancestors
from autodiffc.graph.node import LEAVES, Node
from autodiffc.graph.scalars import Arg, Call, Cast, Scalar, children, dtype_of
from autodiffc.graph.types import is_float


def reached(outputs: Sequence[Node]) -> set[Node]:
    """Every node that a derivative of the outputs, or of what they are gradients of, gets to."""
    roots = [*outputs]
    for root in roots:  # grows while it is walked
        for node in ancestors([root]):
            if node.gradient_of is not None and node.gradient_of not in roots:
                roots.append(node.gradient_of)
    found, stack = set(roots), list(roots)
    while stack:
        for operand in operands_reached(stack.pop()):
            if operand not in found:
                found.add(operand)
                stack.append(operand)
    return found


def operands_reached(node: Node) -> tuple[Node, ...]:
    """The operands that a node passes its derivative on to."""
    if not is_float(node.dtype):
        return ()
    if node.op == "reshape":
        return node.inputs
    if node.op == "call":
        inside = {n.name for n in reached([called_output(node)]) if n.op == "input"}
        named = zip(node.attrs["arguments"], node.inputs, strict=True)
        return tuple(dict.fromkeys(x for name, x in named if name in inside))
    found: dict[Node, None] = {}
    for piece in node.pieces:
        dtypes = [node.inputs[a.operand].dtype for a in piece.operands]
        for position in _carried(piece.body, dtypes):
            found.setdefault(node.inputs[piece.operands[position].operand])
    return tuple(found)


def called_output(node: Node) -> Node:
    """The node of its subgraph whose value a call has."""
    assert node.subgraph is not None
    return node.subgraph.outputs[node.attrs["output"]]


def _carried(body: Scalar, dtypes: Sequence[str]) -> set[int]:
    """The accesses whose elements enter a body as floating values."""
    found: set[int] = set()
    stack = [body]
    while stack:
        scalar = stack.pop()
        if not isinstance(scalar, Arg | Call | Cast) or not is_float(dtype_of(scalar, dtypes)):
            continue
        if isinstance(scalar, Arg):
            found.add(scalar.position)
        elif isinstance(scalar, Call) and scalar.function == "where":
            stack += scalar.args[1:]
        else:
            stack += children(scalar)
    return found


def check_dependence(
    y: Node, targets: Sequence[Node], what: str, loc: SourceLocation | None
) -> None:
    """Refuses targets that no derivative of `y` reaches; `what` introduces `y` in the message."""
    found = reached([y])
    for target in targets:
        if target not in found:
            raise independent(y, target, what, loc)


def independent(
    y: Node, target: Node, what: str, loc: SourceLocation | None
) -> DifferentiationError:
    """The error that shows where the target was made and why `y` has no derivative by it."""
    place = f", made at {target.loc}" if target.loc else ""
    excerpt = (target.loc.excerpt() if target.loc else None) or ""
    is_read = target in set(ancestors([y]))
    expected, help = "a value that it is computed from", None
    if is_read:
        expected = "a value that enters it as a floating number"
        help = "comparisons, integers and ad.stop_gradient do not pass gradients on"
        for cut in _cuts(y, target)[:1]:
            place += f", read by {cut!r}" + (f" at {cut.loc}" if cut.loc else "")
            place += ", which has no derivative"
    elif target.op not in LEAVES:
        help = "a formula written twice makes two values: keep one in a variable, and use that"
    return DifferentiationError(
        f"{what} does not depend on {_described(target)}" + (" smoothly" if is_read else ""),
        found=f"{target!r}{place}" + (f"\n{excerpt}" if excerpt else ""),
        expected=expected,
        help=help,
        loc=loc,
    )


def _cuts(y: Node, target: Node) -> list[Node]:
    """The operations on the way from `target` to `y` that do not pass its derivative on."""
    smooth, found = {target}, []
    for node in ancestors([y]):
        if node in smooth or not any(x in smooth for x in node.inputs):
            continue
        if any(x in smooth for x in operands_reached(node)):
            smooth.add(node)
        else:
            found.append(node)
    return found


def _described(node: Node) -> str:
    if node.op == "constant":
        return "this constant"
    if node.op in LEAVES:
        return f"{node.op} {node.name!r}"
    return f"{node.name!r}" if node.name else f"this result of {node.label or node.op}"
