"""Which C compiler there is, what it can do, and how it is called.

A `Toolchain` is the answer to "who compiles?": a command and what was found out about it. It is
found in this order: the `cc=` argument, the environment's CC (either may hold arguments), `cc`,
`gcc`, `clang` on the PATH, and at last the `zig` extra, a whole compiler from PyPI. A compiler that
the user named is the one used: if it cannot be, that is an error and not a reason to look further.

Asking costs one `--version` call per process. What takes a compilation to find out (does OpenMP
link and load?) is asked once per compiler and kept in the cache.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autodiffc.build.cache import Cache, Metadata, cache_key, open_cache
from autodiffc.errors import CompilerFailed, ToolchainError
from autodiffc.targets import Target, cpu_identity

Kind = Literal["gcc", "clang", "zig"]

OPTIMIZATION = "-O3"
# -std=c11 switches the contraction to fused multiply-add off, hence -ffp-contract=fast.
# -ffast-math is never used: it breaks NaN and changes denormals for the whole process.
COMMON_FLAGS = (
    "-std=c11",
    OPTIMIZATION,
    "-fPIC",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fopenmp-simd",
    "-DAUTODIFFC_OMP_SIMD",  # tells the C of that flag, which no macro shows
    "-Wall",
)
# Register tiles load what they need. GCC would carry loads that overlap from one iteration to the
# next, in registers that the tile's sums need: the gradient of a 5x5 kernel took 1.7 times as long.
# The others find nothing here that would make code faster, since loops come in the form that they
# shall have; together they are a fifth of the compile time.
GCC_FLAGS = (
    "-fno-predictive-commoning",
    "-fno-tree-vrp",
    "-fno-split-loops",
    "-fno-unswitch-loops",
    "-fno-loop-interchange",
    "-fno-loop-unroll-and-jam",
    "-fno-ipa-cp-clone",
)
# With =fast Clang chooses by surroundings which of two products becomes part of a multiply-add: the
# last elements of an array would differ from the others. With =on the expression alone decides.
# A loop left scalar is no mistake of the generated code.
CLANG_FLAGS = ("-ffp-contract=on", "-Wno-pass-failed")
# By default zig adds checks for overflow, with their runtime, and debug information, which holds
# the path of the folder: the same sources would not give the same bytes.
ZIG_FLAGS = ("-fno-sanitize=undefined", "-g0")

SEARCHED = ("cc", "gcc", "clang")
INSTALL_ADVICE = "install one: `apt install gcc`, or without root `pip install autodiffc[zig]`"
OUTPUT_LIMIT = 20_000  # characters of a failing compiler's output that an error shows

OPENMP_PROBE = """\
#include <omp.h>
int probe(void) {
  int threads = 0;
#pragma omp parallel reduction(+ : threads)
  threads += 1;
  return threads <= omp_get_max_threads() ? threads : 0;
}
"""


@dataclass(frozen=True)
class Toolchain:
    """A C compiler. `version` is its own first line, `identity` stands for it in cache keys."""

    command: tuple[str, ...]
    kind: Kind
    version: str
    identity: str
    openmp: bool
    python_headers: bool

    def compile_flags(self, target: Target, *, openmp: bool) -> tuple[str, ...]:
        """The flags of every compile unit."""
        own = GCC_FLAGS if self.kind == "gcc" else CLANG_FLAGS
        return (*COMMON_FLAGS, *own, *self._shared_flags(target, openmp))

    def link_flags(self, target: Target, *, openmp: bool) -> tuple[str, ...]:
        """The flags for linking units, without the libraries."""
        # zig compiles its runtime per optimization level: without one it would build a second.
        own = (OPTIMIZATION,) if self.kind == "zig" else ()
        return (*own, *self._shared_flags(target, openmp))

    def uses_openmp(self, wanted: bool) -> bool:
        """Whether a library is built with OpenMP: wanted and there."""
        return wanted and self.openmp

    def _shared_flags(self, target: Target, openmp: bool) -> tuple[str, ...]:
        """The flags that compiling and linking must agree on."""
        machine = (*_zig_target_flags(target), *ZIG_FLAGS) if self.kind == "zig" else target.flags
        return (*machine, *(("-fopenmp",) if self.uses_openmp(openmp) else ()))

    def describe(self) -> str:
        """The command and the version, for people."""
        return f"{shlex.join(self.command)} ({self.version})"


def find_toolchain(cc: str | None = None, *, cache: Cache | None = None) -> Toolchain:
    """The compiler to use; `cc` names one, with arguments if need be."""
    basics = find_compiler(cc)
    return Toolchain(
        command=basics.command,
        kind=basics.kind,
        version=basics.version,
        identity=basics.identity,
        openmp=probe_openmp(basics, cache or open_cache()),
        python_headers=python_headers() is not None,
    )


@dataclass(frozen=True)
class Compiler:
    """What one version query tells of a compiler, before any probe."""

    command: tuple[str, ...]
    kind: Kind
    version: str
    identity: str


def find_compiler(cc: str | None = None) -> Compiler:
    """The first compiler that answers, in the order that the top of this file gives."""
    path = os.environ.get("PATH", os.defpath)
    for origin, text in (("cc= (or --cc)", cc), ("CC", os.environ.get("CC"))):
        if text and text.strip():
            return _query(_named_command(origin, text), path)
    for command in _candidates():
        try:
            return _query(command, path)
        except (ToolchainError, CompilerFailed):
            continue  # there, but it does not run: look further
    raise ToolchainError(
        "no C compiler found",
        found="none of: the cc= argument, the environment's CC, "
        + ", ".join(SEARCHED)
        + " on the PATH, python -m ziglang",
        expected="a C compiler: GCC, Clang or zig",
        help=INSTALL_ADVICE,
    )


def ziglang_command() -> tuple[str, ...] | None:
    """How the `zig` extra's compiler is called, or None where the extra is not installed."""
    if importlib.util.find_spec("ziglang") is None:
        return None
    return (sys.executable, "-m", "ziglang", "cc")


