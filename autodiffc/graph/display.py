r"""Formulas as a reader writes them: index notation in one line of text, or in LaTeX.

    TEXT     y[n,o,i] = sum over c,p of w[o,c,p]*x[n,c,i+p-1]
    LATEX    y[n,o,i] = \sum_{c,p} w[o,c,p] \cdot x[n,c,i+p-1]

A `Writer` walks bodies and addresses and sets parentheses where the reader needs them and nowhere
else; how things look is a `Notation`'s business. Function formats come from the stanzas of
`ops/functions.py`.

Text stays within ASCII and on one line, without backslashes and without `*/`, since generated C
carries it in comments (names are the caller's).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Indirect, Row
from autodiffc.graph.extents import ExtentLike, shape_text
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.node import LEAVES, Node
from autodiffc.graph.notations import (
    ATOM,
    LOOSE,
    NEGATION,
    NOT,
    NOT_ASSOCIATIVE,
    PRODUCT,
    SUM,
    TEXT,
    Form,
    Notation,
    Written,
)
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Cast,
    Const,
    Index,
    Scalar,
    Size,
    const,
    replace_args,
    rewrite,
)

NameOf = Callable[[Node], str]

# --- The writer ---


@dataclass(frozen=True)
class Writer:
    """Writes the formulas of nodes in one notation."""

    notation: Notation
    name_of: NameOf

    def node(self, node: Node) -> list[str]:
        """A node's value, one string a formula."""
        if node.op == "compute":
            return [self.formula(node, piece) for piece in node.pieces]
        write = self.notation
        name = write.element(self.name_of(node), []).text
        return [f"{name} {write.assign} {self._other(node)}"]

    def formula(self, node: Node, piece: Comprehension) -> str:
        """`y[i,j] = …`, or `dx[2*i+p] += …` where points meet at scattered elements."""
        write = self.notation
        if piece.combine == "set" or (not piece.reduced and _is_plain(piece.out)):
            return self.point(node, piece, write.assign)
        if not _is_plain(piece.out):
            return self.point(node, piece, write.update(piece.combine))
        out = self.element(node, piece.out, piece, node.inputs).text
        value = self._finished(piece, node.inputs, self.reduction(piece, node.inputs))
        return f"{out} {write.assign} {value.text}"

    def point(self, node: Node, piece: Comprehension, sign: str) -> str:
        """What a single point of the domain does: `out sign body`, under the domain's guards."""
        out = self.element(node, piece.out, piece, node.inputs).text
        value = self._finished(piece, node.inputs, self.body(piece, node.inputs))
        return self.notation.guarded(f"{out} {sign} {value.text}", self.conditions(piece.domain))

    def reduction(self, piece: Comprehension, inputs: Sequence[Node]) -> Written:
        """The reduced value, guards included, before `finish`."""
        indices = [self.notation.index(index_names(piece.domain)[k]) for k in piece.reduced]
        body = self._enclosed(self.body(piece, inputs), PRODUCT)
        text = self.notation.reduction(piece.combine, indices, self.conditions(piece.domain), body)
        return Written(text, SUM)

    def body(self, piece: Comprehension, inputs: Sequence[Node]) -> Written:
        args = [self.access(a, piece, inputs) for a in piece.operands]
        return self.scalar(piece.body, args, index_names(piece.domain))

    def _finished(self, piece: Comprehension, inputs: Sequence[Node], value: Written) -> Written:
        if piece.finish is None:
            return value
        rest = [self.access(a, piece, inputs) for a in piece.finish_operands]
        return self.scalar(piece.finish, [value, *rest], index_names(piece.domain))

    # --- addresses ---

    def access(self, access: Access, piece: Comprehension, inputs: Sequence[Node]) -> Written:
        return self.element(inputs[access.operand], access.rows, piece, inputs)

    def element(
        self, node: Node, rows: Sequence[Row], piece: Comprehension, inputs: Sequence[Node]
    ) -> Written:
        names = index_names(piece.domain)
        subscripts = [self._row(row, names, inputs) for row in rows]
        return self.notation.element(self.name_of(node), subscripts)

    def _row(self, row: Row, names: Sequence[str], inputs: Sequence[Node]) -> str:
        if not isinstance(row, Indirect):
            return self.notation.affine(row, names)
        subscripts = [self.notation.affine(a, names) for a in row.rows]
        return self.notation.element(self.name_of(inputs[row.operand]), subscripts).text

    def conditions(self, domain: Domain) -> list[str]:
        """The guards as inequalities; a pair that bounds one expression as `0 <= i+p-2 < 28`."""
        names = index_names(domain)
        found: list[str] = []
        guards = list(domain.guards)
        while guards:
            guard = guards.pop(0)
            partner = next((g for g in guards if _opposite(guard, g)), None)
            if partner is None:
                found.append(self._inequality(guard, names))
                continue
            guards.remove(partner)
            found.append(self._range(guard, partner, names))
        return found

    def _range(self, guard: Affine, partner: Affine, names: Sequence[str]) -> str:
        rising, falling = (guard, partner) if _rises(guard) else (partner, guard)
        write = self.notation
        low = write.condition("0", "<=", write.affine(rising, names))
        return write.condition(low, "<", write.extent(rising.constant + falling.constant + 1))

    def _inequality(self, guard: Affine, names: Sequence[str]) -> str:
        """`guard >= 0` with every term on the side where it is positive."""
        left = Affine(tuple(max(c, 0) for c in guard.coefficients))
        right = Affine(tuple(max(-c, 0) for c in guard.coefficients))
        constant = guard.constant
        write = self.notation
        if left.is_constant:
            return write.condition(write.affine(right, names), "<", write.extent(constant + 1))
        if constant == -1:
            return write.condition(write.affine(left, names), ">", write.affine(right, names))
        if _is_positive(constant):
            left = left + constant
        else:
            right = right + (-constant)
        return write.condition(write.affine(left, names), ">=", write.affine(right, names))

    # --- bodies ---

    def scalar(self, body: Scalar, args: Sequence[Written], names: Sequence[str]) -> Written:
        """A body whose accesses and indices are already written."""
        body = rewrite(body, tidy)
        if self.notation.powers:
            first = {a.text: k for k, a in reversed(list(enumerate(args)))}
            same = replace_args(body, lambda k: Arg(first[args[k].text]))
            body = rewrite(same, _as_power)
        return self._scalar(body, args, names)

    def _scalar(self, body: Scalar, args: Sequence[Written], names: Sequence[str]) -> Written:
        write = self.notation
        if isinstance(body, Arg):
            return args[body.position]
        if isinstance(body, Index):
            return Written(write.index(names[body.position]))
        if isinstance(body, Const):
            return _signed(write.number(body.value), body.value)
        if isinstance(body, Size):
            return Written(write.extent(body.extent), _extent_binds(body.extent))
        if isinstance(body, Cast):
            return Written(write.cast(body.dtype, self._scalar(body.x, args, names).text))
        assert isinstance(body, Call)
        form = self._form(body.function)
        parts = [self._scalar(a, args, names) for a in body.args]
        needs = [self._needs(body, form, k) for k in range(len(parts))]
        texts = [self._enclosed(p, n) for p, n in zip(parts, needs, strict=True)]
        return Written(write.function(body.function, texts), form.binds)

    def _form(self, name: str) -> Form:
        known = self.notation.forms.get(name)
        if known is not None:
            return known
        function = FUNCTIONS[name]
        infix = self.notation.function(name, ["?"] * function.arity)
        if infix.startswith("?") or infix.endswith("?"):  # a format nobody listed: play safe
            return Form(LOOSE, (ATOM,) * function.arity)
        return Form(ATOM, (LOOSE,) * function.arity)

    def _needs(self, body: Call, form: Form, k: int) -> int:
        """What argument k must bind like: a*(b % c) and -(b % c) keep their parentheses."""
        arg = body.args[k]
        rounds = isinstance(arg, Call) and arg.function in NOT_ASSOCIATIVE
        if rounds and (body.function, k) in (("mul", 1), ("neg", 0)):
            return NOT
        return form.needs[k]

    def _enclosed(self, part: Written, needed: int) -> str:
        return part.text if part.binds >= needed else self.notation.group(part.text)

    # --- nodes without a formula ---

    def _other(self, node: Node) -> str:
        write = self.notation
        if node.op in LEAVES:
            return write.word(f"{node.op} {node.type}")
        values = [write.element(self.name_of(x), []).text for x in node.inputs]
        if node.op == "call":
            return write.word(node.label or node.op) + write.group(", ".join(values))
        (value,) = values
        if node.op == "reshape":
            return write.word("reshape") + write.group(
                f"{value}, {write.word(shape_text(node.shape))}"
            )
        if node.op == "check_index":
            bound = write.condition(
                write.condition("0", "<=", value), "<", write.extent(node.attrs["extent"])
            )
            return write.guarded(value, [bound])
        return write.word(node.op) + write.group(value)


