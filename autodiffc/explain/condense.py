"""A model's graph with the values that a person would write down, and no others.

    taught    operations whose stanza says how a lecture writes them are written so; checks of
              indices, which change no value, disappear
    inlined   what one operation computes element by element on its way, signs, and the terms of a
              sum become part of the formula that reads them: y = d + e + f is one row
    absorbed  so do sums that a term is added to, or that are divided: a bias, a mean
    renamed   h_conv2d_2 is h_conv2d where that name has become free

Every value that the user named keeps its row, and so does every operation that the user called.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from autodiffc.differentiate.chain import differentiate_body
from autodiffc.dsl.naming import in_one_assignment, is_automatic
from autodiffc.graph.comprehension import Comprehension
from autodiffc.graph.construct import labelled
from autodiffc.graph.dag import Graph, ancestors
from autodiffc.graph.expression import Expression
from autodiffc.graph.node import LEAVES, Node, Origin, renew
from autodiffc.graph.scalars import Call, args_used
from autodiffc.ops.registry import OPERATIONS
from autodiffc.passes.fuse import absorbed, inlined

SIGNED = ("add", "sub", "neg")


def condensed(graph: Graph) -> Graph:
    """The graph whose nodes are the rows of the table, and their leaves."""
    names = {str(node.name) for node in graph.order}
    return _renamed(_absorbed(_inlined(_taught(graph))), names)


Rule = Callable[[Node, Node], Node]  # from a node, and the node over its new operands


def _sweep(graph: Graph, rule: Rule) -> Graph:
    new: dict[Node, Node] = {}
    for old in graph.order:
        inputs = tuple(new[i] for i in old.inputs)
        new[old] = rule(old, old if inputs == old.inputs else renew(old, inputs=inputs))
    return Graph({name: new[node] for name, node in graph.outputs.items()})


# --- As a lecture writes it ---


def _taught(graph: Graph) -> Graph:
    """Calls of operations with a `taught` form in that form."""
    made: dict[int, Node] = {}  # by serial number, which copies keep: arguments are known by it

    def rule(old: Node, node: Node) -> Node:
        if node.op == "check_index":
            node = node.inputs[0]
        elif isinstance(old.label, Origin) and _is_whole(graph, old, old.label):
            node = _as_taught(old, old.label, made) or node
        made[old.serial] = node
        return node

    return _sweep(graph, rule)


def _is_whole(graph: Graph, node: Node, origin: Origin) -> bool:
    """Whether a node is what the call returned, and its other values are used within it alone."""
    if node.serial != origin.result:
        return False
    inside = [n for n in graph.order if n.label is origin and n is not node]
    users = {user for n in inside for user in graph.users(n)}
    return all(user.label is origin for user in users) and not (
        set(graph.outputs.values()) & set(inside)
    )


def _as_taught(node: Node, origin: Origin, made: dict[int, Node]) -> Node | None:
    taught = OPERATIONS[origin].taught if origin in OPERATIONS else None
    if taught is None:
        return None
    try:
        arguments = [_argument(a, made) for a in origin.arguments]
        keywords = {key: _argument(a, made) for key, a in origin.keywords.items()}
    except KeyError:  # an operand that the model does not contain in this form
        return None
    with labelled(origin):
        result: Node = taught(*arguments, **keywords).node
    return _placed(result, node, set(made.values()))


def _argument(argument: object, made: dict[int, Node]) -> object:
    return Expression(made[argument.node.serial]) if isinstance(argument, Expression) else argument


def _placed(result: Node, original: Node, known: set[Node]) -> Node:
    """The new nodes at the original's place in the file and in the order of rows."""
    new: dict[Node, Node] = {}
    for node in ancestors([result]):
        if node in known or node.op in LEAVES:
            new[node] = node
            continue
        inputs = tuple(new[i] for i in node.inputs)
        if node.op == "check_index":
            new[node] = inputs[0]
            continue
        name = original.name if node is result else node.name or f"{original.name}_{node.label}"
        new[node] = renew(node, inputs=inputs, name=name, loc=original.loc, serial=original.serial)
    return new[result]


