"""Names for intermediate values, taken from the model file.

A value that the user named keeps its name. Otherwise the assignment that encloses the expression
lends its variable: in `h = ad.relu(nn.conv2d(x, ...))` the result is `h` and the convolution inside
is `h_conv2d`. Names are made unique with _2, _3, … in the order in which values were made, so they
depend on nothing but the model file.
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from autodiffc.dsl.names import check_name
from autodiffc.errors import SourceLocation
from autodiffc.graph.construct import labelled, view
from autodiffc.graph.dag import Graph
from autodiffc.graph.expression import Expression, as_node
from autodiffc.graph.node import LEAVES, Node, Origin, note, renew


def name(expression: Expression, text: str) -> Expression:
    """Names a value, for listings and generated code; the value stays what it is.

    What has a name already (leaves have) keeps it, and a copy of it gets the new one.
    """
    node = as_node(expression, "the expression to name")
    check_name(text, "an intermediate")
    if node.name == text and node.op not in LEAVES:
        return Expression(node)
    if node.name is not None or node.op in LEAVES:
        with labelled("copy"):
            node = view(node, node.shape, lambda rows: rows, label="copy")
    return Expression(note(node, name=text))


def named_graph(graph: Graph) -> Graph:
    """The graph with a unique name on every node."""
    names = node_names(graph)
    by_identity = {id(node): names[node] for node in graph.order}
    new: dict[Node, Node] = {}
    for node in graph.order:
        inputs = tuple(new[i] for i in node.inputs)
        wanted = by_identity[id(node)]
        same = wanted == node.name and all(a is b for a, b in zip(inputs, node.inputs, strict=True))
        new[node] = node if same else renew(node, inputs=inputs, name=wanted)
    return Graph({key: new[node] for key, node in graph.outputs.items()})


def node_names(graph: Graph) -> dict[Node, str]:
    """A unique name for every node; leaves and named values keep theirs."""
    names: dict[Node, str] = {}
    taken: set[str] = set()
    for fixed in (True, False):
        for node in graph.order:
            if (node.name is not None) == fixed:
                names[node] = _unique(_wanted_name(graph, node), taken, keep=node.op in LEAVES)
    return names


def is_automatic(node: Node) -> bool:
    """Whether nobody named a value of a model: it is called after its operation, `h_conv2d_2`."""
    stem = re.sub(r"_\d+$", "", str(node.name))
    variable, whole = _variable(node.loc)
    if whole and stem == variable:
        return False
    return stem in (_kind(node), f"{variable}_{_kind(node)}")


def in_one_assignment(a: Node, b: Node) -> bool:
    """Whether the model file assigns both values in one place."""
    if a.loc is None or b.loc is None or a.loc.file != b.loc.file:
        return False
    first = _innermost(a.loc)
    return first is not None and first == _innermost(b.loc)


def _kind(node: Node) -> str:
    return re.sub(r"\W", "_", node.label or node.op)


def _unique(wanted: str, taken: set[str], *, keep: bool) -> str:
    candidate, count = wanted, 1
    while candidate in taken and not keep:
        count += 1
        candidate = f"{wanted}_{count}"
    taken.add(candidate)
    return candidate


def _wanted_name(graph: Graph, node: Node) -> str:
    if node.name is not None:
        return node.name
    kind = _kind(node)
    variable, whole = _variable(node.loc)
    is_step = kind.startswith("d_")  # of a gradient, at the line of the formula that it derives
    if variable is not None and whole and not is_step and _leaves_its_line(graph, node):
        return variable
    if isinstance(node.label, Origin) and node.label == "grad":
        position, count = node.label.arguments
        unpacked: str | None = unpacked_at(node.loc, count)[position]
        if unpacked is not None:
            return unpacked
    keys = [key for key, output in graph.outputs.items() if output is node and key.isidentifier()]
    if keys:
        return keys[0]
    return kind if variable is None else f"{variable}_{kind}"


def _leaves_its_line(graph: Graph, node: Node) -> bool:
    """Whether the value is used elsewhere: one operation may have made several nodes in a row."""
    users = graph.users(node)
    return (
        not users
        or any(user.loc != node.loc for user in users)
        or any(output is node for output in graph.outputs.values())
    )


# --- What the file assigns ---

Position = tuple[int, int]


@dataclass(frozen=True)
class Assignment:
    """`variable = <text from start to end>`, lines from 1 and columns from 0 as in `ast`."""

    variable: str
    start: Position
    end: Position

    def holds(self, loc: SourceLocation) -> bool:
        return self.start <= (loc.line, loc.column - 1) < self.end

    def is_all_of(self, loc: SourceLocation) -> bool:
        """Whether the place is the whole right-hand side, not a part of it."""
        if self.start != (loc.line, loc.column - 1):
            return False
        several_lines = self.end[0] != self.start[0]
        return (
            several_lines if loc.end_column is None else self.end == (loc.line, loc.end_column - 1)
        )


def variable_at(loc: SourceLocation | None) -> str | None:
    """The variable that is assigned where the place lies, if there is one."""
    return _variable(loc)[0]


def unpacked_at(loc: SourceLocation | None, count: int) -> list[str | None]:
    """The variables of `a, b = ...` at a place that is all of its right-hand side."""
    nothing: list[str | None] = [None] * count
    if loc is None:
        return nothing
    place = _in_bytes(loc)
    for variables, whole in _unpackings("".join(linecache.getlines(loc.file))):
        if len(variables) == count and whole.is_all_of(place):
            return list(variables)
    return nothing


def _variable(loc: SourceLocation | None) -> tuple[str | None, bool]:
    """The variable assigned where the place lies, and whether the place is all of its value."""
    innermost = None if loc is None else _innermost(loc)
    if loc is None or innermost is None:
        return None, False
    return innermost.variable, innermost.is_all_of(_in_bytes(loc))


def _innermost(loc: SourceLocation) -> Assignment | None:
    """The smallest assignment around a place."""
    loc = _in_bytes(loc)
    around = [a for a in assignments(loc.file) if a.holds(loc)]
    return max(around, key=lambda a: (a.start, tuple(-e for e in a.end)), default=None)


def _in_bytes(loc: SourceLocation) -> SourceLocation:
    """The place with columns that count UTF-8 bytes, as `ast` does."""
    text = linecache.getline(loc.file, loc.line)
    if text.isascii():
        return loc
    column, end = (c and len(text[: c - 1].encode()) + 1 for c in (loc.column, loc.end_column))
    return SourceLocation(loc.file, loc.line, column or 1, end)


def assignments(file: str) -> tuple[Assignment, ...]:
    """Every assignment to a plain variable in a source file; none where it cannot be read."""
    return _assignments("".join(linecache.getlines(file)))


@cache
def _assignments(source: str) -> tuple[Assignment, ...]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    return tuple(found for statement in ast.walk(tree) for found in _of_statement(statement))


@cache
def _unpackings(source: str) -> tuple[tuple[tuple[str, ...], Assignment], ...]:
    """Assignments of one value to several plain variables."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    found = []
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Assign):
            place = _assignment("", statement.value)
            found += [(names, place) for t in statement.targets if (names := _unpacked(t))]
    return tuple(found)


