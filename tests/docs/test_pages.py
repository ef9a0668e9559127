"""The README and docs/: generated pages are up to date, what is shown is so, links lead on."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import autodiffc as ad
from autodiffc.build import find_toolchain
from autodiffc.dsl.files import load_model
from autodiffc.lower import lower

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

# `autodiffc/passes/gather.py`, `tests/ops`: paths as the pages write them
PATH = re.compile(r"`((?:autodiffc|benchmarks|docs|examples|templates|tests)/[\w./-]*)`")
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def test_the_reference_is_up_to_date() -> None:
    generated = runpy.run_path(str(ROOT / "docs" / "generate_reference.py"))["page"]()
    found = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert found == generated, "run: python docs/generate_reference.py"


def test_the_reference_has_every_public_name() -> None:
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    elsewhere = {"__version__", "nn", "AutodiffcError", "Expression"}  # values, types, a module
    missing = [
        name
        for name in ad.__all__
        if name not in elsewhere and not re.search(rf"ad\.{name}\b", text)
    ]
    assert missing == []


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_paths_exist(name: str) -> None:
    paths = PATH.findall((ROOT / name).read_text(encoding="utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_python_in_the_readme_runs() -> None:
    """What the README shows as Python, in order; `# →` says what a line prints."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    lines: list[str] = []
    namespace = {"print": lambda *values: lines.append(" ".join(map(str, values)))}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    promised = re.findall(r"# → (.*)$", "".join(blocks), re.MULTILINE)
    assert promised
    assert lines == promised


def test_the_c_program_runs(tmp_path: Path) -> None:
    """docs/c-abi.md: the program, compiled as described, prints what the page says."""
    text = (ROOT / "docs" / "c-abi.md").read_text(encoding="utf-8")
    program = re.findall(r"^```c\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    printed = re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ad.compile(ROOT / "examples" / "quiz.py", dtype="float64", output=tmp_path / "quiz")
    (tmp_path / "main.c").write_text(program[0], encoding="utf-8")
    words = ["-std=c11", "-O3", "-Iquiz", "main.c", "quiz/quiz.c", "-lm", "-o", "main"]
    subprocess.run([*find_toolchain().command, *words], cwd=tmp_path, check=True)
    run = subprocess.run([str(tmp_path / "main")], check=True, capture_output=True, text=True)
    assert run.stdout == printed[0]


def test_the_readme_shows_what_the_compiler_prints(tmp_path: Path) -> None:
    """The table of examples/chain.py, and a kernel of examples/filters.py for 512-bit vectors."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    command = [sys.executable, "-m", "autodiffc", "explain", str(ROOT / "examples" / "chain.py")]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert _stripped(shown) in _stripped(text)
    kernel = re.findall(r"^```c\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0]
    model = load_model(ROOT / "examples" / "filters.py")
    assert kernel in lower(model, target="x86-64-v4").sources["filters.c"]


def test_the_readme_shows_the_files_of_the_demo(tmp_path: Path) -> None:
    """Those of text have about the size that is shown; those of machine code depend on the machine,
    and one is named after Python's version."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^build/lenet5/(\S+)  ([\d.]+) KiB$", text, re.MULTILINE)
    shown = {name: float(size) for name, size in listed}
    command = [sys.executable, "-m", "autodiffc", "compile", str(ROOT / "examples" / "lenet5.py")]
    target = ["--target", "x86-64-v4", "--emit", "c", "-o", str(tmp_path)]
    subprocess.run([*command, *target], check=True, capture_output=True, cwd=ROOT)
    for file in tmp_path.iterdir():
        size = file.stat().st_size / 1024
        # the manifest of a whole build also has the commands that were run
        allowed = 0.15 if file.name == "manifest.json" else 0.05
        assert abs(shown.pop(file.name) - size) <= allowed * size, (file.name, size)
    assert [name.partition(".")[0] for name in shown] == ["liblenet5", "_lenet5"]


def _stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
