"""The machine's best: no timings here, only that the loops do what their counts say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from autodiffc.bench import machine as machine_module
from autodiffc.bench.machine import Machine
from autodiffc.build import find_toolchain
from autodiffc.emit.resources import templates_directory
from autodiffc.targets import get_target


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of a few microseconds, and a memory that need not be beyond the caches."""
    monkeypatch.setattr(machine_module, "ROUNDS", 1000)
    monkeypatch.setattr(machine_module, "MOST_DRAM_BYTES", 1 << 22)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("small")
def test_samples_of_both_types(dtype: str, threads: int) -> None:
    machine = Machine(get_target("native"), dtype, threads=threads, openmp=True, cc=None)
    lanes = max(get_target("native").vector_bits, 128) // (32 if dtype == "float32" else 64)
    assert machine.threads in (1, threads)
    assert machine.flops == 1000 * machine.threads * 2 * 12 * lanes
    assert machine.multiply_add() > 0
    assert set(machine.memories) == {"L1", "L2", "DRAM"}
    assert all(machine.read(name) > 0 and machine.bytes_of(name) > 0 for name in machine.memories)


@pytest.mark.usefixtures("small")
def test_without_openmp_there_is_one_thread() -> None:
    machine = Machine(get_target("native"), "float32", threads=None, openmp=False, cc=None)
    assert machine.threads == 1


@pytest.mark.usefixtures("small")
def test_the_clock_knows_what_a_tick_is_worth() -> None:
    machine = Machine(get_target("native"), "float32", threads=1, openmp=True, cc=None)
    first, second = machine.clock.seconds_per_tick, machine.clock.seconds_per_tick
    assert first == pytest.approx(second, rel=0.01)
    assert 1e-11 < first < 1e-6


@pytest.mark.parametrize("openmp", [True, False])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_the_loops_compile_without_a_warning(tmp_path: Path, width: int, openmp: bool) -> None:
    flags = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-psabi", "-c")
    command = [*find_toolchain().command, *flags, *(["-fopenmp"] if openmp else [])]
    source = templates_directory() / "bench_machine.c"
    done = subprocess.run(
        [*command, f"-DBENCH_VECTOR_BYTES={width}", str(source), "-o", str(tmp_path / "m.o")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_multiply_adds_are_fused_and_whole_vectors(tmp_path: Path) -> None:
    target, toolchain = get_target("native"), find_toolchain()
    if target.vector_bits < 256:
        pytest.skip("no processor with known vector instructions")
    command = [*toolchain.command, *toolchain.compile_flags(target, openmp=False)]
    source = templates_directory() / "bench_machine.c"
    width = f"-DBENCH_VECTOR_BYTES={target.vector_bits // 8}"
    assembly = tmp_path / "m.s"
    subprocess.run([*command, width, "-S", str(source), "-o", str(assembly)], check=True)
    register = {256: "%ymm", 512: "%zmm"}[target.vector_bits]
    for suffix in ("ps", "pd"):
        lines = [s for s in assembly.read_text().splitlines() if f"{suffix}\t" in s]
        fused = [s for s in lines if "vfmadd" in s and register in s]
        assert len(fused) >= 12
        assert not any("(" in s for s in fused), "operands should be registers"
