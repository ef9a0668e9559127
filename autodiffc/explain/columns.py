"""Two columns of text, row by row, within a width: what is too long for its column is wrapped.

A formula is broken before a sign, so that the next line starts with `· b` or `+ b`, rather outside
of parentheses than inside, and continues further to the right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

GAP = 4
INDENT = "    "
NARROWEST = 24  # a column; in a narrower terminal lines run over
DEEPER = 16  # characters of a line that may stay empty to break outside of one more pair of ()

# a space before one of these, or after `=`, `,`, `|`, is where a line may end
_SIGN = re.compile(r" (?=[-+·/∧∨^*] | *where )|(?<=[,=|]) ")

Cells = tuple[Sequence[str], Sequence[str]]


def side_by_side(rows: Sequence[Cells], width: int) -> list[str]:
    """The lines of a table whose rows have any number of lines in either cell."""
    left, right = _widths(rows, width)
    return [line for row in rows for line in _row(row, left, right)]


def _row(row: Cells, left: int, right: int) -> list[str]:
    first = [part for line in row[0] for part in wrapped(line, left)]
    second = [part for line in row[1] for part in wrapped(line, right)]
    height = max(len(first), len(second))
    pairs = zip(_padded(first, height), _padded(second, height), strict=True)
    return [f"{a:<{left}}{' ' * GAP}{b}".rstrip() for a, b in pairs]


def _padded(lines: list[str], height: int) -> list[str]:
    return lines + [""] * (height - len(lines))


def _widths(rows: Sequence[Cells], width: int) -> tuple[int, int]:
    """The columns' widths: what they need, or else what there is, in fair shares."""
    left, right = (max((len(s) for row in rows for s in row[k]), default=0) for k in (0, 1))
    room = max(width - GAP, 2 * NARROWEST)
    if left + right <= room:
        return left, right
    half = room // 2
    if left <= half:
        return left, room - left
    return (room - right, right) if right <= half else (half, room - half)


def wrapped(line: str, width: int) -> list[str]:
    """A formula in lines of at most `width`."""
    parts, indent = [], ""
    while len(indent) + len(line) > width:
        end = _break(line, width - len(indent))
        parts.append(indent + line[:end].rstrip())
        line, indent = line[end:].lstrip(), INDENT
    return [*parts, indent + line]


def _break(line: str, width: int) -> int:
    """Where to end a line, at most `width` characters on."""
    depth = _depths(line)
    signs = [m.start() for m in _SIGN.finditer(line, 0, width + 2) if 0 < m.start() <= width]
    if signs:
        return max(signs, key=lambda k: k - DEEPER * depth[k])
    commas = [k + 1 for k in range(width // 2, width) if line[k] in ", "]
    return commas[-1] if commas else width


def _depths(line: str) -> list[int]:
    """How many brackets are open before each character."""

    def count() -> Iterator[int]:
        depth = 0
        for character in line:
            yield depth
            depth += (character in "([{") - (character in ")]}")

    return list(count())
