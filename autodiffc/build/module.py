"""From a library to functions that Python can call, through cffi.

Two modes with one result, a pair `(ffi, lib)`:

- API mode compiles a small extension module around the library's own object files. Calls are
  faster, and the C compiler checks the declarations against the header. It needs Python.h.
- ABI mode opens `libNAME.so` as it is and trusts the declarations.

Both release the GIL while C runs. The module *contains* the model's code rather than depending on
`libNAME.so`, because the dynamic linker knows libraries by name: of two models called alike (two
batch sizes of one model, say) the second module would silently get the first one's code.

In API mode the module of a model can also define a Python type whose calls go straight to C
(`templates/direct_call.c.j2`, `runtime/direct.py`): `autodiffc_direct_type` gives its address.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import re
import sys
import sysconfig
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from autodiffc.build.cache import Cache, Metadata, cache_key, open_cache
from autodiffc.build.compile import BuiltLibrary
from autodiffc.build.toolchain import python_headers, run_compiler
from autodiffc.emit.resources import templates
from autodiffc.errors import BuildError, CompilerFailed

Mode = Literal["auto", "api", "abi"]

# The wrapper only converts arguments: a higher level costs compile time and gains nothing. Its type
# needs more of Python's C interface than what is the same in all versions.
WRAPPER_FLAGS = ("-O1", "-fPIC", "-w", "-D_CFFI_NO_LIMITED_API")
DIRECT_TYPE = "static void *autodiffc_direct_type(void);"


@dataclass(frozen=True)
class BuiltModule:
    """A compiled extension module; `source` is the C text that cffi wrote for it."""

    name: str
    path: Path
    source: Path
    cached: bool


def load_module(
    name: str,
    built: BuiltLibrary,
    cdef: str,
    *,
    mode: Mode = "auto",
    direct: bool = False,
    cache: Cache | None = None,
) -> tuple[Any, Any]:
    """cffi's `(ffi, lib)` for `built`, whose functions and types `cdef` declares.

    `auto` takes API mode where Python.h is there and ABI mode elsewhere. In API mode, `direct` adds
    the type whose calls go straight to C.
    """
    if mode == "abi" or (mode == "auto" and not built.toolchain.python_headers):
        return _open_library(built.path, cdef)
    try:
        module = build_module(name, built, cdef, direct=direct, cache=cache)
        return _import_extension(module.name, module.path)
    except (CompilerFailed, ImportError) as error:
        if mode == "api":
            raise _unusable_module(name, error) from error
        warnings.warn(
            f"the Python module of {name!r} could not be built, so its library is called through "
            f"cffi's slower ABI mode: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return _open_library(built.path, cdef)


def open_files(name: str, module: Path | None, library: Path, cdef: str) -> tuple[Any, Any]:
    """cffi's `(ffi, lib)` for files that were built before: the module if there is one.

    A module that this Python cannot import (built for another version) makes way for the library.
    """
    if module is not None:
        try:
            return _import_extension(name, module)
        except ImportError:
            pass
    return _open_library(library, cdef)


def extension_suffix() -> str:
    """How the file name of an extension module of this Python ends."""
    return str(sysconfig.get_config_var("EXT_SUFFIX") or ".so")


def build_module(
    name: str,
    built: BuiltLibrary,
    cdef: str,
    *,
    direct: bool = False,
    cache: Cache | None = None,
) -> BuiltModule:
    """Compile the extension module `name` around the objects of `built`, or find it cached."""
    headers = python_headers()
    if headers is None:
        raise BuildError(
            f"the Python module {name!r} cannot be built",
            found="no Python.h in " + sysconfig.get_path("include"),
            expected="the headers of this Python",
            help="`apt install python3-dev`; until then the plain library serves, in ABI mode",
        )
    file = name + extension_suffix()
    command = _command_line(name, built, headers)
    calls = _direct_calls(cdef) if direct else ""
    key = cache_key(["module", built.key, cdef, calls, command, file, sys.version, _cffi_version()])

    def build(directory: Path) -> Metadata:
        _write_wrapper(name, cdef, built.headers, calls, directory)
        run_compiler(command, directory)
        return {"command": command}

    entry = (cache or open_cache()).get_or_build(key, build)
    return BuiltModule(
        name, entry.directory / file, entry.directory / f"{name}.c", cached=entry.cached
    )


def _command_line(name: str, built: BuiltLibrary, headers: Path) -> tuple[str, ...]:
    """Compile the wrapper and link it with the model's objects, in one command."""
    # The module's calls go to its own copy of the model, whatever else the process has loaded.
    own_symbols = {"linux": ("-Wl,-Bsymbolic",), "darwin": ("-undefined", "dynamic_lookup")}
    return (
        *built.toolchain.command,
        *built.link_flags,
        *WRAPPER_FLAGS,
        f"-I{headers}",
        f"-I{built.directory}",
        "-shared",
        *own_symbols.get(sys.platform, ()),
        "-o",
        name + extension_suffix(),
        f"{name}.c",
        *(str(path) for path in built.objects),
        "-lm",
    )


def _direct_calls(cdef: str) -> str:
    """The C of direct calls to the entry points that `cdef` declares."""
    entry = re.search(r"\bint (\w+)_forward\((?:[^,]*, ){2}(float|double) \*state", cdef)
    assert entry is not None, "direct calls are those of a model"
    prefix, element = entry.groups()
    backward = f"int {prefix}_backward(" in cdef
    template = templates().get_template("direct_call.c.j2")
    text = template.render(prefix=prefix, element=element, backward=backward)
    return str(text)


def _write_wrapper(
    name: str, cdef: str, headers: tuple[str, ...], calls: str, directory: Path
) -> None:
    """Let cffi write the wrapper's C."""
    ffi = _declared(f"{cdef}\n{DIRECT_TYPE}" if calls else cdef)
    # Without a header the declarations themselves introduce the functions to the C compiler.
    preamble = "\n".join(f'#include "{header}"' for header in headers) or cdef
    ffi.set_source(name, f"{preamble}\n{calls}", compiler_verbose=0)  # or it prints to stdout
    ffi.emit_c_code(str(directory / f"{name}.c"))


@functools.cache
def _import_extension(name: str, path: Path) -> tuple[Any, Any]:
    """Import the module from `path`, leaving the names in sys.modules as they were."""
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None:
        raise ImportError(f"no module can be loaded from {path}")
    registered = (name, f"{name}.lib")  # cffi and Python enter these by themselves
    before = {key: sys.modules[key] for key in registered if key in sys.modules}
    try:
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    finally:
        for key in registered:
            sys.modules.pop(key, None)
        sys.modules.update(before)
    return module.ffi, module.lib


@functools.cache
def _open_library(path: Path, cdef: str) -> tuple[Any, Any]:
    """ABI mode: open the plain library."""
    ffi = _declared(cdef)
    try:
        return ffi, ffi.dlopen(str(path))
    except OSError as error:
        raise BuildError(f"the library {path} cannot be loaded: {error}") from error


def _declared(cdef: str) -> Any:
    """A cffi instance that knows the declarations of `cdef`."""
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(cdef)
    return ffi


def _cffi_version() -> str:
    import cffi

    return str(cffi.__version__)


def _unusable_module(name: str, error: Exception) -> Exception:
    """What `api` mode raises: the compiler's failure as it is, a failed import as a BuildError."""
    if isinstance(error, CompilerFailed):
        return error
    return BuildError(f"the Python module {name!r} cannot be imported: {error}")