def formula_text(node: Node, *, name_of: NameOf) -> str:
    """A node's formulas in index notation: ASCII, on one line, joined by `; `."""
    return "; ".join(Writer(TEXT, name_of).node(node))


# --- What a reader would write differently ---


def tidy(s: Scalar) -> Scalar:
    """Signs pulled out, conversions of indices and sizes left unsaid. For display only."""
    if isinstance(s, Cast) and s.dtype != "bool" and isinstance(s.x, Index | Size):
        return s.x
    if not isinstance(s, Call):
        return s
    if s.function == "add":
        b = _negated(s.args[1])
        return s if b is None else Call("sub", (s.args[0], b))  # a + -b   -> a - b
    if s.function == "sub":
        b = _negated(s.args[1])
        return s if b is None else Call("add", (s.args[0], b))  # a - -b   -> a + b
    if s.function in ("mul", "div"):
        return _signs_first(s)
    if s.function == "neg" and (inner := _negated(s.args[0])) is not None:
        return inner  # --a      -> a
    return s


def _signs_first(s: Call) -> Scalar:
    """a * -b -> -(a*b), -a * b -> -(a*b), -a * -b -> a*b; constants keep their sign at the left."""
    a, b = s.args
    if s.function == "mul" and isinstance(a, Const) and a.value == -1:
        return Call("neg", (b,))
    if s.function == "mul" and isinstance(a, Index) and isinstance(b, Const):
        return Call("mul", (b, a))  # i*2 -> 2*i
    if s.function == "mul" and isinstance(b, Call) and b.function == "mul":
        return tidy(Call("mul", (tidy(Call("mul", (a, b.args[0]))), b.args[1])))  # a*(b*c) -> a*b*c
    if s.function == "mul" and isinstance(b, Call) and _is_reciprocal(b):
        return Call("div", (a, b.args[1]))  # a*(1/b) -> a/b
    minus_b = _negated(b)
    if minus_b is None:
        is_negation = isinstance(a, Call) and a.function == "neg"
        return Call("neg", (Call(s.function, (a.args[0], b)),)) if is_negation else s  # type: ignore[attr-defined]
    minus_a = _negated(a)
    if minus_a is not None:
        return Call(s.function, (minus_a, minus_b))
    if isinstance(minus_b, Const) and minus_b.value == 1:
        return Call("neg", (a,))  # a*-1 -> -a
    return Call("neg", (tidy(Call(s.function, (a, minus_b))),))