def python_headers() -> Path | None:
    """The folder with Python.h, or None where it is missing."""
    folders = {sysconfig.get_path("include"), sysconfig.get_path("platinclude")}
    return next((Path(f) for f in sorted(folders) if Path(f, "Python.h").is_file()), None)


def openmp_key(compiler: Compiler | Toolchain) -> str:
    """Where the cache keeps whether `compiler` has OpenMP."""
    return cache_key(["openmp", OPENMP_PROBE, compiler.identity, cpu_identity()])


def probe_openmp(compiler: Compiler, cache: Cache) -> bool:
    """Whether a program with OpenMP compiles, links and loads (zig links it, yet it won't load)."""

    def build(directory: Path) -> Metadata:
        (directory / "probe.c").write_text(OPENMP_PROBE)
        own = (OPTIMIZATION, *ZIG_FLAGS) if compiler.kind == "zig" else ()
        flags = (*own, "-fPIC", "-fopenmp")
        try:  # in two steps: where compiling fails, zig is spared its slow first link
            run_compiler((*compiler.command, *flags, "-c", "probe.c", "-o", "probe.o"), directory)
            link = (*flags, "-shared", "-o", "probe.so", "probe.o")
            run_compiler((*compiler.command, *link), directory)
        except CompilerFailed:
            return {"openmp": False}
        return {"openmp": _loads(directory / "probe.so")}

    return bool(cache.get_or_build(openmp_key(compiler), build).metadata.get("openmp"))


def run_compiler(command: Sequence[str], directory: Path | None = None) -> str:
    """Run `command` and return what it printed.

    The compiler works in a process group of its own, so that Ctrl-C can end it together with the
    programs it started. Given a `directory`, it works there and keeps its temporary files there
    too, so that they are removed with it.
    """
    process = _start(command, directory)
    try:
        output, _ = process.communicate()
    except BaseException:
        _kill_group(process)
        raise
    if process.returncode == 0:
        return output
    if "No space left on device" in output:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory or ""))
    raise _compiler_failed(command, process.returncode, output)


