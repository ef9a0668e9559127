"""The polynomials of `templates/functions/`: run this to derive their coefficients again.

Every function there is a range reduction and a polynomial. `POLYNOMIALS` says for each of them
what it approximates, over which range, and which error counts: the one relative to the function's
own result. `remez` finds the coefficients whose largest error is smallest, by the exchange that is
named after him: solve for errors of equal size and alternating sign at n + 1 points, move the
points to where the error is in fact largest, repeat.

    python docs/minimax.py [name...]

prints the coefficients, lowest power first, as constants of the float type, with the error in bits.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mpmath import mp, mpf  # type: ignore[import-untyped]

mp.dps = 50
Real = Any  # mpmath's numbers have no types
Map = Callable[[Real], Real]


@dataclass(frozen=True)
class Polynomial:
    """`function(x)` as a polynomial of `terms` terms in `variable(x)`, for x in [low, high].

    The error at x counts `weight(x)` times.
    """

    name: str
    double: bool
    terms: int
    low: Real
    high: Real
    function: Map
    weight: Map
    variable: Map = mpf


def remez(p: Polynomial, rounds: int = 25, grid: int = 1200) -> tuple[list[Real], Real]:
    """The coefficients of smallest weighted error, and that error."""
    n, middle, half = p.terms, (p.high + p.low) / 2, (p.high - p.low) / 2
    xs = [middle - half * mp.cos(mp.pi * k / grid) for k in range(grid + 1)]
    values = [p.function(x) for x in xs]
    weights = [p.weight(x) for x in xs]
    rows = [[p.variable(x) ** k for k in range(n)] for x in xs]
    points = [k * grid // n + (3 if 0 < k < n else 0) for k in range(n + 1)]
    worst = mp.inf
    for _ in range(rounds):
        c, level = _alternating(points, values, weights, rows)
        error = [
            w * (v - sum(a * b for a, b in zip(c, row, strict=True)))
            for v, w, row in zip(values, weights, rows, strict=True)
        ]
        worst = max(abs(e) for e in error)
        found = _extrema(error, n + 1)
        if len(found) < n + 1 or worst < abs(level) * mpf("1.001"):
            break
        points = found
    return c, worst


def _alternating(
    points: Sequence[int], values: Sequence[Real], weights: Sequence[Real], rows: Sequence[Any]
) -> tuple[list[Real], Real]:
    """The polynomial whose errors at the points are +e, -e, +e, …; and e."""
    size = len(points)
    matrix, right = mp.matrix(size, size), mp.matrix(size, 1)
    for i, k in enumerate(points):
        for j, power in enumerate(rows[k]):
            matrix[i, j] = power
        matrix[i, size - 1] = (-1) ** i / weights[k]
        right[i] = values[k]
    solved = mp.lu_solve(matrix, right)
    return [solved[j] for j in range(size - 1)], solved[size - 1]


def _extrema(error: Sequence[Real], count: int) -> list[int]:
    """Where the error is largest in each of its runs of one sign; `count` of them at most."""
    size = max(abs(e) for e in error)
    runs: list[list[int]] = []
    for k, e in enumerate(error):
        if abs(e) > size * mpf("1e-5"):
            if runs and (error[runs[-1][0]] > 0) == (e > 0):
                runs[-1].append(k)
            else:
                runs.append([k])
    found = [max(run, key=lambda k: abs(error[k])) for run in runs]
    while len(found) > count:
        found.pop(0 if abs(error[found[0]]) < abs(error[found[-1]]) else -1)
    return found


# --- What is approximated ---

HALF_LN2 = mp.log(2) / 2 * mpf("1.0001")
ROOT = mp.sqrt(2)
ATANH_END = ((ROOT - 1) / (ROOT + 1)) ** 2 * mpf("1.001")
QUARTER_PI = mp.pi / 4 * mpf("1.001")
TINY = mpf("1e-15")


def _exp_tail(r: Real) -> Real:
    """(e^r - 1 - r) / r^2"""
    return (mp.expm1(r) - r) / r**2 if abs(r) > TINY else mpf(1) / 2 + r / 6


def _log_tail(f: Real) -> Real:
    """(log(1 + f) - f + f^2/2) / f^3"""
    return (mp.log1p(f) - f + f * f / 2) / f**3 if abs(f) > TINY else mpf(1) / 3 - f / 4


def _log_weight(f: Real) -> Real:
    return abs(f**3 / mp.log1p(f)) if abs(f) > TINY else mpf("1e-30")


def _atanh_tail(z: Real) -> Real:
    """(2 atanh(s) - 2s) / s^3 where z = s^2"""
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) - 2 * s) / s**3 if z > TINY else mpf(2) / 3 + 2 * z / 5


def _tanh_tail(z: Real) -> Real:
    """(tanh(s)/s - 1) / z where z = s^2"""
    s = mp.sqrt(z)
    return (mp.tanh(s) / s - 1) / z if z > TINY else -mpf(1) / 3 + 2 * z / 15


def _sin_tail(z: Real) -> Real:
    """(sin(s)/s - 1) / z where z = s^2"""
    s = mp.sqrt(z)
    return (mp.sin(s) / s - 1) / z if z > TINY else -mpf(1) / 6 + z / 120


def _cos_tail(z: Real) -> Real:
    """(cos(s) - 1 + z/2) / z^2 where z = s^2"""
    return (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2 if z > TINY else mpf(1) / 24 - z / 720


def _erf_tail(z: Real) -> Real:
    """erf(s)/s - 1 where z = s^2"""
    s = mp.sqrt(z)
    return mp.erf(s) / s - 1 if z > TINY else 2 / mp.sqrt(mp.pi) * (1 - z / 3) - 1


def _erfc_log(x: Real) -> Real:
    """-log(erfc(x))"""
    return -mp.log(mp.erfc(x))


def _erfc_factor(x: Real) -> Real:
    """erfc(x) * e^(x^2)"""
    return mp.exp(x * x) * mp.erfc(x)


def _pair(name: str, terms: tuple[int, int], *rest: Any) -> list[Polynomial]:
    return [Polynomial(name, k == 1, count, *rest) for k, count in enumerate(terms) if count]


POLYNOMIALS = [
    *_pair(
        "exp",
        (5, 11),
        -HALF_LN2,
        HALF_LN2,
        _exp_tail,
        lambda r: abs(r**2 / mp.expm1(r)) if abs(r) > TINY else mpf("1e-30"),
    ),
    *_pair("log", (8, 0), 1 / ROOT - 1, ROOT - 1, _log_tail, _log_weight),
    *_pair(
        "atanh",
        (0, 7),
        mpf(0),
        ATANH_END,
        _atanh_tail,
        lambda z: mp.sqrt(z) * z / (2 * mp.atanh(mp.sqrt(z))) if z else mpf("1e-30"),
    ),
    *_pair(
        "tanh",
        (5, 11),
        mpf(0),
        mpf("0.55") ** 2,
        _tanh_tail,
        lambda z: z / (1 + z * _tanh_tail(z)) if z else mpf("1e-30"),
    ),
    *_pair(
        "sin",
        (3, 6),
        mpf(0),
        QUARTER_PI**2,
        _sin_tail,
        lambda z: z / (1 + z * _sin_tail(z)) if z else mpf("1e-30"),
    ),
    *_pair(
        "cos",
        (3, 6),
        mpf(0),
        QUARTER_PI**2,
        _cos_tail,
        lambda z: z**2 / mp.cos(mp.sqrt(z)) if z else mpf("1e-30"),
    ),
    *_pair("erf", (7, 12), mpf(0), mpf(1), _erf_tail, lambda z: 1 / (1 + _erf_tail(z))),
    *_pair(
        "erfc_log",
        (8, 0),
        mpf(1),
        mpf(4),
        _erfc_log,
        lambda x: mp.erfc(x) / mp.erf(x),
    ),
    *_pair(
        "erfc_factor",
        (0, 17),
        mpf(1),
        mpf(6),
        _erfc_factor,
        lambda x: mp.exp(-x * x) / mp.erf(x),
        lambda x: (x - 1) / (x + 3),
    ),
    *_pair(
        "exp2",
        (6, 12),
        mpf("-0.5001"),
        mpf("0.5001"),
        lambda r: (mpf(2) ** r - 1) / r if abs(r) > TINY else mp.log(2),
        lambda r: abs(r) / mpf(2) ** r if abs(r) > TINY else mpf("1e-30"),
    ),
]


def constant(value: Real, double: bool) -> str:
    """The constant as C spells it, the shortest that reads back as the same bits."""
    if double:
        return repr(float(value))
    single = struct.unpack("f", struct.pack("f", float(value)))[0]
    digits = next(
        text
        for n in range(1, 12)
        if struct.pack("f", float(text := f"{single:.{n}g}")) == struct.pack("f", single)
    )
    return (digits if "." in digits or "e" in digits else f"{digits}.0") + "f"


def main(names: Sequence[str]) -> None:
    for p in POLYNOMIALS:
        if not names or p.name in names:
            coefficients, error = remez(p)
            kind = "float64" if p.double else "float32"
            print(f"{p.name} {kind}: error 2^{float(mp.log(error, 2)):.1f}")
            print("    " + ", ".join(constant(c, p.double) for c in coefficients))


if __name__ == "__main__":
    main(sys.argv[1:])
