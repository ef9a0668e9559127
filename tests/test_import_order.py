"""Imports run one way, in the order in which data flows; heavy packages are imported on use.

Each module is parsed, not imported, so imports inside functions and under TYPE_CHECKING count too.
A folder may import what stands on an earlier line of `ORDER`. Folders on the same line may import
each other so long as they form no cycle. `reference` may import `graph` alone, since the
interpreter must not share code with what it is compared to.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "autodiffc"

ORDER = [
    {"version", "errors", "targets"},
    {"graph"},
    {"ops"},
    {"reference", "dsl", "differentiate", "passes"},
    {"explain"},
    {"schedule"},
    {"loops"},
    {"emit"},
    {"build"},
    {"runtime"},
    {"lower"},
    {"pipeline"},
    {"data", "training", "bench"},
    {"cli"},
    {"__init__", "__main__"},
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}

REFERENCE_MAY_IMPORT = {"errors", "graph", "reference"}
HEAVY = {"sympy", "cffi", "torch", "matplotlib", "sklearn", "mlxtend", "rich", "safetensors"}
THIRD_PARTY_OF_REFERENCE = {"numpy"}


def modules(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def folder_of(path: Path, package: Path) -> str:
    """The name in `ORDER` that a module belongs to: its top-level folder, or its own name."""
    return path.relative_to(package).with_suffix("").parts[0]


def imported_names(tree: ast.AST, path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Every absolute dotted name that a module imports, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path, package)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _calls_import(node):
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield node.lineno, argument.value


def _absolute(node: ast.ImportFrom, path: Path, package: Path) -> str:
    if node.level == 0:
        return node.module or ""
    container = path.parent.relative_to(package.parent).parts
    parent = container[: len(container) - (node.level - 1)]
    return ".".join([*parent, *([node.module] if node.module else [])])


def _calls_import(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("import_module", "__import__") and bool(node.args)


def internal_imports(package: Path) -> Iterator[tuple[str, str, str]]:
    """(importing folder, imported folder, place) for each import of the package's own code."""
    for path in modules(package):
        source = folder_of(path, package)
        tree = ast.parse(path.read_text(), str(path))
        for line, name in imported_names(tree, path, package):
            parts = name.split(".")
            if parts[0] == "autodiffc":
                target = parts[1] if len(parts) > 1 and parts[1] in RANK else "__init__"
                yield source, target, f"{path.relative_to(package.parent)}:{line} imports {name}"


def violations(package: Path) -> list[str]:
    found = []
    same_line: nx.DiGraph[str] = nx.DiGraph()
    for source, target, place in internal_imports(package):
        if source not in RANK:
            found.append(f"{place}: {source} has no place in ORDER")
        elif RANK[target] > RANK[source]:
            found.append(f"{place}: {target} comes after {source}")
        elif source == "reference" and target not in REFERENCE_MAY_IMPORT:
            found.append(f"{place}: reference may import {sorted(REFERENCE_MAY_IMPORT)} alone")
        elif RANK[target] == RANK[source] and target != source:
            same_line.add_edge(source, target)
    return found + [f"a cycle of folders: {cycle}" for cycle in nx.simple_cycles(same_line)]


def module_level_imports(path: Path) -> Iterator[tuple[int, str]]:
    """What importing a module imports: not what stands in functions or under TYPE_CHECKING."""
    pending: list[ast.AST] = [ast.parse(path.read_text(), str(path))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module or ""
        pending.extend(ast.iter_child_nodes(node))


def heavy_imports(package: Path) -> list[str]:
    return [
        f"{path.relative_to(package.parent)}:{line} imports {name}"
        for path in modules(package)
        for line, name in module_level_imports(path)
        if name.split(".")[0] in HEAVY
    ]


def test_imports_run_one_way() -> None:
    assert len(modules(PACKAGE)) > 10
    assert not violations(PACKAGE), "\n".join(violations(PACKAGE))


def test_every_folder_has_a_place_in_the_order() -> None:
    assert {folder_of(path, PACKAGE) for path in modules(PACKAGE)} <= RANK.keys()


def test_heavy_packages_are_imported_inside_functions() -> None:
    assert not heavy_imports(PACKAGE), "\n".join(heavy_imports(PACKAGE))


def test_the_reference_interpreter_needs_numpy_alone() -> None:
    import sys

    allowed = sys.stdlib_module_names | THIRD_PARTY_OF_REFERENCE | {"autodiffc"}
    for path in modules(PACKAGE / "reference"):
        tree = ast.parse(path.read_text(), str(path))
        for line, name in imported_names(tree, path, PACKAGE):
            assert name.split(".")[0] in allowed, f"{path}:{line} imports {name}"


# --- the checks themselves: what they must catch ---


def write(folder: Path, files: dict[str, str]) -> Path:
    package = folder / "autodiffc"
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("graph/a.py", "from autodiffc.ops import b\n"),
        ("graph/a.py", "def f():\n    import autodiffc.cli\n"),
        ("graph/a.py", "from autodiffc import runtime\n"),
        ("graph/sub/a.py", "from ...ops.b import c\n"),
        ("graph/a.py", "import importlib\nimportlib.import_module('autodiffc.emit')\n"),
        ("graph/a.py", "import autodiffc\n"),
        ("graph/a.py", "import autodiffc as ad\n"),
        ("errors.py", "from autodiffc.graph import x\n"),
        ("reference/a.py", "from autodiffc.ops import x\n"),
        ("reference/a.py", "from autodiffc.passes import x\n"),
        ("novel/a.py", "from autodiffc.errors import x\n"),
    ],
)
def test_an_import_against_the_order_is_caught(tmp_path: Path, name: str, text: str) -> None:
    assert len(violations(write(tmp_path, {name: text}))) == 1


def test_a_cycle_on_one_line_is_caught(tmp_path: Path) -> None:
    there = {"dsl/a.py": "from autodiffc.passes.b import x\n"}
    assert not violations(write(tmp_path / "one", there))
    back = {"passes/b.py": "from autodiffc.dsl.c import y\n"}
    assert len(violations(write(tmp_path / "two", there | back))) == 1


def test_imports_along_the_order_pass(tmp_path: Path) -> None:
    files = {
        "__init__.py": "from autodiffc.cli import main\n",
        "ops/a.py": "from autodiffc.graph.node import Node\nfrom . import b\nimport numpy\n",
        "cli/a.py": "from autodiffc.training import fit\nimport autodiffc.errors\n",
    }
    assert not violations(write(tmp_path, files))


def test_a_heavy_import_is_caught_only_where_it_costs(tmp_path: Path) -> None:
    package = write(
        tmp_path,
        {
            "a.py": "import sympy\n",
            "b.py": "def f():\n    import sympy\n",
            "c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sympy\n",
            "d.py": "try:\n    from rich.text import Text\nexcept ImportError:\n    pass\n",
        },
    )
    places = [place.split(":")[0] for place in heavy_imports(package)]
    assert places == ["autodiffc/a.py", "autodiffc/d.py"]
