"""Partials of scalar functions: the shipped table, SymPy's traps, and the values themselves."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from autodiffc.differentiate.partials import TABLE, derive_all, derived, from_sympy, partial
from autodiffc.errors import DifferentiationError
from autodiffc.graph.affine import identity
from autodiffc.graph.comprehension import Access, Comprehension, Domain
from autodiffc.graph.construct import compute, leaf
from autodiffc.graph.functions import FUNCTIONS, Function
from autodiffc.graph.scalars import Arg, Const, Scalar, args_used, call, dtype_of, walk
from autodiffc.reference import evaluate

DIFFERENTIABLE = [
    (f.name, k)
    for f in FUNCTIONS.values()
    if f.differentiable and f.rule in ("float", "numeric")
    for k in range(f.arity)
]


def run(body: Scalar, *arrays: np.ndarray, dtype: str = "float64") -> np.ndarray:
    """The body's value for its arguments, through the interpreter."""
    used = [np.asarray(a, dtype) for a in arrays]
    leaves = [leaf("input", f"a{k}", a.shape, dtype) for k, a in enumerate(used)]
    shape = used[0].shape
    accesses = tuple(Access(k, identity(len(shape))) for k in range(len(used)))
    node = compute(
        leaves, [Comprehension(Domain(shape), identity(len(shape)), accesses, body)], shape
    )
    return evaluate({"y": node}, {f"a{k}": a for k, a in enumerate(used)}, dtype=dtype)["y"]


def partial_at(name: str, k: int, *values: object, dtype: str = "float64") -> np.ndarray:
    args = [Arg(j) for j in range(len(values))]
    body = partial(name, k, args, call(name, *args), dtype)
    assert body is not None
    return run(body, *(np.atleast_1d(v) for v in values), dtype=dtype)  # type: ignore[arg-type]


# --- Right at all? ---


@pytest.mark.parametrize(("name", "k"), DIFFERENTIABLE)
def test_partial_against_finite_differences(name: str, k: int) -> None:
    function = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    points = [rng.uniform(low, high, 50) for low, high in function.samples]
    h = 1e-4

    def shifted(step: float) -> np.ndarray:
        return np.asarray(function.reference(*(p + step * (j == k) for j, p in enumerate(points))))

    near = (shifted(h) - shifted(-h)) / (2 * h)
    half = (shifted(h / 2) - shifted(-h / 2)) / h
    expected = (4 * half - near) / 3
    np.testing.assert_allclose(partial_at(name, k, *points), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("name", "k"), DIFFERENTIABLE)
@pytest.mark.parametrize("dtype", ["float32", "real", "float64"])
def test_partial_keeps_the_type_of_its_call(name: str, k: int, dtype: str) -> None:
    args = [Arg(j) for j in range(FUNCTIONS[name].arity)]
    body = partial(name, k, args, call(name, *args), dtype)
    assert body is not None
    assert dtype_of(body, [dtype] * len(args)) == dtype


def test_a_partial_may_mention_the_result() -> None:
    assert partial("exp", 0, [Arg(0)], Arg(1), "real") == Arg(1)
    sigmoid = partial("sigmoid", 0, [Arg(0)], Arg(1), "real")
    assert sigmoid is not None
    assert args_used(sigmoid) == (1,)


# --- The shipped table ---


def test_the_shipped_table_is_what_sympy_derives() -> None:
    assert json.loads(TABLE.read_text(encoding="utf-8")) == derive_all()


def test_partials_of_the_vocabulary_need_no_sympy() -> None:
    program = (
        "import sys\n"
        "from autodiffc.ops.functions import FUNCTIONS\n"
        "from autodiffc.differentiate import partial\n"
        "from autodiffc.graph.scalars import Arg\n"
        "for f in list(FUNCTIONS.values()):\n"
        "    for k in range(f.arity):\n"
        "        partial(f.name, k, [Arg(j) for j in range(f.arity)], Arg(f.arity), 'real')\n"
        "assert 'sympy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_function_of_ones_own_is_derived_by_sympy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FUNCTIONS, "bump", _function("bump", "exp(-x**2)*sqrt(x)/2"))
    x = np.array([0.5, 1.0, 2.0])
    expected = np.exp(-(x**2)) * (1 / (4 * np.sqrt(x)) - x * np.sqrt(x))
    args = [Arg(0)]
    body = partial("bump", 0, args, call("bump", *args), "float64")
    assert body is not None
    np.testing.assert_allclose(run(body, x), expected, rtol=1e-13, atol=1e-15)


def test_a_formula_that_is_flat_has_no_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FUNCTIONS, "flat", _function("flat", "x - x + 3"))
    assert partial("flat", 0, [Arg(0)], Arg(1), "real") is None


