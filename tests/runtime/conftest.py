"""Models whose C is written by hand, so that the runtime is tested without the compiler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autodiffc.build import BuiltLibrary, Cache, build_library, find_toolchain, load_module
from autodiffc.runtime import Compiled
from autodiffc.runtime.direct import has_small_calls
from autodiffc.targets import native

MODELS = Path(__file__).with_name("models")
BATCH = {"dim": "batch", "coefficient": 1, "constant": 0}

LOGISTIC: dict[str, Any] = {
    "name": "logistic",
    "prefix": "logistic",
    "dtype": "float32",
    "abi_version": 1,
    "dims": {"batch": {"default": 4, "low": 1, "high": 8, "open": True}},
    "inputs": [
        {"name": "x", "shape": [BATCH, 3], "dtype": "float32", "low": None, "high": None},
        {
            "name": "labels",
            "shape": [BATCH],
            "dtype": "int32",
            "low": 0,
            "high": 2,
            "index_below": [2],
        },
    ],
    "scalars": [{"name": "lr", "default": 0.5}],
    "outputs": [
        {"name": "loss", "shape": [], "dtype": "float32", "needs": ["x", "labels"]},
        {"name": "logits", "shape": [BATCH], "dtype": "float32", "needs": ["x"]},
    ],
    "params": [
        {"name": "weight", "shape": [3], "offset": 0, "size": 3, "init": {"name": "normal"}},
        {"name": "bias", "shape": [], "offset": 16, "size": 1, "init": {"value": 0.25}},
    ],
    "states": [
        {"name": "count", "shape": [], "offset": 0, "size": 1, "init": {"value": 0}},
        {
            "name": "weight.momentum",
            "shape": [3],
            "offset": 16,
            "size": 3,
            "init": {"name": "zeros"},
            "optimizer": True,
        },
        {
            "name": "bias.momentum",
            "shape": [],
            "offset": 32,
            "size": 1,
            "init": {"name": "zeros"},
            "optimizer": True,
        },
    ],
    "param_elements": 32,
    "state_elements": 48,
    "differentiate": "loss",
    "cotangents": ["loss", "logits"],
    "wrt": ["weight", "bias", "x"],
    "input_grads": [{"name": "x", "shape": [BATCH, 3]}],
    "entries": ["predict", "forward", "backward", "step"],
}

QUIZ: dict[str, Any] = {
    "name": "quiz",
    "prefix": "quiz",
    "dtype": "float64",
    "abi_version": 1,
    "dims": {},
    "inputs": [
        {"name": "x", "shape": [], "dtype": "float64", "low": 1.5, "high": 3},
        {"name": "z", "shape": [], "dtype": "float64", "low": 1, "high": 4},
    ],
    "scalars": [],
    "outputs": [{"name": "y", "shape": [], "dtype": "float64", "needs": ["x", "z"]}],
    "params": [],
    "states": [],
    "param_elements": 0,
    "state_elements": 0,
    "differentiate": "y",
    "cotangents": ["y"],
    "wrt": ["x", "z"],
    "input_grads": [{"name": "x", "shape": []}, {"name": "z", "shape": []}],
    "entries": ["predict", "forward", "backward"],
    "flops": {"predict": 12, "forward": 12, "backward": 20},
}

MANIFESTS = {"logistic": LOGISTIC, "quiz": QUIZ}


@dataclass(frozen=True)
class Handwritten:
    """A model's sources, and what was built of them."""

    name: str
    sources: dict[str, str]
    cdef: str
    manifest: dict[str, Any]
    built: BuiltLibrary
    ffi: Any
    lib: Any

    def compiled(self, **changes: Any) -> Compiled:
        """A fresh object, its manifest with `changes`."""
        return Compiled(self.ffi, self.lib, self.manifest | changes)


Build = Callable[..., Handwritten]


@pytest.fixture(scope="session")
def runtime_cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def build(runtime_cache: Cache) -> Build:
    """Builds `name`, with the preprocessor's `defines`, and loads it in `mode`."""

    def make(name: str, *, mode: Any = "auto", defines: tuple[str, ...] = ()) -> Handwritten:
        sources = {f: (MODELS / f).read_text() for f in (f"{name}.c", f"{name}.h")}
        header = sources[f"{name}.h"]
        lines = [x for x in header.splitlines() if not x.startswith(("#", "/*"))]
        toolchain = find_toolchain(cache=runtime_cache)
        built = build_library(
            name,
            sources,
            toolchain=toolchain,
            target=native(),
            openmp=False,
            defines=defines,
            cache=runtime_cache,
        )
        cdef = "\n".join(lines)
        direct = has_small_calls(MANIFESTS[name])
        ffi, lib = load_module(
            f"_{name}", built, cdef, mode=mode, direct=direct, cache=runtime_cache
        )
        return Handwritten(name, sources, cdef, MANIFESTS[name], built, ffi, lib)

    return make


@pytest.fixture(scope="session", params=["auto", "abi"])
def handwritten_logistic(build: Build, request: pytest.FixtureRequest) -> Handwritten:
    return build("logistic", mode=request.param)


@pytest.fixture(scope="session", params=["auto", "abi"])
def handwritten_quiz(build: Build, request: pytest.FixtureRequest) -> Handwritten:
    return build("quiz", mode=request.param)


@pytest.fixture
def logistic(handwritten_logistic: Handwritten) -> Compiled:
    """Logistic regression, uninitialized, in API mode and in ABI mode."""
    return handwritten_logistic.compiled()


@pytest.fixture
def quiz(handwritten_quiz: Handwritten) -> Compiled:
    return handwritten_quiz.compiled()
