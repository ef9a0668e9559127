"""What a processor offers: vector width, registers, caches, and the compiler flags that reach them.

A `Target` is all that the scheduler and the build step know about the machine. The named targets
below are written out; `native` is read from the machine this process runs on. `cpu_identity` is
that machine's fingerprint: code compiled with `-march=native` must not be taken from a cache that
another processor filled.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autodiffc.errors import ArgumentError

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE

CPU_INFO = Path("/proc/cpuinfo")
CACHE_INFO = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True)
class Target:
    """A kind of processor. `registers` counts the vector registers of `vector_bits` each."""

    name: str
    vector_bits: int
    registers: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    flags: tuple[str, ...]

    def lanes(self, item_bytes: int) -> int:
        """How many elements of `item_bytes` bytes one vector register holds; at least 1."""
        return max(1, self.vector_bits // (8 * item_bytes))


# Cache sizes are those of ordinary cores of the level; a named target may run on any of them.
GENERIC = Target("generic", 128, 16, 32 * KIBIBYTE, 256 * KIBIBYTE, 4 * MEBIBYTE, ())
NAMED_TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        replace(GENERIC, name="x86-64", flags=("-march=x86-64",)),
        replace(
            GENERIC,
            name="x86-64-v3",
            vector_bits=256,
            l2_bytes=512 * KIBIBYTE,
            l3_bytes=8 * MEBIBYTE,
            flags=("-march=x86-64-v3",),
        ),
        replace(
            GENERIC,
            name="x86-64-v4",
            vector_bits=512,
            registers=32,
            l2_bytes=MEBIBYTE,
            l3_bytes=16 * MEBIBYTE,
            flags=("-march=x86-64-v4",),
        ),
        replace(
            GENERIC,
            name="aarch64",
            registers=32,
            l1_bytes=64 * KIBIBYTE,
            l2_bytes=512 * KIBIBYTE,
            flags=("-march=armv8-a",),
        ),
        GENERIC,
    )
}


def target_names() -> tuple[str, ...]:
    """The names `get_target` understands."""
    return ("native", *NAMED_TARGETS)


def get_target(name: str) -> Target:
    """The target called `name`."""
    if name == "native":
        return native()
    if name not in NAMED_TARGETS:
        raise ArgumentError(
            "unknown target",
            found=repr(name),
            expected="one of " + ", ".join(target_names()),
            help="use 'native' for the machine this runs on",
        )
    return NAMED_TARGETS[name]


@functools.cache
def native() -> Target:
    """The processor this process runs on."""
    bits, registers = _vector_unit(_machine(), _cpu_features(_read_cpu_info()))
    # GCC and Clang spell "this very processor" -mcpu on ARM and -march on x86.
    flag = "-mcpu=native" if _machine() == "aarch64" else "-march=native"
    known = _machine() in ("x86-64", "aarch64")
    return Target(
        name="native",
        vector_bits=bits,
        registers=registers,
        l1_bytes=_cache_bytes(1) or GENERIC.l1_bytes,
        l2_bytes=_cache_bytes(2) or GENERIC.l2_bytes,
        l3_bytes=_cache_bytes(3) or GENERIC.l3_bytes,
        flags=(flag,) if known else (),
    )


@functools.cache
def cpu_identity() -> str:
    """A short stable name of this processor's model and features, such as `x86-64-1f0c…`."""
    info = _read_cpu_info()
    model = [
        _cpu_field(info, field)
        for field in (
            *("vendor_id", "cpu family", "model", "model name"),  # x86
            *("CPU implementer", "CPU variant", "CPU part"),  # ARM
        )
    ]
    described = [platform.machine(), platform.processor(), *model, *sorted(_cpu_features(info))]
    return f"{_machine()}-{hashlib.sha256(repr(described).encode()).hexdigest()[:16]}"


def cpu_description() -> str:
    """The processor's model name, for people."""
    return _cpu_field(_read_cpu_info(), "model name") or platform.processor() or _machine()


def _machine() -> str:
    """The instruction set in one spelling: `x86-64`, `aarch64`, or the platform's own word."""
    machine = platform.machine().lower()
    return {"x86_64": "x86-64", "amd64": "x86-64", "arm64": "aarch64"}.get(machine, machine)


def _vector_unit(machine: str, features: frozenset[str]) -> tuple[int, int]:
    """Width in bits and number of the vector registers."""
    if machine == "x86-64":
        if "avx512f" in features:
            return 512, 32
        return (256, 16) if "avx2" in features else (128, 16)
    if machine == "aarch64":
        return 128, 32
    return 64, 16  # no vector unit known: one machine word, so that a float64 is one lane


def _read_cpu_info() -> str:
    """The text of /proc/cpuinfo, empty where there is none (macOS, Windows)."""
    try:
        return CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpu_field(info: str, field: str) -> str:
    """The first processor's value of `field`."""
    found = re.search(rf"^{re.escape(field)}\s*:\s*(.*)$", info, re.MULTILINE)
    return found.group(1).strip() if found else ""


def _cpu_features(info: str) -> frozenset[str]:
    """The feature words: `flags` on x86, `Features` on ARM."""
    return frozenset((_cpu_field(info, "flags") or _cpu_field(info, "Features")).split())


def _cache_bytes(level: int) -> int | None:
    """The size of the first core's data or unified cache of `level`, where the kernel tells."""
    for index in sorted(CACHE_INFO.glob("index*")):
        try:
            facts = {key: (index / key).read_text().strip() for key in ("level", "type", "size")}
        except OSError:
            continue
        if facts["level"] == str(level) and facts["type"] in ("Data", "Unified"):
            return _parse_size(facts["size"])
    return None


def _parse_size(text: str) -> int | None:
    """`32K`, `1024K`, `32M` in bytes."""
    found = re.fullmatch(r"(\d+)([KM]?)", text)
    if not found:
        return None
    return int(found.group(1)) * {"": 1, "K": KIBIBYTE, "M": MEBIBYTE}[found.group(2)]
