"""Errors show the line of the user's file with a caret under the expression."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from autodiffc.errors import AutodiffcError, NameNotFoundError, ShapeError, SourceLocation
from autodiffc.graph.construct import leaf
from autodiffc.graph.node import Node


def run(tmp_path: Path, text: str) -> tuple[Path, dict[str, Any]]:
    """Executes a file as Python would; returns what it defines."""
    path = tmp_path / "model.py"
    path.write_text(textwrap.dedent(text))
    names: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    return path, names


def marked(excerpt: str) -> str:
    """The part of the shown line that the caret line points at."""
    line, caret = excerpt.splitlines()
    return line[caret.index("^") : caret.rindex("^") + 1]


def test_a_node_knows_its_expression(tmp_path: Path) -> None:
    path, names = run(
        tmp_path,
        """
        import autodiffc as ad
        x = ad.input("x", (3,))
        y = 1 + ad.exp(x) * 2
        """,
    )
    product: Node = names["y"].node.inputs[0]
    assert product.label == "mul"
    assert product.loc is not None
    assert (product.loc.file, product.loc.line, product.loc.column) == (str(path), 4, 9)
    excerpt = product.loc.excerpt()
    assert excerpt is not None
    assert marked(excerpt) == "ad.exp(x) * 2"
    assert excerpt.splitlines()[0] == "    4 | y = 1 + ad.exp(x) * 2"


def test_columns_count_characters_not_bytes(tmp_path: Path) -> None:
    _, names = run(
        tmp_path,
        """
        import autodiffc as ad
        α = ad.input("a", (3,)); β = 1 + ad.exp(α)
        """,
    )
    excerpt = names["β"].node.inputs[0].loc.excerpt()
    assert marked(excerpt) == "ad.exp(α)"


def test_an_expression_over_several_lines_is_marked_from_its_start(tmp_path: Path) -> None:
    _, names = run(
        tmp_path,
        """
        import autodiffc as ad
        x = ad.input("x", (3,))
        y = ad.exp(
            x)
        """,
    )
    assert marked(names["y"].node.loc.excerpt()) == "ad.exp("


def test_helpers_of_the_user_are_the_users_code(tmp_path: Path) -> None:
    _, names = run(
        tmp_path,
        """
        import autodiffc as ad
        def twice(v):
            return v + v
        y = twice(ad.input("x", (3,)))
        """,
    )
    assert names["y"].node.loc.line == 4


def test_the_whole_message() -> None:
    node = leaf("input", "x", (3,), "real")
    assert node.loc is not None
    error = ShapeError("does not fit", found=3, expected=4, help="pad it", loc=node.loc)
    first, line, caret, found, expected, help_ = str(error).splitlines()
    assert first == f"{__file__}:{node.loc.line}:{node.loc.column}: does not fit"
    assert marked(f"{line}\n{caret}") == 'leaf("input", "x", (3,), "real")'
    assert [found, expected, help_] == [
        "  found:    3",
        "  expected: 4",
        "  help:     pad it",
    ]


def test_without_a_readable_file_there_is_the_place_alone() -> None:
    loc = SourceLocation("/nowhere/model.py", 3, 5)
    assert loc.excerpt() is None
    assert str(ShapeError("wrong", loc=loc)) == "/nowhere/model.py:3:5: wrong"


def test_a_missing_name_reads_like_the_others() -> None:
    error = NameNotFoundError("no such name", found="'x'")
    assert str(error) == "no such name\n  found:    'x'"
    assert isinstance(error, KeyError)
    with pytest.raises(AutodiffcError):
        raise error
