"""What an error shows: the message, the user's line with a caret, found, expected, help."""

from __future__ import annotations

from pathlib import Path

import pytest

from autodiffc.errors import AutodiffcError, ShapeError, SourceLocation
from autodiffc.graph.construct import broadcast_shapes
from autodiffc.graph.location import located


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "model.py"
    path.write_text("a = 1\ny = a @ wéird + b\n", encoding="utf-8")
    return str(path)


def test_everything_in_its_place(file: str) -> None:
    error = AutodiffcError(
        "it went wrong", found=3, expected="4", help="add one", loc=SourceLocation(file, 2, 5, 6)
    )
    assert str(error).splitlines() == [
        f"{file}:2:5: it went wrong",
        "    2 | y = a @ wéird + b",
        "      |     ^",
        "  found:    3",
        "  expected: 4",
        "  help:     add one",
    ]


def caret(file: str, column: int, end: int | None) -> str:
    excerpt = SourceLocation(file, 2, column, end).excerpt()
    assert excerpt is not None
    text, marks = (line[8:] for line in excerpt.splitlines())
    return text[marks.index("^") : marks.rindex("^") + 1]


@pytest.mark.parametrize(
    ("column", "end", "culprit"),
    [(5, 14, "a @ wéird"), (9, 14, "wéird"), (17, None, "b"), (17, 99, "b"), (5, 5, "a")],
)
def test_the_caret_stands_under_the_culprit(
    file: str, column: int, end: int | None, culprit: str
) -> None:
    assert caret(file, column, end) == culprit


def test_pythons_byte_columns_become_characters(file: str) -> None:
    """`b` stands behind a letter of two bytes."""
    line = "y = a @ wéird + b"
    start = len(line[: line.index("b")].encode())
    place = located(file, 2, start, start + 1)
    assert caret(file, place.column, place.end_column) == "b"


def test_without_a_place_or_a_source_the_message_stands_alone(tmp_path: Path) -> None:
    assert str(AutodiffcError("plain")) == "plain"
    gone = SourceLocation(str(tmp_path / "gone.py"), 3)
    assert gone.excerpt() is None
    assert str(AutodiffcError("plain", loc=gone)) == f"{gone}: plain"


def test_a_wrong_expression_is_shown_with_its_line() -> None:
    with pytest.raises(ShapeError) as caught:
        broadcast_shapes((2, 3), (4,))
    text = str(caught.value)
    assert Path(__file__).name in text
    assert "broadcast_shapes((2, 3), (4,))" in text
    assert "(2, 3) and (4,)" in text