def test_a_function_without_a_derivative_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FUNCTIONS, "mystery", _function("mystery", None))
    with pytest.raises(DifferentiationError, match="mystery has no derivative"):
        partial("mystery", 0, [Arg(0)], Arg(1), "real")


def _function(name: str, formula: str | None) -> Function:
    return Function(name, 1, "float", lambda x: x, sympy=formula, operator="({0})")


# --- SymPy's traps ---


def test_trap_heaviside() -> None:
    """SymPy's Max has a Heaviside of 1/2 for a derivative: refused, and stated by hand."""
    import sympy

    x, y = sympy.symbols("x y", real=True)
    derivative = sympy.diff(sympy.Max(x, y), x)
    with pytest.raises(DifferentiationError, match="Heaviside"):
        from_sympy(derivative, {x: 0, y: 1})
    assert partial_at("relu", 0, [0.0, -1.0, 2.0]).tolist() == [0, 0, 1]
    assert partial_at("abs", 0, [0.0, -1.0, 2.0]).tolist() == [0, -1, 1]
    assert partial_at("maximum", 0, [1.0, 2.0, 1.0], [1.0, 1.0, 2.0]).tolist() == [0.5, 1, 0]
    assert partial_at("minimum", 1, [1.0, 2.0, 1.0], [1.0, 1.0, 2.0]).tolist() == [0.5, 1, 0]


def test_trap_power_at_zero() -> None:
    """SymPy's y*x**y/x is NaN at x = 0."""
    x, y = [0.0, 0.0, 0.0, 2.0, -2.0], [0.0, 1.0, 2.0, 3.0, 2.0]
    assert partial_at("pow", 0, x, y).tolist() == [0, 1, 0, 12, -4]
    by_exponent = partial_at("pow", 1, x, y)
    np.testing.assert_allclose(by_exponent, [0, 0, 0, 8 * np.log(2), 0], rtol=1e-14)


def test_trap_floor() -> None:
    """SymPy leaves Derivative(floor(x), x) standing: refused, and zero by declaration."""
    import sympy

    x = sympy.symbols("x", real=True)
    with pytest.raises(DifferentiationError, match="Derivative"):
        from_sympy(sympy.diff(sympy.floor(x), x), {x: 0})
    for name in ("floor", "ceil", "round", "trunc", "sign"):
        assert partial(name, 0, [Arg(0)], Arg(1), "real") is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_trap_sigmoid(dtype: str) -> None:
    """exp(-x)/(1 + exp(-x))**2 is inf/inf far to the left; so are its relatives."""
    far = np.array([-1e4, -100.0, 0.0, 100.0, 1e4])
    sigmoid = partial_at("sigmoid", 0, far, dtype=dtype)
    np.testing.assert_allclose(sigmoid, [0, 0, 0.25, 0, 0], atol=1e-40)
    np.testing.assert_allclose(
        partial_at("softplus", 0, far, dtype=dtype), [0, 0, 0.5, 1, 1], atol=1e-40
    )
    np.testing.assert_allclose(partial_at("tanh", 0, far, dtype=dtype), [0, 0, 1, 0, 0], atol=1e-40)
    np.testing.assert_allclose(
        partial_at("erf", 0, far, dtype=dtype), [0, 0, 2 / np.sqrt(np.pi), 0, 0], rtol=1e-7
    )


def test_trap_power_function() -> None:
    """C's printer writes pow(x, 2): here whole powers are products and halves are roots."""
    import sympy

    x = sympy.symbols("x", real=True)
    a = Arg(0)
    assert from_sympy(x**2, {x: 0}) == a * a
    assert from_sympy(x**-2, {x: 0}) == 1.0 / (a * a)
    assert from_sympy(sympy.sqrt(x), {x: 0}) == call("sqrt", a)
    assert from_sympy(x**7, {x: 0}) == call("pow", a, 7.0)
    for name in FUNCTIONS:
        if FUNCTIONS[name].partials is None and FUNCTIONS[name].differentiable:
            calls = {s.function for s in walk(derived(name, 0)) if hasattr(s, "function")}
            assert "pow" not in calls, name


def test_numbers_are_rounded_once() -> None:
    import sympy

    x = sympy.symbols("x", real=True)
    body = from_sympy(2 / sympy.sqrt(sympy.pi) * x, {x: 0})
    assert body == Const(1.1283791670955126, "real") * Arg(0)


@pytest.mark.parametrize("text", ["zoo", "nan", "oo", "I*x", "Piecewise((x, x > 0), (0, True))"])
def test_what_has_no_counterpart_is_refused(text: str) -> None:
    import sympy

    x = sympy.symbols("x", real=True)
    with pytest.raises(DifferentiationError, match="bodies do not have"):
        from_sympy(sympy.sympify(text, locals={"x": x}), {x: 0})
