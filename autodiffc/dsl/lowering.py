"""From a formula in index notation to comprehensions.

One `Formula` becomes one comprehension. A reduction that is only part of a formula becomes a node
of its own over those outer indices that it uses, and is read like any other tensor. So
`sum_over(k, a[i, k]*b[k, j]) + c[j]` is a matrix product and an elementwise sum, and each is
computed once for each of its own indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from autodiffc.dsl.elements import (
    Apply,
    Convert,
    Element,
    Index,
    IndexExpression,
    Number,
    Read,
    Reduction,
    apply,
    argument_dtypes,
    free_indices,
)
from autodiffc.dsl.inference import Extents, Guards, is_in_range, uses
from autodiffc.dsl.nonempty import may_be_empty
from autodiffc.errors import SourceLocation
from autodiffc.graph.affine import Affine, identity
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Indirect, Row
from autodiffc.graph.construct import check_index, compute, number_of
from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Cast, Const, Scalar, Size, cast_to, coerced_call
from autodiffc.graph.scalars import Index as IndexValue
from autodiffc.graph.types import is_float

Typed = tuple[Scalar, str]

_IDENTITY = {"set": 0, "sum": 0, "prod": 1}


@dataclass(frozen=True)
class Formula:
    """`out[outer] combine= body` over `outer` and `reduced`, where guards and condition hold."""

    outer: tuple[Index, ...]
    body: Element
    combine: str = "set"
    reduced: tuple[Index, ...] = ()
    guards: Guards = ()
    condition: Element | None = None
    loc: SourceLocation | None = None

    @property
    def loops(self) -> tuple[Index, ...]:
        return (*self.outer, *self.reduced)


@dataclass
class Shared:
    """What all formulas of one `compute` have in common."""

    extents: Extents
    label: str
    nodes: dict[tuple[int, tuple[int, ...]], Node] = field(default_factory=dict)
    checked: dict[tuple[int, ExtentLike], Node] = field(default_factory=dict)


def build(formula: Formula, shared: Shared) -> Node:
    """The node that computes a formula."""
    return _Builder(formula, shared).node()


class _Builder:
    """Collects the inputs and accesses of one comprehension while its body is lowered."""

    def __init__(self, formula: Formula, shared: Shared) -> None:
        self.formula = formula
        self.shared = shared
        self.position = {index: k for k, index in enumerate(formula.loops)}
        self.inputs: list[Node] = []
        self.accesses: list[Access] = []

    def node(self) -> Node:
        formula, extents = self.formula, self.shared.extents
        body = self.body()
        domain = Domain(
            tuple(extents[i] for i in formula.loops),
            tuple(self.affine(g) for g in formula.guards),
            unique_names(formula.loops),
        )
        rows = identity(len(formula.loops))[: len(formula.outer)]
        piece = Comprehension(domain, rows, tuple(self.accesses), body, formula.combine)
        shape = tuple(extents[i] for i in formula.outer)
        label = self.shared.label if formula.combine == "set" else f"{formula.combine}_over"
        return compute(self.inputs, [piece], shape, label=label, loc=formula.loc)

    def body(self) -> Scalar:
        body = self.formula.body
        if self.formula.condition is not None:
            body = apply("where", self.formula.condition, body, self.identity())
        scalar, dtype = self.scalar(body)
        if isinstance(body, Number):  # a constant everywhere: of the build's type if floating
            return Const(body.value, dtype)
        return scalar

    def identity(self) -> Element:
        """The combiner's identity, for points whose condition does not hold."""
        combine, dtype = self.formula.combine, self.formula.body.dtype
        if combine in _IDENTITY:
            return Number(bool(0) if dtype == "bool" else _IDENTITY[combine])
        if is_float(dtype):
            return Number(float("-inf") if combine == "max" else float("inf"))
        limits = np.iinfo(dtype)
        return Number(int(limits.min if combine == "max" else limits.max))

    # --- addresses ---

    def affine(self, expression: IndexExpression) -> Affine:
        coefficients = [0] * len(self.position)
        for index, coefficient in expression.terms.items():
            coefficients[self.position[index]] = coefficient
        return Affine(tuple(coefficients), expression.constant)

    def input(self, node: Node) -> int:
        known = next((k for k, other in enumerate(self.inputs) if other is node), None)
        if known is None:
            self.inputs.append(node)
        return len(self.inputs) - 1 if known is None else known

    def access(self, node: Node, rows: tuple[Row, ...]) -> Arg:
        access = Access(self.input(node), rows)
        if access not in self.accesses:
            self.accesses.append(access)
        return Arg(self.accesses.index(access))

    def row(self, subscript: Element, extent: ExtentLike) -> Row:
        if isinstance(subscript, IndexExpression):
            return self.affine(subscript)
        assert isinstance(subscript, Read)
        table, subscripts = subscript.node, subscript.subscripts
        if not all(isinstance(s, IndexExpression) for s in subscripts):
            subscripts = self.indices_of(subscript)
            table = build(Formula(self.indices_of(subscript), subscript), self.shared)
        rows = tuple(self.affine(s) for s in subscripts if isinstance(s, IndexExpression))
        return Indirect(self.input(self.in_range(table, extent)), rows)

    def in_range(self, table: Node, extent: ExtentLike) -> Node:
        """The integer tensor behind the run-time check that its elements are valid indices."""
        key = (id(table), extent)
        if key not in self.shared.checked:
            self.shared.checked[key] = check_index(table, extent)
        return self.shared.checked[key]

    # --- bodies ---

    def scalar(self, element: Element) -> Typed:
        if isinstance(element, IndexExpression):
            return self.index_value(element), "int64"
        if isinstance(element, Number):
            return self.number(element, element.dtype), element.dtype
        if isinstance(element, Read):
            shape = element.node.shape
            rows = tuple(self.row(s, e) for s, e in zip(element.subscripts, shape, strict=True))
            return self.access(element.node, rows), element.dtype
        if isinstance(element, Convert):
            return cast_to(*self.scalar(element.x), element.target), element.target
        if isinstance(element, Apply):
            return self.call(element)
        assert isinstance(element, Reduction)
        return self.nested(element), element.dtype

    def number(self, number: Number, dtype: str) -> Scalar:
        return number_of(number.value, dtype)

    def call(self, element: Apply) -> Typed:
        dtypes = argument_dtypes(element.function, element.args)
        args: list[Typed] = []
        for arg, dtype in zip(element.args, dtypes, strict=True):
            args.append(
                (self.number(arg, dtype), dtype) if isinstance(arg, Number) else self.scalar(arg)
            )
        return coerced_call(element.function, *args)

    def index_value(self, expression: IndexExpression) -> Scalar:
        constant = expression.constant
        total: Scalar | None = None
        if constant != 0 or not expression.terms:
            total = Const(constant, "int64") if isinstance(constant, int) else Size(constant)
        for index, coefficient in expression.terms.items():
            term: Scalar = Cast("int64", IndexValue(self.position[index]))
            if coefficient != 1:
                term = Const(coefficient, "int64") * term
            total = term if total is None else total + term
        assert total is not None
        return total

    # --- reductions inside a formula ---

    def nested(self, reduction: Reduction) -> Scalar:
        outer, guards = self.scope(reduction)
        key = (id(reduction), tuple(id(g) for g in (*outer, *guards)))
        if key not in self.shared.nodes:
            inner = Formula(
                outer,
                reduction.body,
                reduction.combine,
                reduction.indices,
                (*guards, *reduction.guards),
                reduction.condition,
                reduction.loc,
            )
            self.shared.nodes[key] = build(inner, self.shared)
        rows = tuple(self.affine(index) for index in outer)
        return self.access(self.shared.nodes[key], rows)

    def scope(self, reduction: Reduction) -> tuple[tuple[Index, ...], Guards]:
        """The outer indices a reduction is computed for, and the outer guards it needs.

        Guards are taken along only where its reads are not in range without them, or a maximum
        has elements without a point; then the indices that these guards mention come along too.
        """
        outer, extents = free_indices(reduction), self.shared.extents
        guards: Guards = ()
        in_range = all(is_in_range(use, extents) for use in uses(reduction))
        if self.formula.guards and (not in_range or may_be_empty(reduction, extents)):
            guards = self.formula.guards
            for _ in guards:
                touching = [g for g in guards if g.terms.keys() & outer.keys()]
                outer |= {i: None for g in touching for i in g.terms}
            guards = tuple(g for g in guards if g.terms.keys() <= outer.keys())
        return self.in_loop_order(outer), guards

    def indices_of(self, element: Element) -> tuple[Index, ...]:
        return self.in_loop_order(free_indices(element))

    def in_loop_order(self, indices: dict[Index, None]) -> tuple[Index, ...]:
        return tuple(i for i in self.formula.loops if i in indices)


def unique_names(indices: Sequence[Index]) -> tuple[str, ...]:
    """The indices' names, with a number where two share one."""
    names: list[str] = []
    for index in indices:
        name, count = index.name, 1
        while name in names:
            count += 1
            name = f"{index.name}{count}"
        names.append(name)
    return tuple(names)
