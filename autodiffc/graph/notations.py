"""Notations: how elements, functions and reductions look, as plain text or in LaTeX.

A notation writes one construct from parts that are already written; `graph.display` walks the
formulas and sets the parentheses. For that, every part is `Written`: its text, and how tightly the
text binds, on Python's scale. A reduction binds like a sum and reaches as far as a product does, as
Σ does in mathematics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autodiffc.graph.affine import Affine
from autodiffc.graph.extents import Extent, ExtentLike
from autodiffc.graph.functions import FUNCTIONS

# How tightly things bind, loosest first.
LOOSE, COMPARE, OR, XOR, AND, SUM, NEGATION, PRODUCT, NOT, POWER, ATOM = range(11)


@dataclass(frozen=True)
class Written:
    """A piece of text and how tightly it binds."""

    text: str
    binds: int = ATOM


@dataclass(frozen=True)
class Form:
    """How tightly a function's text binds, and how tightly each of its arguments must."""

    binds: int
    needs: tuple[int, ...]


# Functions whose format is no call; everything else delimits its arguments itself.
# a + (b + c) and a*(b*c) go without parentheses: a reader takes them for the same.
FORMS: Mapping[str, Form] = {
    "add": Form(SUM, (SUM, SUM)),
    "sub": Form(SUM, (SUM, NEGATION)),
    "neg": Form(NEGATION, (PRODUCT,)),
    "mul": Form(PRODUCT, (NEGATION, PRODUCT)),
    "div": Form(PRODUCT, (NEGATION, NOT)),
    "floordiv": Form(PRODUCT, (PRODUCT, NOT)),
    "mod": Form(PRODUCT, (PRODUCT, NOT)),
    "int_floordiv": Form(PRODUCT, (PRODUCT, NOT)),
    "int_mod": Form(PRODUCT, (PRODUCT, NOT)),
    **dict.fromkeys(("pow", "int_pow"), Form(POWER, (ATOM, ATOM))),
    "not": Form(NOT, (NOT,)),
    "and": Form(AND, (AND, SUM)),
    "xor": Form(XOR, (XOR, SUM)),
    "or": Form(OR, (OR, SUM)),
    **{name: Form(COMPARE, (SUM, SUM)) for name in ("lt", "le", "gt", "ge", "eq", "ne")},
}
LATEX_FORMS: Mapping[str, Form] = {
    **FORMS,
    "div": Form(PRODUCT, (LOOSE, LOOSE)),
    **dict.fromkeys(("pow", "int_pow"), Form(POWER, (ATOM, LOOSE))),
    "exp": Form(POWER, (LOOSE,)),
    "exp2": Form(POWER, (LOOSE,)),
    "expm1": Form(SUM, (LOOSE,)),
    "log1p": Form(ATOM, (PRODUCT,)),
    "where": Form(LOOSE, (LOOSE, LOOSE, LOOSE)),
    "floordiv": Form(ATOM, (PRODUCT, NOT)),
    "int_floordiv": Form(ATOM, (PRODUCT, NOT)),
}
NOT_ASSOCIATIVE = ("floordiv", "mod", "int_floordiv", "int_mod")


# --- Notations ---


class Notation:
    """One way of writing; this base class writes plain text.

    Subclasses override what looks different. Arguments are already written.
    """

    forms: Mapping[str, Form] = FORMS
    assign, accumulate = "=", "+="
    powers = False  # whether x*x is written as a power

    def name(self, name: str) -> str:
        """A tensor's name."""
        return name

    def index(self, name: str) -> str:
        """A loop index."""
        return name

    def element(self, name: str, subscripts: Sequence[str]) -> Written:
        """One element of a tensor; a scalar has no subscripts."""
        written = self.name(name)
        return Written(f"{written}[{','.join(subscripts)}]" if subscripts else written)

    def number(self, value: bool | int | float) -> str:
        return number_text(value)

    def extent(self, extent: ExtentLike) -> str:
        return str(extent)

    def affine(self, affine: Affine, names: Sequence[str]) -> str:
        """A subscript: written tightly, since commas separate it from its neighbours."""
        return affine.text([self.index(n) for n in names]).replace(" ", "")

    def group(self, text: str) -> str:
        return f"({text})"

    def function(self, name: str, args: Sequence[str]) -> str:
        return FUNCTIONS[name].text.format(*args)

    def cast(self, dtype: str, text: str) -> str:
        return f"{dtype}({text})"

    def reduction(
        self, combine: str, indices: Sequence[str], conditions: Sequence[str], body: str
    ) -> str:
        where = f" where {' and '.join(conditions)}" if conditions else ""
        return f"{combine} over {','.join(indices)}{where} of {body}"

    def condition(self, left: str, relation: str, right: str) -> str:
        """`left relation right`; the relation is one of < <= > >=."""
        return f"{left} {relation} {right}"

    def guarded(self, text: str, conditions: Sequence[str]) -> str:
        """An assignment that holds under conditions."""
        return f"{text} where {' and '.join(conditions)}" if conditions else text

    def update(self, combine: str) -> str:
        """How a scatter that combines writes its assignment."""
        return {"sum": self.accumulate, "prod": "*=", "set": self.assign}.get(
            combine, f"{combine}="
        )

    def word(self, text: str) -> str:
        """A plain word among formulas, such as the name of an operation."""
        return text


