"""From C sources to `libNAME.so`.

Every `.c` file is a compile unit; all units are linked to one library. The compiler works inside
the cache's staging folder with relative file names, so that the bytes of the library do not depend
on where it was built.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autodiffc.build.cache import Cache, Metadata, cache_key, open_cache
from autodiffc.build.toolchain import Toolchain, run_compiler
from autodiffc.errors import BuildError
from autodiffc.targets import Target, cpu_identity


@dataclass(frozen=True)
class BuiltLibrary:
    """A compiled library. `commands` are the command lines that made it, run in `directory`.

    `openmp` tells whether it was built with OpenMP, which may have been wanted in vain; from
    `objects`, the compiled units, the Python module is linked with the same `link_flags`; `cached`
    is true if nothing had to be compiled.
    """

    name: str
    path: Path
    directory: Path
    objects: tuple[Path, ...]
    headers: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    link_flags: tuple[str, ...]
    toolchain: Toolchain
    openmp: bool
    key: str
    cached: bool


def build_library(
    name: str,
    sources: Mapping[str, str],
    *,
    toolchain: Toolchain,
    target: Target,
    openmp: bool = True,
    defines: Sequence[str] = (),
    extra_flags: Sequence[str] = (),
    cache: Cache | None = None,
) -> BuiltLibrary:
    """Compile `sources` (file name -> text, `.c` and `.h`) to `libNAME.so`, or find it cached."""
    _check_names(name, sources)
    link_flags = toolchain.link_flags(target, openmp=openmp)
    commands = _command_lines(
        name,
        [file for file in sources if file.endswith(".c")],
        toolchain,
        (
            *toolchain.compile_flags(target, openmp=openmp),
            *(f"-D{define}" for define in defines),
            *extra_flags,
        ),
        link_flags,
    )
    key = cache_key(["library", name, dict(sources), toolchain.identity, commands, cpu_identity()])

    def build(directory: Path) -> Metadata:
        for file, text in sources.items():
            (directory / file).write_text(text, encoding="utf-8", newline="\n")
        for command in commands:
            run_compiler(command, directory)
        return {"commands": commands}

    entry = (cache or open_cache()).get_or_build(key, build)
    return BuiltLibrary(
        name=name,
        path=entry.directory / library_file(name),
        directory=entry.directory,
        objects=tuple(entry.directory / _object(f) for f in sources if f.endswith(".c")),
        headers=tuple(file for file in sources if file.endswith(".h")),
        commands=tuple(commands),
        link_flags=link_flags,
        toolchain=toolchain,
        openmp=toolchain.uses_openmp(openmp),
        key=key,
        cached=entry.cached,
    )


def library_file(name: str) -> str:
    """The library's file name."""
    return f"lib{name}.so"


def _command_lines(
    name: str,
    units: Sequence[str],
    toolchain: Toolchain,
    flags: Sequence[str],
    link_flags: Sequence[str],
) -> list[tuple[str, ...]]:
    """One command to compile each unit, and one to link them all."""
    compiles = [(*toolchain.command, *flags, "-c", unit, "-o", _object(unit)) for unit in units]
    # The soname is what programs linked against the library will look for, wherever it was built.
    soname = (f"-Wl,-soname,{library_file(name)}",) if sys.platform == "linux" else ()
    objects = [_object(unit) for unit in units]
    output = ("-o", library_file(name))
    link = (*toolchain.command, "-shared", *link_flags, *soname, *output, *objects, "-lm")
    return [*compiles, link]


def _object(unit: str) -> str:
    return unit.removesuffix(".c") + ".o"


def _check_names(name: str, sources: Mapping[str, str]) -> None:
    """Names become file names and parts of command lines, so they must be plain."""
    for file in sources:
        if not re.fullmatch(r"\w+\.[ch]", file, re.ASCII):
            raise BuildError(
                "not a name for a C source", found=repr(file), expected="NAME.c or NAME.h"
            )
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise BuildError("not a name for a library", found=repr(name), expected="a C identifier")
    if not any(file.endswith(".c") for file in sources):
        raise BuildError(
            f"library {name!r} has no compile unit",
            found=", ".join(sources) or "no sources",
            expected="at least one .c file",
        )
