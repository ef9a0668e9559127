"""What of the build's surroundings is there, what is missing, and what to do about it.

Each check answers one question and never raises: a broken installation is what it is for. `warn`
means that models compile and run, with less than the machine could give; `missing` means that
something will fail.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from autodiffc.build.cache import Cache, cache_directory, open_cache
from autodiffc.build.toolchain import (
    INSTALL_ADVICE,
    Compiler,
    find_compiler,
    openmp_key,
    probe_openmp,
    python_headers,
    ziglang_command,
)
from autodiffc.errors import AutodiffcError, CacheWarning
from autodiffc.targets import cpu_description, native

Status = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Check:
    """One finding; `advice` is empty where nothing need be done."""

    name: str
    status: Status
    detail: str
    advice: str = ""


def diagnose(cc: str | None = None) -> list[Check]:
    """All checks; `cc` names a compiler as in `find_toolchain`."""
    try:
        compiler, failure = find_compiler(cc), None
    except AutodiffcError as error:
        compiler, failure = None, error
    cache = open_cache()
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("C compiler", lambda: _check_compiler(compiler, failure)),
        ("OpenMP", lambda: _check_openmp(compiler, cache)),
        ("processor", _check_target),
        ("Python.h", _check_python_headers),
        ("cffi", _check_cffi),
        ("cache", lambda: _check_cache(cache)),
        ("zig extra", lambda: _check_zig(compiler)),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)  # the check of the cache says it
        return [_guarded(name, check) for name, check in checks]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """A check that breaks is itself a finding."""
    try:
        return check()
    except Exception as error:
        return Check(name, "missing", f"the check failed: {error}", "please report this")


def _check_compiler(compiler: Compiler | None, failure: AutodiffcError | None) -> Check:
    if compiler is None:
        return Check("C compiler", "missing", _reason(failure), INSTALL_ADVICE)
    return Check("C compiler", "ok", f"{' '.join(compiler.command)}: {compiler.version}")


def _reason(failure: AutodiffcError | None) -> str:
    """One line: a compiler that failed says more, its command first."""
    if failure is None:
        return "none"
    first, *more = (" ".join(line.split()) for line in failure.message.splitlines())
    found = more[0] if more else failure.found and f"found: {failure.found}"
    return f"{first} ({found})" if found else first


def _check_openmp(compiler: Compiler | None, cache: Cache) -> Check:
    if compiler is None:
        return Check("OpenMP", "missing", "no compiler to ask", INSTALL_ADVICE)
    if not probe_openmp(compiler, cache):
        cache.discard(openmp_key(compiler))  # it may have been installed since it was last asked
        if not probe_openmp(compiler, cache):
            return Check(
                "OpenMP",
                "warn",
                f"does not compile, link and load with {compiler.kind}; models run on one thread",
                "install GCC (`apt install gcc`), or for Clang `apt install libomp-dev`",
            )
    return Check("OpenMP", "ok", "compiles, links and loads")


def _check_target() -> Check:
    target = native()
    detail = (
        f"{cpu_description()}: {target.registers} vector registers of {target.vector_bits} bits; "
        f"caches {_size(target.l1_bytes)}, {_size(target.l2_bytes)}, {_size(target.l3_bytes)}; "
        f"{' '.join(target.flags) or 'no flags'}"
    )
    if not target.flags:
        advice = "this kind of processor is not known; code is built for its plain instruction set"
        return Check("processor", "warn", detail, advice)
    return Check("processor", "ok", detail)


def _check_python_headers() -> Check:
    folder = python_headers()
    if folder is None:
        detail = "not found; libraries are called through cffi's slower ABI mode"
        return Check("Python.h", "warn", detail, "`apt install python3-dev`")
    return Check("Python.h", "ok", str(folder))


def _check_cffi() -> Check:
    try:
        import cffi
    except ImportError as error:
        return Check("cffi", "missing", str(error), "`pip install cffi`")
    return Check("cffi", "ok", cffi.__version__)


def _check_cache(cache: Cache) -> Check:
    folder = cache_directory()
    problem = cache.check_writable()
    if problem:
        return Check(
            "cache",
            "warn",
            f"{folder} cannot be written ({problem.strerror}); models are compiled in each process",
            "set AUTODIFFC_CACHE to a folder that can be written",
        )
    return Check("cache", "ok", f"{folder}, {_size(cache.size_bytes())}")


def _check_zig(compiler: Compiler | None) -> Check:
    if ziglang_command():
        return Check("zig extra", "ok", "installed")
    if compiler is None:
        detail = "not installed; it would serve as the compiler"
        return Check("zig extra", "missing", detail, "`pip install autodiffc[zig]`")
    return Check("zig extra", "ok", "not installed, and not needed: there is a compiler")


def _size(count: int) -> str:
    """Bytes in the largest unit that leaves at least one."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return f"{count / scale:.4g} {unit}"
    return f"{count} B"
