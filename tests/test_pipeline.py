"""`compile`, `load` and `check_grads`: from a model or a file to calls, and arguments refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.errors import (
    ArgumentError,
    ArgumentTypeError,
    AutodiffcError,
    GradientCheckError,
    ModelError,
    ModelFileError,
    NameNotFoundError,
    StateError,
    ToolchainError,
)
from autodiffc.ops import elementwise as ops
from autodiffc.pipeline import BuildOptions, build, check_grads, compile, load, load_built, write

MODEL_FILE = """
import autodiffc as ad
x = ad.input("x", low=1, high=2)
model = ad.Model({name!r}, {{"y": x * x}}, differentiate="y")
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTODIFFC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def quiz_model() -> ad.Model:
    x, z = ad.input("x", low=1.5, high=3), ad.input("z", low=1, high=4)
    e, log = ops.exp(x * z), ops.log(x)
    return ad.Model("quiz", {"y": e + x * z / log + ops.sin(log) / e}, differentiate="y")


def scaling_model() -> ad.Model:
    """y = scale·x and z = shift − x, for any batch."""
    batch = ad.dim("batch", 4)
    x = ad.input("x", (batch, 3))
    scale, shift = ad.param("scale", (3,), init="normal"), ad.param("shift", init=0.5)
    return ad.Model("scaling", {"y": scale * x, "z": shift - x}, wrt=["scale", "shift", "x"])


def descent_model() -> ad.Model:
    w = ad.param("w", init=3.0)
    target = ad.input("target")
    error = w - target
    return ad.Model(
        "descent", {"loss": error * error}, differentiate="loss", optimizer=ad.SGD(lr=0.25)
    )


# --- compile ---


def test_the_quiz() -> None:
    quiz = compile(quiz_model(), dtype="float64")
    out, grads = quiz.value_and_grad(x=2.0, z=3.0)
    assert out.y == pytest.approx(412.08654756472337, rel=1e-13)
    assert grads["x"] == pytest.approx(1208.366560554193, rel=1e-13)
    assert grads["z"] == pytest.approx(809.7398094139392, rel=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float64, np.dtype("float32")])
def test_dtypes(dtype: Any) -> None:
    assert compile(quiz_model(), dtype=dtype).dtype == np.dtype(dtype)


def test_dims_are_fixed_or_stay_open() -> None:
    assert compile(scaling_model()).dims == {"batch": 4}
    assert compile(scaling_model(), dims={"batch": np.int64(2)}).dims == {"batch": 2}
    model = compile(scaling_model(), dims={"batch": (1, 6)})
    assert model.dims == {"batch": (1, 6)}
    model.init()
    scale, shift = (np.array(p) for p in model.params.values())
    for n in (1, 6, 3):
        x = np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
        out = model.forward(x=x)
        np.testing.assert_allclose(out.y, scale * x, rtol=1e-6)
        np.testing.assert_allclose(out.z, shift - x, rtol=1e-6)
        dz = np.ones_like(x)
        grads = model.backward(z=dz, y=x)
        np.testing.assert_allclose(grads["scale"], (x * x).sum(0), rtol=1e-5)
        np.testing.assert_allclose(grads["shift"], 3 * n)
        np.testing.assert_allclose(grads["x"], x * scale - dz, rtol=1e-5, atol=1e-6)


def test_steps() -> None:
    model = compile(descent_model()).init()
    assert [model.step(target=1.0) for _ in range(3)] == [4.0, 1.0, 0.25]
    model.set(lr=0.5)
    model.step(target=1.0)
    assert model.params["w"] == 1.0


def test_the_manifest_is_plain_and_tells_how_the_model_was_built() -> None:
    manifest = compile(scaling_model()).manifest
    assert json.loads(json.dumps(manifest, allow_nan=False)) == manifest
    assert manifest["params"][0]["init"] == {"name": "normal"}
    assert len(manifest["source_hash"]) == 64
    assert manifest["compiler"]
    assert any("-O3" in word for command in manifest["commands"] for word in command)