def _start(command: Sequence[str], directory: Path | None) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command,
            cwd=directory,
            env=_environment(directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        )
    except OSError as error:
        raise ToolchainError(
            f"the C compiler cannot be run: {error.strerror}",
            found=shlex.join(command),
            expected="a command that runs",
            help=INSTALL_ADVICE,
        ) from error


def _environment(directory: Path | None) -> Mapping[str, str]:
    """English messages, and temporary files where they are cleaned up."""
    temporary = {} if directory is None else {"TMPDIR": str(directory)}
    return {**os.environ, "LC_ALL": "C", **temporary}


def _kill_group(process: subprocess.Popen[str]) -> None:
    """End the compiler and all it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _compiler_failed(command: Sequence[str], status: int, output: str) -> CompilerFailed:
    shown = output.strip()[:OUTPUT_LIMIT] or "(none)"
    outcome = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
    indented = "\n".join("    " + line for line in shown.splitlines())
    return CompilerFailed(
        f"the C compiler failed ({outcome})\n"
        f"  command:  {shlex.join(command)}\n"
        f"  output:\n{indented}",
        help="`autodiffc doctor` tells what is amiss with the compiler; cc= or CC picks another",
    )


def _named_command(origin: str, text: str) -> tuple[str, ...]:
    """The words of a command that the user gave, its program made sure to exist."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ToolchainError(
            f"{origin} is not a command: {error}",
            found=repr(text),
            expected="a command as in a shell, such as 'gcc -m64'",
        ) from error
    if not words or shutil.which(words[0]) is None:
        raise ToolchainError(
            f"the C compiler named by {origin} was not found",
            found=repr(text),
            expected="a program on the PATH or the path of one",
            help=f"name another, leave {origin} out to search for one, or {INSTALL_ADVICE}",
        )
    # The compiler runs in another folder, so a path relative to this one must be made absolute.
    program = os.path.abspath(words[0]) if os.path.dirname(words[0]) else words[0]
    return (program, *words[1:])


def _candidates() -> list[tuple[str, ...]]:
    """The commands to try where the user named none."""
    on_path = [(name,) for name in SEARCHED if shutil.which(name)]
    zig = ziglang_command()
    return [*on_path, zig] if zig else [*on_path]


@functools.cache
def _query(command: tuple[str, ...], path: str) -> Compiler:
    """Ask `command` for its version; `path` is the PATH under which it was found."""
    output = run_compiler((*command, "--version"))
    program = shutil.which(command[0], path=path) or command[0]
    identity = hashlib.sha256(repr((command, os.path.realpath(program), output)).encode())
    lines = output.strip().splitlines()
    return Compiler(
        command=command,
        kind=_kind(command, output),
        version=lines[0].strip() if lines else "version unknown",
        identity=identity.hexdigest(),
    )


def _kind(command: Sequence[str], version_output: str) -> Kind:
    """zig calls itself clang, so the command tells; an unknown compiler is taken for GCC's like."""
    if any(os.path.basename(word).startswith("zig") for word in command):
        return "zig"
    return "clang" if "clang" in version_output.lower() else "gcc"


def _zig_target_flags(target: Target) -> tuple[str, ...]:
    """zig spells processors its own way, and without a word takes the one it runs on."""
    if target.name == "aarch64":
        return ("-target", "aarch64-linux-gnu", "-mcpu=generic")
    processors = [flag.split("=", 1)[1].replace("-", "_") for flag in target.flags]
    return (f"-mcpu={processors[0] if processors else 'baseline'}",)


def _loads(library: Path) -> bool:
    """Whether `library` loads and its `probe` answers; tried in a process of its own."""
    script = "import ctypes, sys; sys.exit(ctypes.CDLL(sys.argv[1]).probe() < 1)"
    command = (sys.executable, "-I", "-S", "-c", script, str(library))
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
