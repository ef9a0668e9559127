"""C to library: the compiler, the cache, and the way back into Python.

Read in this order:

- `cache.py`: compiled code is kept by the hash of everything that decides it
- `toolchain.py`: which compiler there is, what it can do, how it is run
- `compile.py`: C sources -> `libNAME.so`
- `module.py`: `libNAME.so` -> functions Python can call, through cffi
- `doctor.py`: what is there, what is missing, what to do

    toolchain = find_toolchain()
    built = build_library("quiz", {"quiz.c": c, "quiz.h": h}, toolchain=toolchain, target=native())
    ffi, lib = load_module("_quiz", built, cdef)
"""

from __future__ import annotations

from autodiffc.build.cache import Cache, open_cache
from autodiffc.build.compile import BuiltLibrary, build_library
from autodiffc.build.doctor import Check, diagnose
from autodiffc.build.module import BuiltModule, build_module, load_module
from autodiffc.build.toolchain import Toolchain, find_toolchain

__all__ = [
    "BuiltLibrary",
    "BuiltModule",
    "Cache",
    "Check",
    "Toolchain",
    "build_library",
    "build_module",
    "diagnose",
    "find_toolchain",
    "load_module",
    "open_cache",
]
