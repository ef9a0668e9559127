"""Where in the user's file a node was written.

Every node remembers the line and the columns of the expression that made it, so that an error
that surfaces much later (in differentiation, in code generation, in a gradient check) still points
there. The user's frame is the first one on the stack that lies outside this package.
"""

from __future__ import annotations

import itertools
import linecache
import sys
from pathlib import Path
from types import FrameType

from autodiffc.errors import SourceLocation

_PACKAGE = str(Path(__file__).resolve().parent.parent) + "/"


def here() -> SourceLocation | None:
    """The place in the user's code that is being executed, or None where there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    return None if frame is None else _location(frame)


def _is_ours(frame: FrameType) -> bool:
    """Whether the code is this package's; what dataclasses generate has no file of its own."""
    module = frame.f_globals.get("__name__")
    generated = frame.f_code.co_filename == "<string>"
    return frame.f_code.co_filename.startswith(_PACKAGE) or (
        generated and isinstance(module, str) and module.split(".")[0] == "autodiffc"
    )


def _location(frame: FrameType) -> SourceLocation:
    code = frame.f_code
    at = next(itertools.islice(code.co_positions(), frame.f_lasti // 2, None), None)
    if at is None or at[0] is None:
        return SourceLocation(code.co_filename, frame.f_lineno)
    line, end_line, column, end_column = at
    assert line is not None
    file = code.co_filename
    end = end_column if end_line == line else None
    return located(file, line, column or 0, end)


def located(file: str, line: int, column: int, end: int | None) -> SourceLocation:
    """A place given by Python's columns, which count UTF-8 bytes from 0."""
    text = linecache.getline(file, line)
    if not text.isascii():
        data = text.encode()
        column = len(data[:column].decode(errors="ignore"))
        end = None if end is None else len(data[:end].decode(errors="ignore"))
    return SourceLocation(file, line, column + 1, None if end is None else end + 1)