class Latex(Notation):
    r"""LaTeX of math mode; `\substack` and `cases` are amsmath's."""

    forms = LATEX_FORMS
    powers = True
    accumulate = r"\mathrel{+}="

    def name(self, name: str) -> str:
        return latex_name(name)

    def index(self, name: str) -> str:
        return latex_name(name)

    def number(self, value: bool | int | float) -> str:
        text = number_text(value)
        mantissa, e, exponent = text.partition("e")
        if e:
            power = f"10^{{{int(exponent)}}}"
            return power if mantissa == "1" else rf"{mantissa} \cdot {power}"
        special = {"inf": r"\infty", "-inf": r"-\infty"}
        return special.get(text, rf"\mathrm{{{text}}}" if text.isalpha() else text)

    def extent(self, extent: ExtentLike) -> str:
        if isinstance(extent, int):
            return str(extent)
        return rf"\mathrm{{{latex_escape(str(extent))}}}"

    def affine(self, affine: Affine, names: Sequence[str]) -> str:
        linear = Affine(
            affine.coefficients, 0 if isinstance(affine.constant, Extent) else affine.constant
        )
        text = linear.text([self.index(n) for n in names]).replace(" ", "").replace("*", r"\,")
        if linear.constant == affine.constant:
            return text
        constant = self.extent(affine.constant)
        return constant if affine.is_constant else f"{text}+{constant}"

    def group(self, text: str) -> str:
        return rf"\left({text}\right)"

    def function(self, name: str, args: Sequence[str]) -> str:
        return FUNCTIONS[name].latex.format(*args)

    def cast(self, dtype: str, text: str) -> str:
        return rf"\mathrm{{{dtype}}}\left({text}\right)"

    def reduction(
        self, combine: str, indices: Sequence[str], conditions: Sequence[str], body: str
    ) -> str:
        under = ",".join(indices)
        if conditions:
            under = rf"\substack{{{under}\\ {', '.join(conditions)}}}"
        return f"{_LATEX_REDUCTIONS[combine]}_{{{under}}} {body}"

    def condition(self, left: str, relation: str, right: str) -> str:
        return f"{left} {_LATEX_RELATIONS.get(relation, relation)} {right}"

    def guarded(self, text: str, conditions: Sequence[str]) -> str:
        joined = r",\; ".join(conditions)
        return rf"{text} \quad \text{{where }} {joined}" if conditions else text

    def update(self, combine: str) -> str:
        if combine in ("sum", "set"):
            return super().update(combine)
        return rf"\overset{{{_LATEX_REDUCTIONS[combine]}}}{{\gets}}"

    def word(self, text: str) -> str:
        return rf"\mathrm{{{latex_escape(text)}}}"


_LATEX_REDUCTIONS = {
    "sum": r"\sum",
    "prod": r"\prod",
    "max": r"\max",
    "min": r"\min",
    "argmax": r"\operatorname*{arg\,max}",
    "argmin": r"\operatorname*{arg\,min}",
}
_LATEX_RELATIONS = {"<=": r"\le", ">=": r"\ge"}
_GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"),
    *("lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi"),
    *("psi", "omega"),
)


TEXT, LATEX = Notation(), Latex()


def latex_name(name: str) -> str:
    """Letters in italics, `u1` with a subscript, Greek letters as such, words upright."""
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    if len(stem) == 1 or stem in _GREEK:
        letter = f"\\{stem}" if stem in _GREEK else stem
        return f"{letter}_{{{digits}}}" if digits else letter
    return rf"\mathrm{{{latex_escape(name)}}}"


def latex_escape(text: str) -> str:
    """Plain text within LaTeX."""
    special = {"\\": r"\backslash ", "~": r"\sim ", "^": r"\hat{}"}
    return "".join(f"\\{c}" if c in "_&%$#{}" else special.get(c, c) for c in text)


def number_text(value: bool | int | float) -> str:
    """A constant, shortly: 2, 0.5, 1e-05, at most six digits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    return f"{value:.6g}"
