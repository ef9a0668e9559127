"""Each mistake in index notation, with the message it gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from autodiffc.errors import (
    ArgumentTypeError,
    AutodiffcError,
    DtypeError,
    IndexNotationError,
    TruthValueError,
)
from tests.errors.model_file import check

SETUP = """
i, j, k, p, n, t = ad.indices("i j k p n t")
H = ad.dim("H", 12)
a, v, s = ad.input("a", (4, 4)), ad.input("v", (3,)), ad.input("s", (H,))
ids, table = ad.input("ids", (5,), "int32"), ad.input("table", (10, 2))
y = {formula}  # here
"""

CASES = [
    # the formula, the culprit, words of the message
    ("ad.compute((i, j), a[i * j, j])", "a[i * j, j]", ["i*j is not affine", "help:"]),
    ("ad.compute((i,), v[i // 2])", "v[i // 2]", ["i // 2 is not affine", "k = 2*i + r"]),
    ("ad.compute((i,), v[i % 2])", "v[i % 2]", ["i % 2 is not affine", "k = 2*i + r"]),
    ("ad.compute((n,), v[ids[n] + 1])", "v[ids[n] + 1]", ["not affine", "ad.compute"]),
    ("ad.compute((i,), v[ad.exp(i)])", "v[ad.exp(i)]", ["not affine"]),
    ("ad.compute((i,), a[i, 4])", "a[i, 4]", ["4 is out of range", "-4 to 3 on axis 1 of a"]),
    ("ad.compute((i,), a[i, -5])", "a[i, -5]", ["-5 is out of range"]),
    ("ad.compute((i,), a[i + 1, i])", "a[i + 1, i]", ["1 to 4", "0 to 3 on axis 0 of a"]),
    ("ad.compute((i,), s[i] - s[i - 1])", "s[i - 1]", ["out of range", "where="]),
    ("ad.compute((i,), v[i - 1])", "v[i - 1]", ["out of range"]),
    (
        "ad.compute((i,), ad.sum_over(p, v[i + p]), extents={i: 2, p: 3})",
        "v[i + p]",
        ["0 to 3", "0 to 2 on axis 0 of v"],
    ),
    (
        "ad.compute((i,), v[i - 1], where=i >= 1, extents={i: 5})",
        "v[i - 1]",
        ["guards do not keep it inside"],
    ),
    (
        "ad.compute((i,), ad.sum_over(k, v[i + k] * a[k, 0]))",
        "v[i + k]",
        ["no value of index i", "reaches 3"],
    ),
    ("ad.compute((i, j), s[i + j])", "s[i + j]", ["extent of index i is ambiguous", "extents={i"]),
    (
        "ad.compute((i,), v[i - 1], where=i >= 1)",
        "v[i - 1]",
        ["ambiguous", "only under a guard"],
    ),
    ("ad.compute((i,), v[i] + a[i, 0])", "a[i, 0]", ["two extents", "4 from", "3 from"]),
    ("ad.compute((i,), a[i, j])", "a[i, j]", ["j is neither", "sum_over(j"]),
    (
        "ad.compute((i,), ad.sum_over(i, v[i]))",
        "ad.sum_over(i, v[i])",
        ["left-hand side and reduced"],
    ),
    (
        "ad.compute((i,), ad.max_over(k, a[i, k], where=k < i))",
        "ad.max_over(k, a[i, k], where=k < i)",
        ["empty max_over", "i = 0"],
    ),
    (
        "ad.compute((), ad.min_over(k, v[k], where=k > 2))",
        "ad.min_over(k, v[k], where=k > 2)",
        ["empty min_over"],
    ),
]

WHOLE_CALL = [
    ("ad.compute((i, i), a[i, i])", ["index i twice", "diagonal"]),
    ("ad.compute((i + 1,), v[i])", ["plain indices", "i + 1"]),
    ('ad.compute("i", v[i])', ["plain indices"]),
    ("ad.compute((i, j), v[i])", ["extent of index j is ambiguous", "no subscript uses j"]),
    ("ad.compute((i,), v[i], extents={j: 3})", ["extents names an index"]),
    ("ad.compute((i,), v[i] + v)", None),
    ("ad.compute((i,), v)", ["whole tensor", "v[i]"]),
]


@pytest.mark.parametrize(("formula", "culprit", "words"), CASES)
def test_mistakes_in_formulas(tmp_path: Path, formula: str, culprit: str, words: list[str]) -> None:
    error = check(tmp_path, SETUP.format(formula=formula), IndexNotationError, culprit, *words)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(("formula", "words"), WHOLE_CALL)
def test_mistakes_of_the_whole_call(tmp_path: Path, formula: str, words: list[str] | None) -> None:
    culprit = formula if words else "v[i] + v"
    words = words or ["whole tensor"]
    check(tmp_path, SETUP.format(formula=formula), IndexNotationError, culprit, *words)


@pytest.mark.parametrize(
    ("formula", "kind", "culprit", "words"),
    [
        ("a[i]", IndexNotationError, "a[i]", ["a subscript for each axis", "(4, 4)"]),
        ("a[i, :]", IndexNotationError, "a[i, :]", ["slices and indices"]),
        ("a[i, v]", ArgumentTypeError, "a[i, v]", ["cannot be a subscript"]),
        ("a[i, 0.5]", ArgumentTypeError, "a[i, 0.5]", ["cannot be a subscript"]),
        ("table[v[i], j]", DtypeError, "table[v[i], j]", ["integer tensor", "real"]),
        ("ad.sum_over((), v[i])", IndexNotationError, "ad.sum_over((), v[i])", []),
        ("ad.sum_over((i, i), v[i])", IndexNotationError, "ad.sum_over((i, i), v[i])", ["twice"]),
        ("ad.sum_over(i, v)", IndexNotationError, "ad.sum_over(i, v)", ["whole tensor"]),
        ("ad.sum_over(i, v[i], where=i)", DtypeError, "ad.sum_over(i, v[i], where=i)", ["int64"]),
        ("ad.max_over(i, v[i] > 0)", DtypeError, "ad.max_over(i, v[i] > 0)", ["bool"]),
        ("0 <= i < 3", TruthValueError, "0 <= i < 3", ["`&`"]),
        ('ad.indices("i 2")', ArgumentTypeError, 'ad.indices("i 2")', []),
        ("ad.compute((i,), v[i], extents=[3])", ArgumentTypeError, "ad.compute", []),
    ],
)
def test_mistakes_before_a_formula_is_complete(
    tmp_path: Path, formula: str, kind: type[AutodiffcError], culprit: str, words: list[str]
) -> None:
    culprit = formula if culprit == "ad.compute" else culprit
    check(tmp_path, SETUP.format(formula=formula), kind, culprit, *words)
