"""The algebra of extents against the same arithmetic on integers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodiffc.errors import ShapeError
from autodiffc.graph.extents import (
    Extent,
    ExtentLike,
    defaults,
    difference,
    dim,
    dims_of,
    product,
    shape_text,
    substitute,
)

N, M = dim("n", 5), dim("m", 7)
SIZES = {"n": 5, "m": 7}

# An expression is a function of n and m that works for extents and integers alike.
LEAVES = st.one_of(
    st.integers(-6, 6).map(lambda c: lambda n, m: c),
    st.just(lambda n, m: n),
    st.just(lambda n, m: m),
)


def _grow(inner):
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map(lambda p: lambda n, m: p[0](n, m) + p[1](n, m)),
        pairs.map(lambda p: lambda n, m: p[0](n, m) - p[1](n, m)),
        pairs.map(lambda p: lambda n, m: p[0](n, m) * p[1](n, m)),
        inner.map(lambda e: lambda n, m: -e(n, m)),
        st.tuples(inner, st.integers(1, 5)).map(lambda p: lambda n, m: p[0](n, m) // p[1]),
    )


EXPRESSIONS = st.recursive(LEAVES, _grow, max_leaves=6)
VALUES = st.integers(1, 40)


@given(EXPRESSIONS, VALUES, VALUES)
def test_algebra_agrees_with_integers(expression, n, m) -> None:
    assert substitute(expression(N, M), {"n": n, "m": m}) == expression(n, m)


@given(EXPRESSIONS, VALUES, VALUES)
def test_dims_may_be_fixed_one_by_one(expression, n, m) -> None:
    half = substitute(expression(N, M), {"n": n})
    assert isinstance(half, int) or "n" not in {d.name for d in half.dims()}
    assert substitute(half, {"m": m}) == expression(n, m)


@given(EXPRESSIONS)
def test_defaults(expression) -> None:
    assert defaults(expression(N, M)) == expression(SIZES["n"], SIZES["m"])


@given(EXPRESSIONS, EXPRESSIONS)
def test_equality_is_structural(a, b) -> None:
    """Sums and products in any order have one form; what cancels leaves no trace."""
    x, y = a(N, M), b(N, M)
    assert x + y == y + x
    assert x * y == y * x
    assert x + y - y == x
    assert hash(x + y) == hash(y + x)
    assert difference(x, x) == 0


@pytest.mark.parametrize(
    ("extent", "text"),
    [
        (2 * N + N, "3*n"),
        (N - N, "0"),
        (N * 0 + 4, "4"),
        (N * M - 1, "m*n - 1"),
        ((N - 3) // 2 + 1, None),
    ],
)
def test_canonical_text(extent: ExtentLike, text: str | None) -> None:
    if text is None:
        assert "//" in str(extent)
    else:
        assert str(extent) == text


def test_what_is_known_is_an_int() -> None:
    assert isinstance(N - N + 3, int)
    assert isinstance(substitute(N * M, SIZES), int)
    assert isinstance(product((2, 3)), int)
    assert isinstance(product((2, N)), Extent)


@pytest.mark.parametrize(
    ("extent", "expected"),
    [
        (3 * N + 2, (3, "n", 2)),
        (N, (1, "n", 0)),
        (2 - N, (-1, "n", 2)),
        (N + M, None),
        (N * N, None),
        (N // 2, None),
    ],
)
def test_linear(extent: Extent, expected: tuple[int, str, int] | None) -> None:
    found = extent.linear()
    assert (found and (found[0], found[1].name, found[2])) == expected


def test_difference_is_none_where_it_depends() -> None:
    assert difference(N + 2, N) == 2
    assert difference(N, M) is None
    assert difference(4, 6) == -2


def test_shapes() -> None:
    assert shape_text((N, 3)) == "(n, 3)"
    assert shape_text((3,)) == "(3,)"
    assert shape_text(()) == "()"
    assert {d.name for d in dims_of((N // 2, 3, M * N))} == {"n", "m"}


@pytest.mark.parametrize("divisor", [0, -2])
def test_division_by_what_is_not_positive_is_refused(divisor: int) -> None:
    with pytest.raises(ShapeError, match="positive integer"):
        N // divisor


@pytest.mark.parametrize(
    ("extent", "text"),
    [
        (N // 2, "n // 2"),
        (N // 2 + 1, "n // 2 + 1"),
        ((N - 3) // 2, "(n + 1) // 2 - 2"),
        (2 * ((N + 1) // 2), "2*((n + 1) // 2)"),
        (M * (N // 2), "m*(n // 2)"),
        (3 * N // 2, "n // 2 + n"),
        (3 * N // 4, "3*n // 4"),
    ],
)
def test_quotients_are_written_as_python_reads_them(extent: Extent, text: str) -> None:
    found = str(extent)
    for n, m in ((5, 3), (8, 2), (1, 1)):
        assert eval(found, {"n": n, "m": m}) == substitute(extent, {"n": n, "m": m})
    assert sorted(found.replace("*", " * ").split()) == sorted(text.replace("*", " * ").split())
