"""Targets: what is named, and what is read from the machine's own description."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from autodiffc import targets
from autodiffc.errors import ArgumentError, AutodiffcError
from autodiffc.targets import cpu_identity, get_target, native, target_names

Pretend = Callable[[str, str, dict[str, tuple[str, str, str]]], None]

X86_INFO = "processor\t: 0\nvendor_id\t: X\nmodel name\t: Some CPU\nflags\t\t: fpu sse2 {}\n"


@pytest.fixture(autouse=True)
def forget_machine() -> None:
    native.cache_clear()
    cpu_identity.cache_clear()


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Puts another machine in place of this one."""

    def set_machine(machine: str, cpu_info: str, caches: dict[str, tuple[str, str, str]]) -> None:
        (tmp_path / "cpuinfo").write_text(cpu_info)
        for index, (level, kind, size) in caches.items():
            folder = tmp_path / "caches" / index
            folder.mkdir(parents=True)
            for name, text in (("level", level), ("type", kind), ("size", size)):
                (folder / name).write_text(text + "\n")
        monkeypatch.setattr(platform, "machine", lambda: machine)
        monkeypatch.setattr(targets, "CPU_INFO", tmp_path / "cpuinfo")
        monkeypatch.setattr(targets, "CACHE_INFO", tmp_path / "caches")

    return set_machine


@pytest.mark.parametrize(
    ("features", "bits", "registers"),
    [("", 128, 16), ("avx avx2 fma", 256, 16), ("avx avx2 fma avx512f avx512vl", 512, 32)],
)
def test_native_reads_the_vector_unit(
    pretend: Pretend, features: str, bits: int, registers: int
) -> None:
    pretend("x86_64", X86_INFO.format(features), {})
    assert (native().vector_bits, native().registers) == (bits, registers)
    assert native().flags == ("-march=native",)


def test_native_on_arm_and_on_an_unknown_machine(pretend: Pretend) -> None:
    pretend("arm64", "Features\t: fp asimd\n", {})
    assert (native().vector_bits, native().registers) == (128, 32)
    assert native().flags == ("-mcpu=native",)
    native.cache_clear()
    pretend("riscv64", "", {})
    assert native().flags == ()
    assert native().lanes(8) == 1


def test_native_reads_the_data_caches(pretend: Pretend) -> None:
    caches = {
        "index0": ("1", "Instruction", "64K"),
        "index1": ("1", "Data", "48K"),
        "index2": ("2", "Unified", "2M"),
    }
    pretend("x86_64", X86_INFO.format(""), caches)
    assert native().l1_bytes == 48 * 1024
    assert native().l2_bytes == 2 * 1024 * 1024
    assert native().l3_bytes == targets.GENERIC.l3_bytes  # not told: the ordinary core's


def test_identity_tells_processors_apart_and_is_stable(pretend: Pretend) -> None:
    pretend("x86_64", X86_INFO.format("avx2 fma"), {})
    first = cpu_identity()
    cpu_identity.cache_clear()
    pretend("x86_64", X86_INFO.format("fma avx2"), {})
    assert cpu_identity() == first  # the order of features means nothing
    cpu_identity.cache_clear()
    pretend("x86_64", X86_INFO.format("avx2 fma avx512f"), {})
    assert cpu_identity() != first


def test_lanes() -> None:
    assert get_target("x86-64-v4").lanes(4) == 16
    assert get_target("x86-64-v3").lanes(8) == 4
    assert get_target("generic").lanes(64) == 1


def test_every_name_gives_its_target() -> None:
    assert target_names() == ("native", "x86-64", "x86-64-v3", "x86-64-v4", "aarch64", "generic")
    assert [get_target(name).name for name in target_names()] == list(target_names())


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ArgumentError) as caught:
        get_target("sparc")
    assert isinstance(caught.value, AutodiffcError)
    assert isinstance(caught.value, ValueError)
    for name in ("'sparc'", *target_names()):
        assert name in str(caught.value)