def _unpacked(target: ast.expr) -> tuple[str, ...]:
    """The variables of `a, b`; none of them where one is no plain variable."""
    elements = target.elts if isinstance(target, ast.Tuple | ast.List) else []
    names = tuple(e.id for e in elements if isinstance(e, ast.Name))
    return names if len(names) == len(elements) else ()


def _of_statement(statement: ast.AST) -> Iterator[Assignment]:
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from _pairs(target, statement.value)
    elif isinstance(statement, ast.AnnAssign | ast.NamedExpr) and statement.value is not None:
        yield from _pairs(statement.target, statement.value)
    elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        yield _assignment(statement.target.id, statement)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[Assignment]:
    if isinstance(target, ast.Name) and not _makes_a_model(value):
        yield _assignment(target.id, value)
    elif isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
        for part, element in zip(target.elts, value.elts, strict=False):
            yield from _pairs(part, element)


def _makes_a_model(value: ast.expr) -> bool:
    """`model = ad.Model(...)`: the variable is no name for the expressions inside."""
    function = value.func if isinstance(value, ast.Call) else None
    return isinstance(function, ast.Attribute) and function.attr in ("Model", "compile")


def _assignment(variable: str, value: ast.expr | ast.stmt) -> Assignment:
    assert value.end_lineno is not None
    assert value.end_col_offset is not None
    start = (value.lineno, value.col_offset)
    return Assignment(variable, start, (value.end_lineno, value.end_col_offset))