# --- Formulas within formulas ---


def _inlined(graph: Graph) -> Graph:
    outputs = set(graph.outputs.values())

    def rule(old: Node, node: Node) -> Node:
        for before, operand in zip(old.inputs, node.inputs, strict=True):
            if operand in node.inputs and _is_part(graph, outputs, before, old):
                node = inlined(node, operand) or node
        return node

    return _sweep(graph, rule)


def _absorbed(graph: Graph) -> Graph:
    outputs = set(graph.outputs.values())

    def rule(old: Node, node: Node) -> Node:
        for k, before in enumerate(old.inputs):
            if _is_part(graph, outputs, before, old) and _adds_up(node, k):
                whole = absorbed(node, k)
                return node if whole is None else renew(whole, label=node.label)
        return node

    return _sweep(graph, rule)


def _is_part(graph: Graph, outputs: set[Node], node: Node, reader: Node) -> bool:
    """Whether nobody would give `node` a row of its own."""
    if node.op != "compute" or reader.op != "compute" or node in outputs:
        return False
    if "adjoint" in node.attrs or "adjoint" in reader.attrs:
        return False
    if not node.inputs:
        return is_automatic(node)  # a size, a constant
    if len(graph.users(node)) != 1 or not is_automatic(node):
        return False
    if isinstance(node.label, Origin) and node.label is reader.label:
        return True
    return in_one_assignment(node, reader) and _belongs(node, reader)


def _belongs(node: Node, reader: Node) -> bool:
    """Signs belong to what has them, terms to their sum, a formula's sums to the formula."""
    first, second = _function(node), _function(reader)
    if first == "neg":
        return True
    if second in SIGNED and (first in SIGNED or node.formula.combine == "sum"):
        return True
    return node.label == "sum_over" and reader.label == "compute"


def _function(node: Node) -> str | None:
    """The outermost function of an elementwise formula."""
    if len(node.pieces) != 1 or node.formula.combine != "set":
        return None
    body = node.formula.body
    return body.function if isinstance(body, Call) else None


def _adds_up(node: Node, k: int) -> bool:
    """Whether input k is a sum whose value no partial derivative needs."""
    source = node.inputs[k]
    if len(source.pieces) != 1 or source.formula.combine != "sum" or len(node.pieces) != 1:
        return False
    return _is_permutation(source.formula) and _is_linear(node, k)


def _is_permutation(piece: Comprehension) -> bool:
    return all(getattr(row, "plain_index", None) is not None for row in piece.out)


def _is_linear(node: Node, k: int) -> bool:
    """Whether no partial derivative of an elementwise formula mentions its input k."""
    piece = node.formula
    reads = {j for j, access in enumerate(piece.operands) if access.operand == k}
    dtypes = [node.inputs[access.operand].dtype for access in piece.operands]
    partials = [differentiate_body(piece.body, j, dtypes) for j in range(len(dtypes))]
    return not any(reads & set(args_used(p)) for p in partials if p is not None)


# --- Names ---


def _renamed(graph: Graph, before: set[str]) -> Graph:
    """Numbers dropped, or lowered, where another value no longer takes the name."""
    taken = {str(node.name) for node in graph.order}
    free = before - taken

    def rule(old: Node, node: Node) -> Node:
        if not is_automatic(node) or node.op in LEAVES:
            return node
        stem, number = _numbered(str(node.name))
        wanted = [stem, *(f"{stem}_{k}" for k in range(2, number))]
        better = next((name for name in wanted if name in free), None)
        if better is None:
            return node
        free.remove(better)
        free.add(str(node.name))
        return renew(node, name=better)

    return _sweep(graph, rule)


def _numbered(name: str) -> tuple[str, int]:
    """`h_conv2d` and 2 of `h_conv2d_2`."""
    found = re.fullmatch(r"(.*)_(\d+)", name)
    return (found[1], int(found[2])) if found else (name, 0)
