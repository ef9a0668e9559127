"""The table of scalar functions that bodies call.

A function is data: one entry says how it is typed, what it means (a NumPy expression), how its
derivative is found (a SymPy formula, or the partials themselves where SymPy's are wrong at a point
or in floating point), how it is written in C, and how a reader sees it. The entries themselves
are the stanzas of `ops/functions.py`; everything else looks them up here.

Typing rules:

    float      floats to the same float           exp, sqrt, div
    numeric    any number to the same type        add, mul, abs, maximum
    compare    two of one type to bool            lt, eq
    predicate  a float to bool                    isnan
    logical    bools or integers to the same      and, or, xor, not
    integer    integers to the same               int_floordiv, int_pow
    select     (bool, T, T) to T                  where
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

RULES = ("float", "numeric", "compare", "predicate", "logical", "integer", "select")


@dataclass(frozen=True)
class Function:
    """One scalar function.

    `reference` takes and returns NumPy arrays. `sympy` is the formula as SymPy reads it, over
    x, y, z; its partial derivatives follow from it. `partials`, where given, overrides them: one
    callable an argument, from the arguments' bodies and the result's body to the partial's body;
    None for an argument (or `differentiable=False`) says that the function is flat or discrete in
    it, and its gradient is zero. Exactly one of `operator` (a C expression with `{0}`, `{1}`),
    `libm` (a math.h name; the float32 form gets an `f`) and `expand` (a body made of simpler
    functions) tells how it is computed. `text` and `latex` are display formats.
    `samples` are the ranges its arguments are tested over, away from poles and kinks.
    """

    name: str
    arity: int
    rule: str
    reference: Callable[..., Any]
    sympy: str | None = None
    partials: tuple[Callable[..., Any] | None, ...] | None = None
    differentiable: bool = True
    operator: str | None = None
    libm: str | None = None
    expand: Callable[..., Any] | None = None
    text: str = ""
    latex: str = ""
    samples: tuple[tuple[float, float], ...] = ()
    doc: str = ""


FUNCTIONS: dict[str, Function] = {}


def register(function: Function) -> Function:
    """Adds an entry; a name or a rule that does not fit is a programming error."""
    if function.name in FUNCTIONS:
        raise ValueError(f"scalar function {function.name} is registered twice")
    if function.rule not in RULES:
        raise ValueError(f"scalar function {function.name}: unknown rule {function.rule}")
    ways = [function.operator, function.libm, function.expand]
    if sum(way is not None for way in ways) != 1:
        raise ValueError(f"scalar function {function.name} needs exactly one way to compute it")
    FUNCTIONS[function.name] = function
    return function
