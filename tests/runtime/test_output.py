"""The folder of a compiled model: written, overwritten, loaded, damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autodiffc.build import Cache, build_module
from autodiffc.errors import ArgumentError, BuildError, ModelFileError
from autodiffc.runtime.output import choose_files, load_output, write_output
from tests.runtime.conftest import Build, Handwritten


@pytest.fixture
def module(handwritten_quiz: Handwritten, runtime_cache: Cache) -> Path:
    quiz = handwritten_quiz
    if not quiz.built.toolchain.python_headers:
        pytest.skip("a Python module needs Python.h")
    return build_module("_quiz", quiz.built, quiz.cdef, cache=runtime_cache).path


def write(model: Handwritten, folder: Path, module: Path | None, emit: str = "all") -> list[str]:
    files = choose_files(model.name, model.sources, model.built.path, module, emit)
    paths = write_output(folder, files, model.manifest | {"cdef": model.cdef})
    assert all(path.is_file() for path in paths)
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("emit", "files"),
    [
        ("c", {"quiz.c", "quiz.h"}),
        ("lib", {"quiz.h", "libquiz.so"}),
        ("module", {"MODULE"}),
        ("all", {"quiz.c", "quiz.h", "libquiz.so", "MODULE"}),
    ],
)
def test_what_is_written(
    handwritten_quiz: Handwritten, module: Path, tmp_path: Path, emit: str, files: set[str]
) -> None:
    named = {module.name if name == "MODULE" else name for name in files}
    assert set(write(handwritten_quiz, tmp_path, module, emit)) == named | {"manifest.json"}


def test_what_an_earlier_build_wrote_is_removed(
    handwritten_quiz: Handwritten, module: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("the user's own")
    write(handwritten_quiz, tmp_path, module)
    assert write(handwritten_quiz, tmp_path, module, "c") == [
        "manifest.json",
        "notes.txt",
        "quiz.c",
        "quiz.h",
    ]


def test_a_manifest_cannot_make_files_elsewhere_vanish(
    handwritten_quiz: Handwritten, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("kept")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"files": ["../precious", 3]}))
    write(handwritten_quiz, folder, None)
    assert (tmp_path / "precious").exists()


def test_the_same_build_writes_the_same_bytes(
    handwritten_quiz: Handwritten, module: Path, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        write(handwritten_quiz, tmp_path / folder, module)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize("emit", ["lib", "module", "all"])
def test_loading(handwritten_quiz: Handwritten, module: Path, tmp_path: Path, emit: str) -> None:
    write(handwritten_quiz, tmp_path, module, emit)
    out, grads = load_output(tmp_path).value_and_grad(x=2.0, z=3.0)
    assert out.y == pytest.approx(412.08654756472337, rel=1e-14)
    assert grads["z"] == pytest.approx(809.7398094139392, rel=1e-14)


@pytest.mark.parametrize("mode", ["module", "library"])
def test_a_rewritten_folder_is_loaded_anew(
    build: Build, runtime_cache: Cache, tmp_path: Path, mode: str
) -> None:
    slopes = []
    for defines in ((), ("SLOPE=2",), ("SLOPE=3",), ()):
        model = build("quiz", defines=defines)
        module = None
        if mode == "module":
            module = build_module("_quiz", model.built, model.cdef, cache=runtime_cache).path
        write(model, tmp_path, module)
        slopes.append(load_output(tmp_path).value_and_grad(x=2, z=3)[1]["x"])
    assert [s / slopes[0] for s in slopes] == [1, 2, 3, 1]


def test_a_module_of_another_python_makes_way_for_the_library(
    handwritten_quiz: Handwritten, module: Path, tmp_path: Path
) -> None:
    write(handwritten_quiz, tmp_path, module)
    (tmp_path / module.name).write_bytes(b"not for this Python")
    assert load_output(tmp_path).predict(x=2, z=3).y == pytest.approx(412.08654756472337)


# --- refused ---


def refused(folder: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        load_output(folder)
    return str(caught.value)


def test_loading_what_is_not_there(tmp_path: Path) -> None:
    message = refused(tmp_path / "nothing")
    assert "nothing is not a folder with a compiled model" in message
    assert "expected: a folder that `autodiffc compile -o` wrote" in message


def test_loading_a_model_file(tmp_path: Path) -> None:
    (tmp_path / "lenet5.py").write_text("model = None")
    assert "compiles a model file" in refused(tmp_path / "lenet5.py")


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_loading_a_damaged_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    assert "manifest.json is damaged" in refused(tmp_path)


def test_loading_c_alone(handwritten_quiz: Handwritten, tmp_path: Path) -> None:
    write(handwritten_quiz, tmp_path, None, "c")
    message = refused(tmp_path)
    assert "holds no compiled library of quiz" in message
    assert "help:     compile with --emit all" in message


def test_loading_a_damaged_library(handwritten_quiz: Handwritten, tmp_path: Path) -> None:
    write(handwritten_quiz, tmp_path, None, "lib")
    (tmp_path / "libquiz.so").write_bytes(b"no library")
    with pytest.raises(BuildError, match="cannot be loaded"):
        load_output(tmp_path)


def test_an_unknown_kind_of_output(handwritten_quiz: Handwritten, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no such kind of output"):
        write(handwritten_quiz, tmp_path, None, "wasm")


def test_a_folder_that_cannot_be_written(handwritten_quiz: Handwritten, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BuildError, match="cannot be written"):
        write(handwritten_quiz, tmp_path / "file", None)


def test_an_interrupted_write_leaves_the_old_file(
    handwritten_quiz: Handwritten, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    before = write(handwritten_quiz, tmp_path, None)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(handwritten_quiz, tmp_path, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
