"""Functions as vectors compute them: their error in units of the last place, and special values.

At most 4 ulp in float32 and 2 in float64 are promised; what is asserted is what the functions' own
comments say. The reference is float64 for float32, and for float64 whatever is more precise: long
doubles where they are, else (and for erf) mpmath over fewer points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.runtime.compiled import Compiled
from autodiffc.schedule.vectors import VECTOR_MATH
from tests.harness import Case, compile_cases

COUNT = {"float32": 1_000_000, "float64": 200_000}
LIMIT = {  # ulp, in float32 and float64
    "exp": (1.1, 1.1),
    "exp2": (1.2, 1.2),
    "expm1": (1.6, 1.6),
    "log": (0.9, 0.9),
    "log1p": (1.0, 0.9),
    "tanh": (1.5, 1.5),
    "erf": (1.3, 1.4),
    "sin": (1.6, 0.9),
    "cos": (1.6, 1.0),
    "sqrt": (0.5, 0.5),
    **dict.fromkeys(["abs", "round", "floor", "ceil", "trunc"], (0.0, 0.0)),
}
COMPOSED = {  # made of these; docs/vector-functions.md says so
    "sigmoid": (2.3, 2.0),
    "silu": (2.2, 2.0),
    "softplus": (1.7, 1.6),
}
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
NAMES = pytest.mark.parametrize("name", sorted(LIMIT))


def test_every_function_of_vectors_is_measured() -> None:
    assert set(LIMIT) == VECTOR_MATH


# --- Where to look ---


def special(dtype: str) -> np.ndarray:
    """Zeros, infinities, NaN, the type's ends, halves, and where results over- or underflow."""
    info = np.finfo(dtype)
    magnitudes = [0.0, 0.25, 0.5, 1.0, 1.5, 2.5, 3.0, 1e6, 1.1e6, math.pi, math.pi / 2, 710.0]
    magnitudes += [math.log(2.0) / 2, 0.55, math.sqrt(0.5), math.sqrt(2.0), 4.0, 6.0, 20.0, 40.0]
    edges = [float(f(v)) for v in (info.max, info.tiny) for f in (np.log, np.log2)]
    ends = [info.max, info.tiny, info.smallest_subnormal, info.eps, math.inf, math.nan]
    base = np.array([*magnitudes, *map(abs, edges), *ends], dtype)
    with np.errstate(all="ignore"):
        near = [np.nextafter(base, base.dtype.type(to)) for to in (0.0, np.inf)]
    all_of_them = np.concatenate([base, *near])
    return np.concatenate([all_of_them, -all_of_them])


@cache
def points(dtype: str) -> np.ndarray:
    """Random bits (all exponents alike), ranges that matter, neighbours of multiples of pi/2."""
    rng = np.random.default_rng(3)
    bits, share = ("uint32" if dtype == "float32" else "uint64"), COUNT[dtype] // 8
    ends = {"float32": 110.0, "float64": 750.0}[dtype]
    found = [special(dtype), rng.integers(0, 2 ** (8 * np.dtype(bits).itemsize), share, bits)]
    found[1] = found[1].view(dtype)
    for low, high in ((-1, 1), (-10, 10), (-ends, ends), (0, 3), (-2e3, 2e3), (-1e6, 1e6)):
        found.append(rng.uniform(low, high, share).astype(dtype))
    multiples = rng.integers(-(10**6), 10**6, COUNT[dtype] - sum(map(len, found)))
    return np.concatenate([*found, (multiples * (math.pi / 2)).astype(dtype)])


# --- What is right ---

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "round": np.rint,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x.dtype.type(0), x),
}


def has_long_doubles() -> bool:
    return bool(np.finfo(np.longdouble).nmant > 60)