def _as_power(s: Scalar) -> Scalar:
    """x*x is the square of x, and so on."""
    if not isinstance(s, Call) or s.function != "mul":
        return s
    a, b = s.args
    if a == b:
        return Call("pow", (a, const(2.0)))
    if isinstance(a, Call) and a.function == "pow" and a.args[0] == b:
        exponent = a.args[1]
        if isinstance(exponent, Const) and exponent.value == int(exponent.value) > 0:
            return Call("pow", (b, const(exponent.value + 1.0)))
    return s


def _is_reciprocal(s: Call) -> bool:
    return s.function == "div" and isinstance(s.args[0], Const) and s.args[0].value == 1


def _negated(s: Scalar) -> Scalar | None:
    """`-s` where that reads more simply than `s`."""
    if isinstance(s, Call) and s.function == "neg":
        return s.args[0]
    if isinstance(s, Const) and not isinstance(s.value, bool) and s.value < 0:
        return Const(-s.value, s.dtype)
    return None


def index_names(domain: Domain) -> tuple[str, ...]:
    """The domain's index names, made different from each other."""
    taken: list[str] = []
    for name in domain.names:
        candidate, count = name, 1
        while candidate in taken:
            candidate, count = f"{name}{count}", count + 1
        taken.append(candidate)
    return tuple(taken)


def _is_plain(rows: Sequence[Row]) -> bool:
    """Whether an address names each element by distinct indices and constants alone."""
    indices: list[int] = []
    for row in rows:
        if isinstance(row, Indirect) or (not row.is_constant and row.plain_index is None):
            return False
        indices += row.uses
    return len(set(indices)) == len(indices)


def _opposite(a: Affine, b: Affine) -> bool:
    return a.coefficients == tuple(-c for c in b.coefficients)


def _rises(a: Affine) -> bool:
    return next((c for c in a.coefficients if c), 0) > 0


def _is_positive(constant: ExtentLike) -> bool:
    return constant > 0 if isinstance(constant, int) else not str(constant).startswith("-")


def _signed(text: str, value: bool | int | float) -> Written:
    negative = not isinstance(value, bool) and math.copysign(1.0, value) < 0
    if r"\cdot" in text:
        return Written(text, NEGATION if negative else PRODUCT)
    return Written(text, NEGATION if negative else ATOM)


def _extent_binds(extent: ExtentLike) -> int:
    text = str(extent)
    if " " in text:
        return SUM
    return NEGATION if text.startswith("-") else PRODUCT if "*" in text else ATOM