def test_a_prefix_names_everything_in_c(tmp_path: Path) -> None:
    model = compile(quiz_model(), prefix="mine", output=tmp_path)
    assert model.name == "quiz"
    assert model.predict(x=2.0, z=3.0).y > 412
    assert {"mine.c", "mine.h", "libmine.so", "manifest.json"} <= names_in(tmp_path)
    assert "int mine_predict(" in (tmp_path / "mine.h").read_text()


# --- files and folders ---


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_model_file(tmp_path: Path) -> None:
    path = tmp_path / "square.py"
    path.write_text(MODEL_FILE.format(name="square"))
    for given in (path, str(path)):
        assert compile(given).predict(x=3.0).y == 9


@pytest.mark.parametrize("count", [1, 2])
def test_a_file_with_models_gives_a_dict(tmp_path: Path, count: int) -> None:
    path = tmp_path / "several.py"
    made = (
        f'ad.Model("power{k}", {{"y": x ** {k}}}, differentiate="y")' for k in range(2, 2 + count)
    )
    path.write_text(
        f'import autodiffc as ad\nx = ad.input("x", low=1, high=2)\nmodels = [{", ".join(made)}]\n'
    )
    found = compile(path, output=tmp_path / "out")
    assert {name: model.predict(x=3.0).y for name, model in found.items()} == {
        f"power{k}": 3**k for k in range(2, 2 + count)
    }
    assert names_in(tmp_path / "out") == set(found)
    assert check_grads(path) < 1e-6


def test_an_output_folder_can_be_loaded(tmp_path: Path) -> None:
    compiled = compile(scaling_model(), dims={"batch": (1, 6)}, output=tmp_path)
    loaded = load(tmp_path)
    x = np.ones((2, 3), np.float32)
    wanted = compiled.init(seed=4).predict(x=x).y
    assert (load(str(tmp_path)).init(seed=4).predict(x=x).y == wanted).all()
    assert (loaded.init(seed=4).predict(x=x).y == wanted).all()


def test_c_alone_needs_no_compiler(tmp_path: Path) -> None:
    options = BuildOptions.checked(cc="no-such-compiler")
    built = build(quiz_model(), options, only_c=True)
    write(built, tmp_path, "c")
    assert names_in(tmp_path) == {"quiz.c", "quiz.h", "manifest.json"}
    with pytest.raises(ArgumentError, match="nothing to load"):
        load_built(built)
    with pytest.raises(ToolchainError, match="no-such-compiler"):
        compile(quiz_model(), cc="no-such-compiler")


# --- refused ---


def refused(error: type[AutodiffcError], call: Callable[[], Any]) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("model", [3, None, ad.Model, ops.exp])
def test_what_is_no_model(model: Any) -> None:
    assert "expected: an ad.Model, or the path of a file that defines `model`" in refused(
        ArgumentTypeError, lambda: compile(model)
    )


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    assert "does not exist" in refused(ModelFileError, lambda: compile(tmp_path / "nothing.py"))


def test_unknown_dims() -> None:
    assert refused(NameNotFoundError, lambda: compile(scaling_model(), dims={"bach": 8})) == (
        "scaling has no dim of this name\n"
        "  found:    'bach'\n"
        "  expected: one of 'batch' (default 4)\n"
        "  help:     did you mean 'batch'?"
    )
    assert "none: all its extents are numbers" in refused(
        NameNotFoundError, lambda: compile(quiz_model(), dims={"batch": 8})
    )


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ArgumentError),
        (-1, ArgumentError),
        (2**31, ArgumentError),
        ((3, 2), ArgumentError),
        ((0, 2), ArgumentError),
        ((1, 2, 3), ArgumentError),
        ((), ArgumentError),
        ("8", ArgumentTypeError),
        (8.0, ArgumentTypeError),
        (True, ArgumentTypeError),
        (None, ArgumentTypeError),
        ((1, "n"), ArgumentTypeError),
    ],
)
def test_sizes_that_a_dim_cannot_have(value: Any, error: type[AutodiffcError]) -> None:
    assert refused(error, lambda: compile(scaling_model(), dims={"batch": value})) == (
        f"dim 'batch' cannot have this size\n  found:    {value!r}\n"
        "  expected: a positive integer, or a range (low, high) to leave it open"
    )


