"""The way from a model to something that runs, as the user calls it.

    compile     model -> C (lower) -> library and Python module (build) -> Compiled
    load        a folder that an earlier compile wrote -> Compiled
    check_grads a model's gradients against finite differences, in float64

`lower` holds the steps from model to C. A `Build` is what lies between: the C with its manifest,
and, unless only C was wanted, the compiled library and module.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, overload

import numpy as np

from autodiffc.build import (
    BuiltLibrary,
    BuiltModule,
    build_library,
    build_module,
    find_toolchain,
    load_module,
)
from autodiffc.dsl.files import load_file
from autodiffc.dsl.initializers import Initializer
from autodiffc.dsl.model import Model
from autodiffc.dsl.names import check_name
from autodiffc.emit.module import Emitted
from autodiffc.errors import (
    ArgumentError,
    ArgumentTypeError,
    AutodiffcError,
    NameNotFoundError,
)
from autodiffc.graph.extents import dims_of
from autodiffc.lower import lower
from autodiffc.runtime.check import check_gradients
from autodiffc.runtime.compiled import Compiled
from autodiffc.runtime.direct import has_small_calls
from autodiffc.runtime.initial import describe_initializer
from autodiffc.runtime.output import choose_files, load_output, write_output
from autodiffc.targets import get_target

ModelLike = Model | str | os.PathLike[str]
DimChoice = int | tuple[int, int]

LARGEST_DIM = 2**31 - 1  # dims are int32_t in C


@overload
def compile(
    model: Model,
    *,
    dims: Mapping[str, DimChoice] | None = ...,
    dtype: Any = ...,
    target: str = ...,
    threads: int | None = ...,
    openmp: bool = ...,
    cc: str | None = ...,
    prefix: str | None = ...,
    output: str | os.PathLike[str] | None = ...,
) -> Compiled: ...


@overload
def compile(
    model: str | os.PathLike[str],
    *,
    dims: Mapping[str, DimChoice] | None = ...,
    dtype: Any = ...,
    target: str = ...,
    threads: int | None = ...,
    openmp: bool = ...,
    cc: str | None = ...,
    prefix: str | None = ...,
    output: str | os.PathLike[str] | None = ...,
) -> Any: ...


def compile(
    model: ModelLike,
    *,
    dims: Mapping[str, DimChoice] | None = None,
    dtype: Any = "float32",
    target: str = "native",
    threads: int | None = None,
    openmp: bool = True,
    cc: str | None = None,
    prefix: str | None = None,
    output: str | os.PathLike[str] | None = None,
) -> Any:
    """Compiles a model, or the model in a file.

    `dims={"batch": 128}` fixes a dim, `{"batch": (1, 128)}` leaves it open within a range; a dim
    not named is fixed at its default. `threads` is the most that a call may use, `prefix` what
    names in C begin with (the model's name), `output` a folder for the C, the library and the
    module. A file that defines `models` gives a dict, by name.
    """
    options = BuildOptions.checked(
        dims=dims,
        dtype=dtype,
        target=target,
        threads=threads,
        openmp=openmp,
        cc=cc,
        prefix=prefix,
    )
    found = read_model(model)
    models = found if isinstance(found, dict) else {found.name: found}
    options.check_for(models)
    compiled = {}
    for name, each in models.items():
        built = build(each, options)
        if output is not None:
            write(built, Path(output) / name if isinstance(found, dict) else output)
        compiled[name] = load_built(built)
    return compiled if isinstance(found, dict) else compiled[found.name]


def load(directory: str | os.PathLike[str]) -> Compiled:
    """The model in a folder that `autodiffc compile -o` or `compile(output=...)` wrote."""
    if not isinstance(directory, str | os.PathLike):
        raise ArgumentTypeError(
            "load takes a folder", found=repr(directory), expected='e.g. "build/lenet5"'
        )
    return load_output(Path(directory))


def check_grads(
    model: ModelLike,
    *,
    tolerance: float = 1e-5,
    seed: int = 0,
    dims: Mapping[str, DimChoice] | None = None,
    cc: str | None = None,
) -> float:
    """Compares gradients with finite differences in float64, at random inputs.

    Returns the worst error, relative to the size of each tensor's gradient; above `tolerance` it
    raises GradientCheckError, which names the tensor and the entry.
    """
    compiled = compile(model, dims=dims, dtype="float64", cc=cc)
    checked = compiled.values() if isinstance(compiled, dict) else [compiled]
    return max(check_gradients(each, tolerance=tolerance, seed=seed) for each in checked)


# --- The steps ---


@dataclass(frozen=True)
class Build:
    """A model on its way: C and manifest; library and module unless only C was wanted.

    `module` is also None where Python.h is missing; then the library is called directly.
    """

    emitted: Emitted
    manifest: dict[str, Any]
    library: BuiltLibrary | None = None
    module: BuiltModule | None = None


def build(model: Model, options: BuildOptions, *, only_c: bool = False) -> Build:
    """Lowers the model to C and compiles that."""
    emitted = lower(
        model,
        dims=options.dims_of(model),
        dtype=options.dtype,
        target=options.target,
        threads=options.threads,
        prefix=options.prefix,
    )
    manifest = _plain(emitted.manifest) | {
        "cdef": emitted.cdef,
        "source_hash": _hash(emitted.sources),
    }
    if only_c:
        return Build(emitted, manifest)
    toolchain = find_toolchain(options.cc)
    library = build_library(
        emitted.name,
        emitted.sources,
        toolchain=toolchain,
        target=get_target(options.target),
        openmp=options.openmp,
    )
    name, direct = _module_name(emitted), has_small_calls(manifest)
    module = None
    if toolchain.python_headers:
        module = build_module(name, library, emitted.cdef, direct=direct)
    manifest |= {
        "compiler": toolchain.describe(),
        "commands": [list(command) for command in library.commands],
        "openmp": library.openmp,
    }
    return Build(emitted, manifest, library, module)


def load_built(built: Build) -> Compiled:
    """The built model as a Python object."""
    if built.library is None:
        raise ArgumentError(
            "there is nothing to load", found="C alone", expected="a compiled library"
        )
    name, direct = _module_name(built.emitted), has_small_calls(built.manifest)
    ffi, lib = load_module(name, built.library, built.emitted.cdef, direct=direct)
    return Compiled(ffi, lib, built.manifest)


def write(built: Build, directory: str | os.PathLike[str], emit: str = "all") -> list[Path]:
    """Writes the folder of a build: `emit` is c, lib, module or all. Returns the files' paths."""
    library = None if built.library is None else built.library.path
    module = None if built.module is None else built.module.path
    files = choose_files(built.emitted.name, built.emitted.sources, library, module, emit)
    return write_output(Path(directory), files, built.manifest)


def read_model(model: ModelLike) -> Model | dict[str, Model]:
    """The model itself, or what a file defines: its `model`, or its `models` by name."""
    if isinstance(model, Model):
        return model
    if isinstance(model, str | os.PathLike):
        return load_file(Path(model))
    raise ArgumentTypeError(
        "this cannot be compiled",
        found=f"{model!r} ({type(model).__name__})",
        expected="an ad.Model, or the path of a file that defines `model`",
    )


def _module_name(emitted: Emitted) -> str:
    return f"_{emitted.name}"


def _plain(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its initializers as JSON."""
    plain = dict(manifest)
    for kind in ("params", "states"):
        plain[kind] = [
            {**entry, "init": describe_initializer(entry["init"])}
            if isinstance(entry["init"], Initializer)
            else entry
            for entry in plain[kind]
        ]
    return plain


def _hash(sources: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(f"{name}\n{len(sources[name])}\n{sources[name]}".encode())
    return digest.hexdigest()


# --- Options ---


@dataclass(frozen=True)
class BuildOptions:
    """What a build is asked for; `checked` makes one of what a user wrote."""

    dims: Mapping[str, DimChoice]
    dtype: str
    target: str
    threads: int | None
    openmp: bool
    cc: str | None
    prefix: str | None

    @classmethod
    def checked(
        cls,
        *,
        dims: Mapping[str, DimChoice] | None = None,
        dtype: Any = "float32",
        target: str = "native",
        threads: int | None = None,
        openmp: bool = True,
        cc: str | None = None,
        prefix: str | None = None,
    ) -> BuildOptions:
        if not isinstance(target, str):
            raise ArgumentTypeError(
                "target must be a name", found=repr(target), expected="'native'"
            )
        get_target(target)
        if not isinstance(openmp, bool):
            raise ArgumentTypeError("openmp must be True or False", found=repr(openmp))
        if cc is not None and not isinstance(cc, str):
            raise ArgumentTypeError("cc must be a command", found=repr(cc), expected="e.g. 'gcc'")
        return cls(
            dims=_check_dims(dims),
            dtype=_check_dtype(dtype),
            target=target,
            threads=_check_threads(threads, openmp),
            openmp=openmp,
            cc=cc,
            prefix=None if prefix is None else _check_prefix(prefix),
        )

    def dims_of(self, model: Model) -> dict[str, DimChoice]:
        """The choices that concern this model."""
        return {d.name: self.dims[d.name] for d in model.dims if d.name in self.dims}

    def check_for(self, models: Mapping[str, Model]) -> None:
        """Refuses dims that no model has, and what does not go with several models."""
        known = {d.name: d.default for model in models.values() for d in model.dims}
        for name in self.dims:
            if name not in known:
                raise _unknown_dim(name, known, list(models))
        if self.prefix is not None and len(models) > 1:
            raise ArgumentError(
                "one prefix cannot serve several models",
                found=f"prefix={self.prefix!r} for {', '.join(models)}",
                expected="a file with one model, or no prefix",
            )
        for model in models.values():
            self._check_variables(model)

    def _check_variables(self, model: Model) -> None:
        """Parameters and states have one size for good."""
        for node in (*model.params, *model.states):
            for dim in sorted(dims_of(node.shape)):
                if isinstance(self.dims.get(dim.name), tuple):
                    raise ArgumentError(
                        f"dim {dim.name!r} cannot stay open: {node.name!r} has it in its shape",
                        found=f"dims={{{dim.name!r}: {self.dims[dim.name]}}}",
                        expected=f"one value, e.g. {dim.default}",
                        loc=node.loc,
                    )


def _check_prefix(prefix: str) -> str:
    try:
        return check_name(prefix, "a prefix")
    except AutodiffcError as error:
        error.loc = None  # an option of the build: no line of a model file is at fault
        error.help = "choose another one with prefix=, or --prefix on the command line"
        raise


def _check_dims(dims: Mapping[str, DimChoice] | None) -> dict[str, DimChoice]:
    if dims is None:
        return {}
    if not isinstance(dims, Mapping):
        raise ArgumentTypeError(
            "dims must map names to sizes", found=repr(dims), expected='e.g. {"batch": 128}'
        )
    return {name: _check_choice(name, value) for name, value in dims.items()}


def _check_choice(name: str, value: object) -> DimChoice:
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise _bad_choice(name, value)
        low, high = (_check_size(name, value, bound) for bound in value)
        if low > high:
            raise _bad_choice(name, value)
        return low, high
    return _check_size(name, value, value)


def _check_size(name: str, value: object, size: object) -> int:
    if isinstance(size, bool) or not isinstance(size, int | np.integer):
        raise _bad_choice(name, value, ArgumentTypeError)
    if not 1 <= size <= LARGEST_DIM:
        raise _bad_choice(name, value)
    return int(size)


def _bad_choice(
    name: str, value: object, error: type[ArgumentError | ArgumentTypeError] = ArgumentError
) -> ArgumentError | ArgumentTypeError:
    return error(
        f"dim {name!r} cannot have this size",
        found=repr(value),
        expected="a positive integer, or a range (low, high) to leave it open",
    )


def _unknown_dim(name: str, known: Mapping[str, int], models: list[str]) -> NameNotFoundError:
    close = get_close_matches(str(name), known, n=1)
    described = ", ".join(f"{dim!r} (default {default})" for dim, default in known.items())
    return NameNotFoundError(
        f"{', '.join(models)} has no dim of this name",
        found=repr(name),
        expected=f"one of {described}" if known else "none: all its extents are numbers",
        help=f"did you mean {close[0]!r}?" if close else None,
    )


def _check_dtype(dtype: Any) -> str:
    try:
        name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    except TypeError:
        name = repr(dtype)
    if name not in ("float32", "float64"):
        raise ArgumentError(
            "a build's dtype is a floating one", found=repr(dtype), expected="float32 or float64"
        )
    return name


def _check_threads(threads: object, openmp: bool) -> int | None:
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer):
        raise ArgumentTypeError(
            "threads must be an integer", found=repr(threads), expected="e.g. 4, or None for all"
        )
    if threads < 1:
        raise ArgumentError(
            "threads must be at least 1", found=threads, expected="e.g. 4, or None for all"
        )
    if threads > 1 and not openmp:
        raise ArgumentError(
            "without OpenMP there is one thread",
            found=f"threads={threads}, openmp=False",
            expected="openmp=True, or threads=1",
        )
    return int(threads)