def in_numpy(name: str, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray((FUNCTIONS.get(name) or getattr(np, name))(x))


def expected(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The function at x: the nearest number of that type, and what it is less than the truth."""
    if x.dtype == np.float64 and (name == "erf" or not has_long_doubles()):
        return precisely(name, x)
    with np.errstate(all="ignore"):
        right = in_numpy(name, x.astype(np.float64 if x.dtype == np.float32 else np.longdouble))
        nearest = right.astype(x.dtype)
        return nearest, (right - nearest).astype(np.float64)


def precisely(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same by mpmath."""
    import mpmath  # type: ignore[import-untyped]

    own = {
        "abs": abs,
        "round": mpmath.nint,
        "trunc": lambda v: mpmath.sign(v) * mpmath.floor(abs(v)),
    }
    function = own.get(name) or getattr(mpmath, name)
    nearest, rest = in_numpy(name, x), np.zeros(len(x))
    with mpmath.workprec(120):
        for k in np.flatnonzero(np.isfinite(nearest)):
            right = function(mpmath.mpf(float(x[k])))
            nearest[k] = float(right)
            rest[k] = float(right - nearest[k])
    return nearest, rest


def ulps(got: np.ndarray, nearest: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Errors in units of the truth's last place; infinite where a special value is wrong."""
    info = np.finfo(got.dtype)
    fraction, exponent = np.frexp(nearest.astype(np.float64))
    exponent -= (np.abs(fraction) == 0.5) & (
        rest * fraction < 0
    )  # the truth lies below a power of 2
    last = np.maximum(exponent - info.nmant - 1, info.minexp - info.nmant)
    with np.errstate(all="ignore"):
        error = np.abs((got.astype(np.float64) - nearest) - rest) * np.ldexp(1.0, -last // 2)
        error *= np.ldexp(1.0, -last - -last // 2)
    same = (got == nearest) | (np.isnan(got) & np.isnan(nearest))
    return np.where(np.isfinite(nearest), error, np.where(same, 0.0, np.inf))


# --- What is compiled ---

LENGTH = {dtype: len(points(dtype)) for dtype in COUNT}


def model(name: str, dtype: str) -> ad.Model:
    x = ad.input("x", (LENGTH[dtype],))
    return ad.Model(name, {"y": getattr(ad, name)(x)}, wrt=[])


@cache
def compiled(dtype: str) -> dict[str, Compiled]:
    cases = [Case(name, model(name, dtype)) for name in sorted(LIMIT | COMPOSED)]
    return compile_cases(cases, dtype=dtype, library=f"vector_functions_{dtype}", level="-O2")


@cache
def results(name: str, dtype: str) -> np.ndarray:
    return np.asarray(compiled(dtype)[name].forward(x=points(dtype))["y"])


@DTYPES
@NAMES
def test_error(name: str, dtype: str) -> None:
    x, got = points(dtype), results(name, dtype)
    if dtype == "float64" and (name == "erf" or not has_long_doubles()):  # fewer of them
        keep = np.r_[0 : len(special(dtype)), len(special(dtype)) : len(x) : len(x) // 5000]
        x, got = x[keep], got[keep]
    error = ulps(got, *expected(name, x))
    worst = int(np.argmax(error))
    limit = LIMIT[name][dtype == "float64"]
    assert error[worst] <= limit, f"{error[worst]:.2f} ulp at {x[worst]!r}: {got[worst]!r}"


@DTYPES
@pytest.mark.parametrize("name", sorted(COMPOSED))
@pytest.mark.skipif(not has_long_doubles(), reason="the reference is in long doubles")
def test_error_of_what_is_composed(name: str, dtype: str) -> None:
    """From where exp(-x) overflows, the results that divide by it are 0; softplus is x from 20."""
    x, got = points(dtype), results(name, dtype)
    low, high = {"float32": -88.5, "float64": -709.5}[dtype], 20 if name == "softplus" else np.inf
    inside = (x > low) & (x <= high)
    x, got = x[inside], got[inside]
    error = ulps(got, *expected(name, x))
    worst = int(np.argmax(error))
    limit = COMPOSED[name][dtype == "float64"]
    assert error[worst] <= limit, f"{error[worst]:.2f} ulp at {x[worst]!r}: {got[worst]!r}"


@DTYPES
@NAMES
def test_special_values(name: str, dtype: str) -> None:
    """NaN, infinities, zeros and their signs are where NumPy has them."""
    x = special(dtype)
    got = results(name, dtype)[: len(x)]
    right = in_numpy(name, x).astype(dtype)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(right))
    for test in (np.isposinf, np.isneginf, lambda v: v == 0):
        np.testing.assert_array_equal(test(got), test(right))
    same = ~np.isnan(right)
    np.testing.assert_array_equal(np.signbit(got[same]), np.signbit(right[same]))