def test_a_dim_of_a_parameter_cannot_stay_open() -> None:
    n = ad.dim("n", 3)
    model = ad.Model("m", {"y": ad.param("w", (n,)) * 2})
    message = refused(ArgumentError, lambda: compile(model, dims={"n": (1, 5)}))
    assert "dim 'n' cannot stay open: 'w' has it in its shape" in message
    assert 'ad.param("w", (n,))' in message  # the user's line


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dims": 8}, ArgumentTypeError, "dims must map names to sizes"),
        (
            {"dtype": "float16"},
            ArgumentError,
            "found:    'float16'\n  expected: float32 or float64",
        ),
        ({"dtype": np.int32}, ArgumentError, "a build's dtype is a floating one"),
        ({"dtype": 3}, ArgumentError, "a build's dtype is a floating one"),
        ({"target": "pdp11"}, ArgumentError, "unknown target"),
        ({"target": 3}, ArgumentTypeError, "target must be a name"),
        (
            {"threads": 0},
            ArgumentError,
            "threads must be at least 1\n  found:    0\n  expected: e.g. 4, or None for all",
        ),
        ({"threads": 1.5}, ArgumentTypeError, "threads must be an integer"),
        ({"threads": 4, "openmp": False}, ArgumentError, "without OpenMP there is one thread"),
        ({"openmp": "no"}, ArgumentTypeError, "openmp must be True or False"),
        ({"cc": 3}, ArgumentTypeError, "cc must be a command"),
        ({"prefix": "int"}, ModelError, "'int' cannot be the name of a prefix"),
        ({"prefix": 'x; system("ls")'}, ModelError, "it is not an identifier"),
    ],
)
def test_arguments_that_are_refused(
    arguments: dict[str, Any], error: type[AutodiffcError], message: str
) -> None:
    assert message in refused(error, lambda: compile(quiz_model(), **arguments))


def test_the_learning_rate_has_the_optimizers_limits() -> None:
    model = compile(descent_model()).init()
    for rate in (-1, float("nan")):
        assert "lr cannot have this value" in refused(ArgumentError, lambda r=rate: model.set(lr=r))
    assert model.set(lr=0).scalars == {"lr": 0.0}


def test_a_prefix_is_no_line_of_the_model_file() -> None:
    message = refused(ModelError, lambda: compile(quiz_model(), prefix="a-b"))
    assert message.startswith("'a-b' cannot be the name of a prefix")
    assert "--prefix" in message


def test_one_prefix_for_several_models(tmp_path: Path) -> None:
    path = tmp_path / "two.py"
    path.write_text(
        'import autodiffc as ad\nx = ad.input("x")\n'
        'models = [ad.Model("a", {"y": x}), ad.Model("b", {"y": x})]\n'
    )
    assert "one prefix cannot serve several models" in refused(
        ArgumentError, lambda: compile(path, prefix="p")
    )


def test_load_takes_a_folder() -> None:
    assert "load takes a folder" in refused(ArgumentTypeError, lambda: load(3))  # type: ignore[arg-type]


# --- check_grads ---


def test_gradients_are_checked_in_float64() -> None:
    assert check_grads(quiz_model()) < 1e-7
    assert check_grads(scaling_model()) < 1e-7
    assert check_grads(scaling_model(), dims={"batch": (2, 5)}, seed=3) < 1e-7
    assert check_grads(descent_model()) < 1e-7


def test_the_tolerance_is_the_callers() -> None:
    message = refused(GradientCheckError, lambda: check_grads(quiz_model(), tolerance=1e-18))
    assert "tolerance 1e-18" in message


def test_a_model_without_gradients_cannot_be_checked() -> None:
    model = ad.Model("m", {"y": ad.input("n", dtype="int32") * 2})
    assert "has no backward" in refused(StateError, lambda: check_grads(model))
