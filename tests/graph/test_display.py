"""Formulas as text and as LaTeX: index notation, guards, the parentheses that meaning needs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

import autodiffc.ops.functions  # noqa: F401 - fills the table of functions
from autodiffc.graph import construct
from autodiffc.graph.affine import Affine, constant, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Indirect
from autodiffc.graph.display import Writer, formula_text
from autodiffc.graph.extents import dim
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.node import Node
from autodiffc.graph.notations import LATEX, TEXT, Written
from autodiffc.graph.scalars import Arg, Call, Cast, Const, Index, Scalar, Size, call, const

BATCH = dim("batch", 4)
s, t, u = Arg(0), Arg(1), Arg(2)


def name_of(node: Node) -> str:
    return node.name or "y"


def formula_latex(node: Node) -> str:
    (formula,) = Writer(LATEX, name_of).node(node)
    return formula


def body_text(body: Scalar, args: Sequence[str], indices: Sequence[str] = ()) -> str:
    return Writer(TEXT, name_of).scalar(body, [Written(a) for a in args], indices).text


def body_latex(body: Scalar, args: Sequence[str]) -> str:
    return Writer(LATEX, name_of).scalar(body, [Written(a) for a in args], ()).text


def leaf(name: str, *shape: object, dtype: str = "real") -> Node:
    return construct.leaf("input", name, shape, dtype)  # type: ignore[arg-type]


def convolution(*, out: str = "plain", finish: bool = True) -> Node:
    w, x = leaf("conv1.weight", 6, 3, 5, 5), leaf("images", BATCH, 3, 28, 28)
    n, o, i, j, c, p, q = (index(7, k) for k in range(7))
    guards = (i + p - 2, -(i + p - 2) + 27, j + q - 2, -(j + q - 2) + 27)
    domain = Domain((BATCH, 6, 28, 28, 3, 5, 5), guards, tuple("noijcpq"))
    if out == "scattered":
        accesses = (Access(0, (o, c, p, q)), Access(1, (n, o, i, j)))
        piece = Comprehension(domain, (n, c, i + p - 2, j + q - 2), accesses, s * t, "sum")
        return construct.compute([w, leaf("dy", BATCH, 6, 28, 28)], [piece], x.shape)
    accesses = (Access(0, (o, c, p, q)), Access(1, (n, c, i + p - 2, j + q - 2)))
    extra = (call("relu", s + t), (Access(2, (o,)),)) if finish else (None, ())
    piece = Comprehension(domain, (n, o, i, j), accesses, s * t, "sum", *extra)
    inputs = [w, x, leaf("conv1.bias", 6)]
    return construct.compute(inputs, [piece], (BATCH, 6, 28, 28))


def test_a_padded_convolution_with_its_epilogue() -> None:
    assert formula_text(convolution(), name_of=name_of) == (
        "y[n,o,i,j] = relu(sum over c,p,q where 0 <= i+p-2 < 28 and 0 <= j+q-2 < 28 of "
        "conv1.weight[o,c,p,q]*images[n,c,i+p-2,j+q-2] + conv1.bias[o])"
    )


def test_a_scatter_is_an_accumulation() -> None:
    assert formula_text(convolution(out="scattered"), name_of=name_of) == (
        "y[n,c,i+p-2,j+q-2] += conv1.weight[o,c,p,q]*dy[n,o,i,j] "
        "where 0 <= i+p-2 < 28 and 0 <= j+q-2 < 28"
    )


def test_latex_of_a_convolution() -> None:
    assert formula_latex(convolution(finish=False)) == (
        r"y[n,o,i,j] = \sum_{\substack{c,p,q\\ 0 \le i+p-2 < 28, 0 \le j+q-2 < 28}} "
        r"\mathrm{conv1.weight}[o,c,p,q] \cdot \mathrm{images}[n,c,i+p-2,j+q-2]"
    )


def test_an_indirect_row_shows_its_tensor() -> None:
    table, ids = leaf("E", 100, 16), leaf("ids", BATCH, 8, dtype="int32")
    row = Indirect(1, (index(3, 0), index(3, 1)))
    piece = Comprehension(
        Domain((BATCH, 8, 16), (), tuple("ntd")),
        identity(3),
        (Access(0, (row, index(3, 2))),),
        s,
    )
    node = construct.compute([table, ids], [piece], (BATCH, 8, 16))
    assert formula_text(node, name_of=name_of) == "y[n,t,d] = E[ids[n,t],d]"


def test_pieces_are_joined_and_scalars_have_no_brackets() -> None:
    a, b = leaf("a", 2), leaf("b")
    one, zero = index(1, 0), constant(1, 0)
    first = Comprehension(Domain((2,)), (one,), (Access(0, (one,)),), s)
    second = Comprehension(Domain((1,)), (one + 2,), (Access(1, ()),), s * 0.5)
    node = construct.compute([a, b], [first, second], (3,))
    assert formula_text(node, name_of=name_of) == "y[i] = a[i]; y[i+2] = b*0.5"
    total = Comprehension(Domain((2,)), (), (Access(0, (one,)),), s, "sum")
    assert formula_text(construct.compute([a], [total], ()), name_of=name_of) == (
        "y = sum over i of a[i]"
    )
    assert zero.is_constant


@pytest.mark.parametrize("combine", ["max", "min", "prod", "argmax", "argmin"])
def test_every_reduction_has_its_word(combine: str) -> None:
    x = leaf("x", 8, 3)
    rows = (Affine((2, 1, 0)), index(3, 2))
    domain = Domain((4, 2, 3), (), ("i", "p", "c"))
    piece = Comprehension(domain, (index(3, 0), index(3, 2)), (Access(0, rows),), s, combine)
    node = construct.compute([x], [piece], (4, 3))
    assert formula_text(node, name_of=name_of) == f"y[i,c] = {combine} over p of x[2*i+p,c]"
    assert r"_{p} x[2\,i+p,c]" in formula_latex(node)


@pytest.mark.parametrize(
    ("guard", "expected"),
    [
        (Affine((1, -1)), "i >= j"),
        (Affine((1, -1), -1), "i > j"),
        (Affine((-1, 0), 3), "i < 4"),
        (Affine((1, 1), -2), "i+j >= 2"),
        (Affine((1, -1), 2), "i+2 >= j"),
        (Affine((-1, 0), BATCH - 1), "i < batch"),
    ],
)
def test_a_single_guard_has_each_term_where_it_is_positive(guard: Affine, expected: str) -> None:
    domain = Domain((4, 4), (guard,), ("i", "j"))
    piece = Comprehension(domain, identity(2), (Access(0, identity(2)),), s)
    node = construct.compute([leaf("x", 4, 4)], [piece], (4, 4))
    assert formula_text(node, name_of=name_of) == f"y[i,j] = x[i,j] where {expected}"


def test_repeated_index_names_are_told_apart() -> None:
    domain = Domain((4, 4), (), ("i", "i"))
    piece = Comprehension(domain, identity(2), (Access(0, identity(2)[::-1]),), s)
    node = construct.compute([leaf("x", 4, 4)], [piece], (4, 4))
    assert formula_text(node, name_of=name_of) == "y[i,i1] = x[i1,i]"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (s + t + u, "s + t + u"),
        (s + (t + u), "s + t + u"),
        (s - (t + u), "s - (t + u)"),
        (s - (t - u), "s - (t - u)"),
        (s + -t, "s - t"),
        (s - -t, "s + t"),
        (s + const(-2.0), "s - 2"),
        (s * -t, "-s*t"),
        (-s * -t, "s*t"),
        (const(-1.0) * s, "-s"),
        (s * const(-1.0), "-s"),
        (s / const(-1.0), "-s"),
        (s * (const(1.0) / t), "s/t"),
        (Index(0) * Const(2, "int32") + Index(0), "2*k + k"),
        (Call("neg", (-s,)), "s"),
        (-(s + t), "-(s + t)"),
        (s - t * -u, "s + t*u"),
        ((s + t) * u, "(s + t)*u"),
        (s * (t * u), "s*t*u"),
        (s * (t / u), "s*t/u"),
        (s / (t / u), "s/(t/u)"),
        (s / t / u, "s/t/u"),
        (s / (t * u), "s/(t*u)"),
        (s * call("floordiv", t, u), "s*(t // u)"),
        (call("mod", s * t, u), "s*t % u"),
        (call("pow", -s, 2.0), "(-s)**2"),
        (-call("pow", s, 2.0), "-s**2"),
        (call("pow", s, call("pow", t, u)), "s**(t**u)"),
        (call("pow", s, const(-1.0)), "s**(-1)"),
        (call("lt", s + t, u), "s + t < u"),
        (call("and", call("lt", s, t), call("not", call("eq", t, 0.0))), "(s < t) & ~(t == 0)"),
        (call("where", call("lt", s, t), s - t, 1e-5), "where(s < t, s - t, 1e-05)"),
        (call("abs", s - t), "|s - t|"),
        (call("maximum", s, t) * u, "max(s, t)*u"),
        (Cast("real", Size(BATCH * 3 + 1)) * s, "(3*batch + 1)*s"),
        (Cast("int32", s + t), "int32(s + t)"),
        (Cast("real", Index(0)) / s, "k/s"),
        (Const(True, "bool"), "true"),
        (const(0.1) * s, "0.1*s"),
    ],
)
def test_parentheses_stand_where_they_are_needed(body: Scalar, text: str) -> None:
    assert body_text(body, ["s", "t", "u"], ["k"]) == text


@pytest.mark.parametrize(
    ("body", "latex"),
    [
        ((s + t) / (s - t), r"\frac{s + t}{s - t}"),
        (call("pow", s + t, s - t), r"{\left(s + t\right)}^{s - t}"),
        (call("pow", call("exp", s), 2.0), r"{\left(e^{s}\right)}^{2}"),
        (call("expm1", s) * t, r"\left(e^{s} - 1\right) \cdot t"),
        (s * 1e-5, r"s \cdot 10^{-5}"),
        (
            s * call("where", call("le", s, t), t, 0.0),
            r"s \cdot \left(\begin{cases}t & s \le t"
            r"\\0 & \text{else}\end{cases}\right)",
        ),
    ],
)
def test_latex_bodies(body: Scalar, latex: str) -> None:
    assert body_latex(body, ["s", "t"]) == latex


def test_what_is_written_means_what_was_meant() -> None:
    """Every nesting of two operators, read back by Python, has the value of the body."""
    inner = ("add", "sub", "mul", "div", "floordiv", "mod", "pow", "neg", "maximum")
    values = {name: np.float64(v) for name, v in (("s", 1.7), ("t", 0.6), ("u", 2.3))}
    with np.errstate(all="ignore"):
        for names in itertools.product((*inner, "lt"), inner):
            for body in nestings(*names):
                text = body_text(body, list(values))
                read = eval(text, {"__builtins__": {}}, {"max": max, **values})
                expected = value(body, list(values.values()))
                np.testing.assert_allclose(read, expected, rtol=1e-12, err_msg=text)


def nestings(outer: str, inner: str) -> list[Scalar]:
    arity = FUNCTIONS[inner].arity
    kid = Call(inner, (s, t)[:arity])
    if FUNCTIONS[outer].arity == 1:
        return [Call(outer, (kid,))]
    return [Call(outer, (kid, u)), Call(outer, (u, kid))]


def value(body: Scalar, args: list[float]) -> np.ndarray | float:
    if isinstance(body, Arg):
        return args[body.position]
    assert isinstance(body, Call)
    return FUNCTIONS[body.function].reference(*(value(a, args) for a in body.args))


def test_every_function_can_be_written_in_ascii_and_latex() -> None:
    for function in FUNCTIONS.values():
        body = Call(function.name, tuple(Arg(k) for k in range(function.arity)))
        text = body_text(body, ["s", "t", "u"])
        assert text.isascii(), text
        assert "\\" not in text, text
        assert "*/" not in text, text
        latex = body_latex(body, ["s", "t", "u"])
        assert latex.count("{") == latex.count("}"), latex


def test_an_infix_function_nobody_listed_is_enclosed(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    odd = replace(FUNCTIONS["add"], name="odd", text="{0} ? {1}")
    monkeypatch.setitem(FUNCTIONS, "odd", odd)
    assert body_text(Call("odd", (s + t, u)) * s, ["s", "t", "u"]) == "((s + t) ? u)*s"


def test_other_nodes_are_described() -> None:
    x, ids = leaf("x", 4, 3), leaf("ids", 5, dtype="int32")
    assert formula_text(x, name_of=name_of) == "x = input real(4, 3)"
    flat = construct.reshape(x, (12,))
    assert formula_text(flat, name_of=name_of) == "y = reshape(x, (12,))"
    assert formula_text(construct.check_index(ids, 9), name_of=name_of) == (
        "y = ids where 0 <= ids < 9"
    )
    assert formula_text(construct.stop_gradient(x), name_of=name_of) == "y = stop_gradient(x)"


def test_latex_writes_products_of_one_thing_as_powers() -> None:
    assert body_latex(s * s, ["s", "t"]) == "{s}^{2}"
    assert body_latex((s + t) * (s + t), ["s", "t"]) == r"{\left(s + t\right)}^{2}"
    assert body_latex(s * t, ["x[i]", "x[i]"]) == "{x[i]}^{2}"
    assert body_text(s * s, ["s"]) == "s*s"
