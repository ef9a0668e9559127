"""Formulas in MathML, which browsers typeset without any script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from autodiffc.explain.names import Applied, Gradient
from autodiffc.graph.affine import Affine
from autodiffc.graph.extents import Extent, ExtentLike
from autodiffc.graph.notations import (
    ATOM,
    FORMS,
    LOOSE,
    POWER,
    PRODUCT,
    Form,
    Notation,
    Written,
    number_text,
)

_FORMS: Mapping[str, Form] = {
    **FORMS,
    "div": Form(PRODUCT, (LOOSE, LOOSE)),
    **dict.fromkeys(("pow", "int_pow"), Form(POWER, (ATOM, LOOSE))),
    "exp": Form(POWER, (LOOSE,)),
    "where": Form(LOOSE, (LOOSE, LOOSE, LOOSE)),
}
_INFIX = {
    **{"add": "+", "sub": "−", "mul": "·", "lt": "<", "gt": ">", "le": "≤", "ge": "≥"},
    **{"eq": "=", "ne": "≠", "and": "∧", "or": "∨", "xor": "⊕"},
    **{"floordiv": "//", "int_floordiv": "//", "mod": "mod", "int_mod": "mod"},
}
_PREFIX = {"neg": "−", "not": "¬"}
_SPELLED = {"log": "ln", "minimum": "min", "maximum": "max"}
_RELATIONS = {"<=": "≤", ">=": "≥"}
_BIG = {"sum": "∑", "prod": "∏"}


def operator(sign: str) -> str:
    return f"<mo>{escape(sign)}</mo>"


def row(*parts: str) -> str:
    """Parts that count as one."""
    return f"<mrow>{''.join(parts)}</mrow>"


def joined(parts: Sequence[str], sign: str = ",") -> str:
    return operator(sign).join(parts)


class MathML(Notation):
    """Presentation MathML; what a method returns may stand in any row."""

    forms = _FORMS
    powers = True
    assign, accumulate = operator("="), operator("+=")

    def name(self, name: str) -> str:
        if isinstance(name, Applied):
            axis = "" if name.axis is None else f"<mtext>, axis={name.axis}</mtext>"
            called = f"<mi>{escape(name.function)}</mi>"
            return row(called, operator("("), self.name(name.operand), axis, operator(")"))
        stem = name.rstrip("0123456789")
        digits = name[len(stem) :]
        if digits and len(stem) == 1:
            return f"<msub><mi>{escape(stem)}</mi><mn>{digits}</mn></msub>"
        return f"<mi>{_GREEK.get(name, escape(name))}</mi>"

    def index(self, name: str) -> str:
        return self.name(name)

    def element(self, name: str, subscripts: Sequence[str]) -> Written:
        if isinstance(name, Gradient):
            below = self.element(name.by, subscripts).text
            d = "<mi>d</mi>"
            return Written(f"<mfrac>{row(d, self.name(name.of))}{row(d, below)}</mfrac>", PRODUCT)
        if not subscripts:
            return Written(self.name(name))
        inside = joined(subscripts)
        return Written(row(self.name(name), operator("["), inside, operator("]")))

    def number(self, value: bool | int | float) -> str:
        return f"<mn>{escape(number_text(value).replace('inf', '∞'))}</mn>"

    def extent(self, extent: ExtentLike) -> str:
        return (
            f"<mtext>{escape(str(extent))}</mtext>"
            if isinstance(extent, Extent)
            else (f"<mn>{extent}</mn>")
        )

    def affine(self, affine: Affine, names: Sequence[str]) -> str:
        text = ""
        for coefficient, name in zip(affine.coefficients, names, strict=True):
            if coefficient:
                text += self._sign(coefficient < 0, first=not text)
                text += "" if abs(coefficient) == 1 else f"<mn>{abs(coefficient)}</mn>"
                text += self.index(name)
        constant = affine.constant
        if constant == 0 and text:
            return text
        negative = isinstance(constant, int) and constant < 0
        return (
            text
            + self._sign(negative, first=not text)
            + self.extent(-constant if negative else constant)
        )

    def _sign(self, negative: bool, *, first: bool) -> str:
        return operator("−") if negative else "" if first else operator("+")

    def group(self, text: str) -> str:
        return row(operator("("), text, operator(")"))

    def function(self, name: str, args: Sequence[str]) -> str:
        if name in _INFIX:
            return joined(args, _INFIX[name])
        if name in _PREFIX:
            return operator(_PREFIX[name]) + args[0]
        special = _SPECIAL.get(name)
        if special is not None:
            return special.format(*(row(a) for a in args))
        called = f"<mi>{escape(_SPELLED.get(name, name))}</mi>"
        return row(called, operator("("), joined(args), operator(")"))

    def cast(self, dtype: str, text: str) -> str:
        return row(f"<mi>{dtype}</mi>", operator("("), text, operator(")"))

    def reduction(
        self, combine: str, indices: Sequence[str], conditions: Sequence[str], body: str
    ) -> str:
        sign = operator(_BIG[combine]) if combine in _BIG else f"<mi>{combine}</mi>"
        lines = [joined(indices), *conditions]
        cells = "".join(f"<mtr><mtd>{line}</mtd></mtr>" for line in lines)
        under = f"<mtable>{cells}</mtable>" if conditions else row(lines[0])
        return f"<munder>{sign}{under}</munder>{row(body)}"

    def condition(self, left: str, relation: str, right: str) -> str:
        left = "<mn>0</mn>" if left == "0" else left
        return left + operator(_RELATIONS.get(relation, relation)) + right

    def guarded(self, text: str, conditions: Sequence[str]) -> str:
        if not conditions:
            return text
        return f"{text}<mtext>&#8195;where&#8195;</mtext>{joined(conditions)}"

    def update(self, combine: str) -> str:
        if combine in ("sum", "set"):
            return super().update(combine)
        return operator({"prod": "·="}.get(combine, f"{combine}="))

    def word(self, text: str) -> str:
        return f"<mtext>{escape(text)}</mtext>"


_SPECIAL = {
    "div": "<mfrac>{0}{1}</mfrac>",
    **dict.fromkeys(("pow", "int_pow"), "<msup>{0}{1}</msup>"),
    "exp": "<msup><mi>e</mi>{0}</msup>",
    "sqrt": "<msqrt>{0}</msqrt>",
    "abs": "<mrow><mo>|</mo>{0}<mo>|</mo></mrow>",
    "where": "<mrow><mo>{{</mo><mtable columnalign='left'><mtr><mtd>{1}</mtd><mtd>{0}</mtd></mtr>"
    "<mtr><mtd>{2}</mtd><mtd><mtext>else</mtext></mtd></mtr></mtable></mrow>",
}
_GREEK = {
    **{"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ"},
    **{"eta": "η", "theta": "θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ"},
    **{"pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "chi": "χ", "psi": "ψ"},
    "omega": "ω",
}

MATHML: Notation = MathML()
