"""Model files that cannot be used, with the message each gets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import autodiffc as ad
from autodiffc.data.files import read_npz
from autodiffc.dsl.files import load_model, load_models
from autodiffc.errors import ModelFileError
from tests.errors.model_file import check, refusal, write


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "lenet5.py").write_text("")
    text = str(refusal(tmp_path / "lenet.py", ModelFileError))
    assert "lenet.py does not exist" in text
    assert "lenet5.py" in text


def test_what_is_missing_is_a_file_that_was_not_found(tmp_path: Path) -> None:
    for read in (load_models, ad.compile, ad.load):
        with pytest.raises(FileNotFoundError) as caught:
            read(tmp_path / "absent.py")
        assert isinstance(caught.value, ModelFileError)
        assert "absent.py" in str(caught.value)
        assert "  expected: " in str(caught.value)
    with pytest.raises(FileNotFoundError, match="no such data file"):
        read_npz(tmp_path / "absent.npz")


def test_a_directory(tmp_path: Path) -> None:
    assert "is a directory" in str(refusal(tmp_path, ModelFileError))


def test_a_file_that_raises_shows_the_users_line(tmp_path: Path) -> None:
    source = """
        def half(n):
            return n / 0  # here

        x = ad.input("x", (half(3),))
    """
    error = check(tmp_path, source, ModelFileError, "n / 0", "raised ZeroDivisionError")
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert isinstance(error, RuntimeError)


def test_a_wrong_call_of_the_library_shows_the_users_line(tmp_path: Path) -> None:
    source = """
        x = ad.input("x", shap=(3,))  # here
    """
    check(tmp_path, source, ModelFileError, 'ad.input("x", shap=(3,))', "raised TypeError", "shap")


def test_an_unknown_name_of_the_library(tmp_path: Path) -> None:
    source = """
        x = ad.reluu(3)  # here
    """
    check(tmp_path, source, ModelFileError, "ad.reluu", "AttributeError", "reluu")


def test_a_file_that_exits(tmp_path: Path) -> None:
    source = """
        raise SystemExit(0)  # here
    """
    check(tmp_path, source, ModelFileError, "raise SystemExit(0)", "SystemExit")


def test_a_file_in_another_encoding_shows_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.py"
    path.write_bytes(b'import autodiffc as ad\ny = "caf\xe9"\n')
    text = str(refusal(path, ModelFileError))
    assert f"{path}:2:" in text
    assert '    2 | y = "caf�"\n' in text
    assert "can't decode byte 0xe9" in text


def test_a_file_that_is_not_python(tmp_path: Path) -> None:
    path = write(tmp_path, "y = (1 + \nmodel = 3")
    text = str(refusal(path, ModelFileError))
    assert text.startswith(f"{path}:3:5: ")
    assert "y = (1 +" in text
    assert "^" in text
    assert "SyntaxError: '(' was never closed" in text


def test_null_bytes(tmp_path: Path) -> None:
    path = tmp_path / "zero.py"
    path.write_bytes(b"x = 1\0\n")
    assert "null bytes" in str(refusal(path, ModelFileError))


def test_a_file_without_a_model(tmp_path: Path) -> None:
    text = str(refusal(write(tmp_path, 'x = ad.input("x")'), ModelFileError))
    assert "defines no model" in text
    assert 'expected: model = ad.Model("name", outputs={...})' in text


def test_a_model_under_another_name(tmp_path: Path) -> None:
    source = 'x = ad.input("x")\nnet = ad.Model("net", {"y": x * 2})'
    text = str(refusal(write(tmp_path, source), ModelFileError))
    assert "a model called 'net'" in text
    assert "rename 'net' to `model`" in text


@pytest.mark.parametrize("value", ["3", "ad.Model", '{"y": ad.input("x")}'])
def test_a_model_of_the_wrong_type(tmp_path: Path, value: str) -> None:
    check(tmp_path, f"model = {value}  # here", ModelFileError, "model", "`model`", "an ad.Model")


@pytest.mark.parametrize("value", ["[]", "3", "[3]"])
def test_models_of_the_wrong_type(tmp_path: Path, value: str) -> None:
    check(tmp_path, f"models = {value}  # here", ModelFileError, "models", "a list of ad.Model")


def test_two_models_of_one_name(tmp_path: Path) -> None:
    source = """
        x = ad.input("x")
        a = ad.Model("a", {"y": x * 2})
        models = [a, ad.Model("a", {"y": x * 3})]  # here
    """
    path = write(tmp_path, source)
    assert f"{path}:5:14: two models" in str(refusal(path, ModelFileError))


def test_several_models(tmp_path: Path) -> None:
    source = """
        x = ad.input("x")
        models = [ad.Model("a", {"y": x * 2}), ad.Model("b", {"y": x * 3})]
    """
    path = write(tmp_path, source)
    assert list(load_models(path)) == ["a", "b"]
    with pytest.raises(ModelFileError, match="several models"):
        load_model(path)


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "my_neighbour_layers.py").write_text("def double(x):\n    return x * 2\n")
    source = """
        from my_neighbour_layers import double

        model = ad.Model("m", {"y": double(ad.input("x"))})
    """
    before = list(sys.path)
    assert load_model(write(tmp_path, source)).name == "m"
    assert sys.path == before


def test_a_file_read_again_after_a_change(tmp_path: Path) -> None:
    path = write(tmp_path, 'model = ad.Model("a", {"y": ad.input("x") * 2})')
    assert load_model(path).name == "a"
    write(tmp_path, 'model = ad.Model("b", {"y": ad.input("x") * 2})')
    assert load_model(path).name == "b"
