"""Each mistake a model can contain, with the message it gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from autodiffc.errors import (
    ArgumentError,
    ArgumentTypeError,
    DtypeError,
    IndexNotationError,
    ModelError,
    ShapeError,
    TruthValueError,
    UnknownNameError,
)
from tests.errors.model_file import check


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("int", "keyword of C"),
        ("class", "keyword of C++"),
        ("lambda", "keyword of Python"),
        ("NULL", "macro"),
        ("errno", "macro"),
        ("main", "reserved"),
        ("__x", "reserved"),
        ("_X", "reserved"),
        ("a__b", "reserved"),
        ("", "empty"),
        ("2x", "not an identifier"),
        ("a-b", "not an identifier"),
        ("a.b", "not an identifier"),
        ("größe", "not an identifier"),
        ("x; system(1)", "not an identifier"),
        ("x\\n#include <a>", "not an identifier"),
    ],
)
def test_names_that_are_no_names(tmp_path: Path, name: str, reason: str) -> None:
    source = f"""
        x = ad.input("{name}", (3,))  # here
        model = ad.Model("m", {{"y": x * 2}})
    """
    check(tmp_path, source, ModelError, f'ad.input("{name}", (3,))', reason, "help:")


def test_a_name_carrying_code(tmp_path: Path) -> None:
    source = """
        x = ad.input('x; system("rm -rf /")', (3,))  # here
        model = ad.Model("m", {"y": x * 2})
    """
    culprit = "ad.input('x; system(\"rm -rf /\")', (3,))"
    check(tmp_path, source, ModelError, culprit, "cannot be the name of an input")


def test_a_dotted_parameter_is_checked_part_by_part(tmp_path: Path) -> None:
    source = """
        w = ad.param("conv1.int", (3,))  # here
        model = ad.Model("m", {"y": w * 2})
    """
    check(tmp_path, source, ModelError, 'ad.param("conv1.int", (3,))', "keyword of C")


@pytest.mark.parametrize("what", ["model", "output"])
def test_names_of_models_and_outputs(tmp_path: Path, what: str) -> None:
    name, output = ("my net", "y") if what == "model" else ("m", "my out")
    call = f'ad.Model("{name}", {{"{output}": x * 2}})'
    source = f"""
        x = ad.input("x", (3,))
        model = {call}  # here
    """
    check(tmp_path, source, ModelError, call, f"{what}: it is not an identifier")


def test_a_dims_name(tmp_path: Path) -> None:
    source = """
        batch = ad.dim("for", 3)
        x = ad.input("x", (batch,))  # here
        model = ad.Model("m", {"y": x * 2})
    """
    check(tmp_path, source, ModelError, 'ad.input("x", (batch,))', "name of a dim")


def test_two_defaults_for_one_dim(tmp_path: Path) -> None:
    source = """
        x = ad.input("x", (ad.dim("n", 3),))
        z = ad.input("z", (ad.dim("n", 4),))  # here
        model = ad.Model("m", {"y": ad.sum(x) + ad.sum(z)})
    """
    check(tmp_path, source, ModelError, 'ad.input("z", (ad.dim("n", 4),))', "two defaults")


@pytest.mark.parametrize("name", ["seed", "self", "entry"])
def test_inputs_called_like_a_keyword_of_the_calls(tmp_path: Path, name: str) -> None:
    source = f"""
        x = ad.input("{name}", (3,))  # here
        model = ad.Model("m", {{"y": x * 2}})
    """
    check(tmp_path, source, ModelError, f'ad.input("{name}", (3,))', "keyword of the calls")


def test_an_input_called_like_the_optimizers_scalar(tmp_path: Path) -> None:
    source = """
        w = ad.param("w", (3,))
        x = ad.input("lr", (3,))  # here
        model = ad.Model("m", {"y": ad.sum(x * w)}, differentiate="y", optimizer=ad.SGD(0.1))
    """
    check(tmp_path, source, ModelError, 'ad.input("lr", (3,))', "belongs to the optimizer")


def test_two_parameters_with_one_name_show_both_lines(tmp_path: Path) -> None:
    source = """
        w = ad.param("w", (3,))
        v = ad.param("w", (3,))  # here
        model = ad.Model("m", {"y": w + v})
    """
    error = check(tmp_path, source, ModelError, 'ad.param("w", (3,))', "help:", "weight=")
    assert "wrong.py:3:5" in str(error)
    assert 'w = ad.param("w", (3,))' in str(error)


def test_an_input_and_a_parameter_with_one_name(tmp_path: Path) -> None:
    source = """
        w = ad.param("x", (3,))
        v = ad.input("x", (3,))  # here
        model = ad.Model("m", {"y": w + v})
    """
    check(tmp_path, source, ModelError, 'ad.input("x", (3,))', "two leaves")


def test_two_names_that_are_one_in_c(tmp_path: Path) -> None:
    source = """
        w = ad.param("fc.weight", (3,))
        v = ad.param("fc_weight", (3,))  # here
        model = ad.Model("m", {"y": w + v})
    """
    check(tmp_path, source, ModelError, 'ad.param("fc_weight", (3,))', "one name in C")


def test_a_differentiated_output_that_is_no_scalar(tmp_path: Path) -> None:
    source = """
        x = ad.input("x", (3,))
        y = x * 2.0  # here
        model = ad.Model("m", {"y": y}, differentiate="y")
    """
    check(tmp_path, source, ShapeError, "x * 2.0", "not a scalar", "(3,)", "ad.mean")


def test_a_differentiated_output_that_is_an_integer(tmp_path: Path) -> None:
    source = """
        x, i = ad.input("x"), ad.input("i", (), "int32")
        y = i * 2  # here
        model = ad.Model("m", {"y": y, "z": x}, differentiate="y")
    """
    check(tmp_path, source, DtypeError, "i * 2", "int32")


UNKNOWN = [
    ('wrt=["v"]', "'v'", "'w', 'x'"),
    ('wrt=["y"]', "'y'", "'w', 'x'"),
    ('differentiate="los"', "'los'", "did you mean 'loss'?"),
    ('updates={"c": x}', "'c'", "'count'"),
]


@pytest.mark.parametrize(("argument", "found", "known"), UNKNOWN)
def test_names_the_model_does_not_have(
    tmp_path: Path, argument: str, found: str, known: str
) -> None:
    call = f'ad.Model("m", {{"loss": ad.sum(x * w) + count}}, {argument})'
    source = f"""
        x, w, count = ad.input("x", (3,)), ad.param("w", (3,)), ad.state("count")
        model = {call}  # here
    """
    error = check(tmp_path, source, UnknownNameError, call, found, known)
    assert isinstance(error, ValueError)
    assert isinstance(error, KeyError)


def test_wrt_an_integer(tmp_path: Path) -> None:
    call = 'ad.Model("m", {"y": ad.sum(x * i)}, wrt=["i"])'
    source = f"""
        x, i = ad.input("x", (3,)), ad.input("i", (3,), "int32")
        model = {call}  # here
    """
    check(tmp_path, source, DtypeError, call, "'i'", "int32")


def test_an_update_of_another_shape(tmp_path: Path) -> None:
    source = """
        s, x = ad.state("s", (3,)), ad.input("x", (4,))
        t = x * 2.0  # here
        model = ad.Model("m", {"y": x}, updates={s: t})
    """
    check(tmp_path, source, ShapeError, "x * 2.0", "state 's'", "real(4,)", "real(3,)")


def test_an_update_of_another_dtype(tmp_path: Path) -> None:
    source = """
        s, x = ad.state("s", (4,), dtype="int64"), ad.input("x", (4,))
        t = x * 2.0  # here
        model = ad.Model("m", {"y": x}, updates={s: t})
    """
    check(tmp_path, source, DtypeError, "x * 2.0", "state 's'", "int64(4,)")


def test_an_update_of_something_that_is_no_state(tmp_path: Path) -> None:
    call = 'ad.Model("m", {"y": x}, updates={x: x + 1.0})'
    source = f"""
        x = ad.input("x", (4,))
        model = {call}  # here
    """
    check(tmp_path, source, ModelError, call, "not a state")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("optimizer=ad.SGD(0.1)", "what to minimize"),
        ('differentiate="y", wrt=["x"], optimizer=ad.SGD(0.1)', "parameters to train"),
    ],
)
def test_an_optimizer_without_its_needs(tmp_path: Path, arguments: str, words: str) -> None:
    call = f'ad.Model("m", {{"y": ad.sum(x * w)}}, {arguments})'
    source = f"""
        x, w = ad.input("x", (4,)), ad.param("w", (4,))
        model = {call}  # here
    """
    check(tmp_path, source, ModelError, call, words)


def test_an_optimizer_that_is_none(tmp_path: Path) -> None:
    call = 'ad.Model("m", {"y": ad.sum(x * w)}, differentiate="y", optimizer="sgd")'
    source = f"""
        x, w = ad.input("x", (4,)), ad.param("w", (4,))
        model = {call}  # here
    """
    check(tmp_path, source, ArgumentTypeError, call, "'sgd'", "ad.SGD")


@pytest.mark.parametrize("outputs", ["{}", "x", "[x]", '{"y": "z"}'])
def test_outputs_that_are_none(tmp_path: Path, outputs: str) -> None:
    call = f'ad.Model("m", {outputs})'
    source = f"""
        x = ad.input("x", (4,))
        model = {call}  # here
    """
    check(tmp_path, source, ArgumentTypeError, call)


def test_an_output_that_is_an_unfinished_formula(tmp_path: Path) -> None:
    call = 'ad.Model("m", {"y": ad.sum_over(k, x[k])})'
    source = f"""
        k, x = ad.indices("k"), ad.input("x", (4,))
        model = {call}  # here
    """
    check(tmp_path, source, IndexNotationError, call, "sum_over((k), x[k])", "ad.compute((), ")


def test_settings_of_an_optimizer_that_make_no_sense(tmp_path: Path) -> None:
    source = """
        sgd = ad.SGD(lr=-1.0)  # here
    """
    check(tmp_path, source, ArgumentError, "ad.SGD(lr=-1.0)", "lr must be at least 0")


def test_an_optimizer_without_parameters(tmp_path: Path) -> None:
    call = 'ad.Model("m", {"y": x}, "y", optimizer=ad.SGD(lr=0.1))'
    source = f"""
        x = ad.input("x")
        model = {call}  # here
    """
    error = check(tmp_path, source, ModelError, call, "needs parameters to train")
    assert error.expected == 'a parameter of the model, made with ad.param("weight", shape)'


def test_nothing_to_differentiate_by(tmp_path: Path) -> None:
    call = 'ad.Model("m", {"y": ad.sum(ad.constant([1.0, 2.0]))}, differentiate="y")'
    source = f"""
        model = {call}  # here
    """
    check(tmp_path, source, ModelError, call, "nothing to differentiate")


def test_an_expression_as_a_condition(tmp_path: Path) -> None:
    source = """
        x = ad.input("x")
        if x > 0:  # here
            pass
    """
    check(tmp_path, source, TruthValueError, "x > 0", "ad.where")


def test_a_chained_comparison(tmp_path: Path) -> None:
    source = """
        x = ad.input("x")
        y = ad.where(0 < x < 1, x, 0)  # here
    """
    check(tmp_path, source, TruthValueError, "0 < x < 1", "`&`")


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    source = """
        x, y = ad.input("x", (3,)), ad.input("y", (4,))
        z = x + y  # here
    """
    check(tmp_path, source, ShapeError, "x + y", "(3,) and (4,)")
