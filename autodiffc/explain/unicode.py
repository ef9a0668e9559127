"""Plain text with mathematical signs, for terminals: `dJ/dt += dJ/du1 · cos(t)`, `t = x²`."""

from __future__ import annotations

from collections.abc import Sequence

from autodiffc.explain.names import Gradient
from autodiffc.graph.notations import PRODUCT, Notation, Written

_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_SIGNS = {"<=": "≤", ">=": "≥"}
_REDUCTIONS = {"sum": "Σ", "prod": "Π"}
_FORMATS = {
    "mul": "{0} · {1}",
    "div": "{0} / {1}",
    "le": "{0} ≤ {1}",
    "ge": "{0} ≥ {1}",
    "ne": "{0} ≠ {1}",
    "and": "{0} ∧ {1}",
    "or": "{0} ∨ {1}",
    "not": "¬{0}",
    "log": "ln({0})",
}


class Unicode(Notation):
    """Text that is not bound to ASCII."""

    powers = True

    def element(self, name: str, subscripts: Sequence[str]) -> Written:
        written = super().element(name, subscripts)
        return Written(written.text, PRODUCT) if isinstance(name, Gradient) else written

    def function(self, name: str, args: Sequence[str]) -> str:
        if name in ("pow", "int_pow"):
            base, exponent = args
            whole = exponent.strip("()")
            if whole.removeprefix("-").isdigit():
                return base + whole.translate(_SUPERSCRIPTS)
            return f"{base}^{exponent}"
        if name in _FORMATS:
            return _FORMATS[name].format(*args)
        return super().function(name, args)

    def number(self, value: bool | int | float) -> str:
        return super().number(value).replace("inf", "∞")

    def reduction(
        self, combine: str, indices: Sequence[str], conditions: Sequence[str], body: str
    ) -> str:
        where = f" | {', '.join(conditions)}" if conditions else ""
        return f"{_REDUCTIONS.get(combine, combine)}_{{{','.join(indices)}{where}}} {body}"

    def condition(self, left: str, relation: str, right: str) -> str:
        return f"{left} {_SIGNS.get(relation, relation)} {right}"

    def guarded(self, text: str, conditions: Sequence[str]) -> str:
        return f"{text}  where {', '.join(conditions)}" if conditions else text


UNICODE: Notation = Unicode()
