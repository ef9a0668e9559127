"""Models: what they hold, and the names of intermediates."""

from __future__ import annotations

import autodiffc as ad
from autodiffc.dsl.naming import node_names


def test_a_model_holds_its_leaves_in_order_of_creation() -> None:
    batch = ad.dim("batch", 8)
    second = ad.input("second", (batch,))
    w = ad.param("w", (), init=2.0)
    first = ad.input("first", (batch,))
    count = ad.state("count", ())
    model = ad.Model("m", {"y": first * w + second}, updates={count: count + 1.0})
    assert [n.name for n in model.inputs] == ["second", "first"]
    assert [n.name for n in model.params] == ["w"]
    assert [n.name for n in model.states] == ["count"]
    assert [d.name for d in model.dims] == ["batch"]
    assert model.updates["count"].type == count.node.type
    assert list(model.outputs) == ["y"]


def test_wrt_is_all_parameters_or_all_floating_inputs() -> None:
    x, y = ad.input("x", (3,)), ad.input("ids", (3,), "int32")
    w = ad.param("w", (3,))
    assert ad.Model("m", {"s": ad.sum(x * w)}).wrt == ("w",)
    assert ad.Model("m", {"s": ad.sum(x * y)}).wrt == ("x",)
    assert ad.Model("m", {"s": ad.sum(x * w)}, wrt=["x", w]).wrt == ("x", "w")


def test_updates_may_name_their_states() -> None:
    count = ad.state("count", ())
    by_name = ad.Model("m", {"y": count * 2.0}, updates={"count": count + 1.0})
    by_pairs = ad.Model("m", {"y": count * 2.0}, updates=[(count, count + 1.0)])
    assert list(by_name.updates) == list(by_pairs.updates) == ["count"]


def test_a_parameter_used_twice_is_one_parameter() -> None:
    w, x = ad.param("w", (3, 3)), ad.input("x", (3,))
    assert len(ad.Model("m", {"y": ad.sum(w @ (w @ x))}).params) == 1


def names_of(model: ad.Model) -> list[str]:
    leaves = ("input", "param", "state", "constant")
    return [str(n.name) for n in model.graph.order if n.op not in leaves]


def test_intermediates_take_the_assigned_variable() -> None:
    x = ad.input("x")
    t = x**2
    u1 = ad.sin(t)
    u2: ad.Expression = 3 * t
    u = u1 + u2
    J = ad.cos(u)
    assert names_of(ad.Model("m", {"J": J})) == ["t", "u1", "u2", "u", "J"]


def test_inner_parts_take_the_variable_and_the_operation() -> None:
    x = ad.input("x")
    h = ad.exp(ad.sin(x))
    assert names_of(ad.Model("m", {"y": h})) == ["h_sin", "h"]


def test_a_variable_assigned_again_gets_a_number() -> None:
    h = ad.input("x")
    for _ in range(2):
        h = ad.exp(ad.sin(h))
    h = ad.cos(h)
    names = names_of(ad.Model("m", {"y": h}))
    assert names == ["h_sin", "h", "h_sin_2", "h_2", "h_3"]


def test_several_targets_and_walrus() -> None:
    x = ad.input("x")
    a, b = ad.sin(x), ad.cos(x)
    y = (c := a * b) + c * a
    assert names_of(ad.Model("m", {"y": y})) == ["a", "b", "c", "y_mul", "y"]


def test_what_no_variable_holds_takes_the_outputs_name() -> None:
    x = ad.input("x")
    model = ad.Model("m", {"answer": ad.sin(ad.cos(x))})
    assert names_of(model) == ["cos", "answer"]


def test_names_after_letters_that_take_several_bytes() -> None:
    x = ad.input("x")
    é, ü = ad.sin(x), ad.cos(x)
    assert names_of(ad.Model("m", {"y": é * ü})) == ["é", "ü", "y"]


def test_a_given_name_wins() -> None:
    x = ad.input("x")
    h = ad.name(ad.sin(x), "t")
    y = ad.exp(h)
    assert names_of(ad.Model("m", {"y": y})) == ["t", "y"]


def test_a_named_leaf_keeps_its_own_name() -> None:
    x = ad.input("x", (3,))
    t = ad.name(x, "t")
    model = ad.Model("m", {"y": t * 2.0})
    assert [n.name for n in model.inputs] == ["x"]
    assert names_of(model)[0] == "t"


def test_names_are_unique_and_do_not_meet_those_of_leaves() -> None:
    x = ad.input("h")
    h = ad.sin(x)
    h = h * h
    names = list(node_names(ad.Model("m", {"y": h}).graph).values())
    assert len(names) == len(set(names))
    assert "h" in names
