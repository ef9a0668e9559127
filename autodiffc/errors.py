"""Every error a user can meet.

An error is written for the person who made the mistake: it says what went wrong, what was *found*,
what was *expected*, what would *help*, and it carries the place in the model file, so that the
message can show the line with a caret under the culprit. Each class derives from `AutodiffcError`
and from the built-in exception that fits, so that `except ValueError` keeps working.
"""

from __future__ import annotations

import itertools
import linecache
from dataclasses import dataclass


@dataclass(frozen=True)
class SourceLocation:
    """A place in a model file; `line` and `column` count from 1."""

    file: str
    line: int
    column: int = 1
    end_column: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def excerpt(self) -> str | None:
        """The source line with a caret under the expression, or None where it cannot be read."""
        text = (linecache.getline(self.file, self.line) or self._undecodable()).rstrip("\n")
        if not text.strip():
            return None
        margin = f"{self.line:5d} | "
        width = max(1, min(self.end_column or len(text) + 1, len(text) + 1) - self.column)
        return f"{margin}{text}\n{' ' * (len(margin) - 2)}| {' ' * (self.column - 1)}{'^' * width}"

    def _undecodable(self) -> str:
        """The line in a file that is not in the encoding it says, with marks for what is wrong."""
        try:
            with open(self.file, encoding="utf-8", errors="replace") as file:
                return next(itertools.islice(file, self.line - 1, None), "")
        except OSError:
            return ""


class AutodiffcError(Exception):
    """The base of all errors of this package.

    `message` says what is wrong; `found`, `expected` and `help` are optional single lines;
    `loc` is where in the model file.
    """

    def __init__(
        self,
        message: str,
        *,
        found: object = None,
        expected: object = None,
        help: str | None = None,
        loc: SourceLocation | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.found = found
        self.expected = expected
        self.help = help
        self.loc = loc

    def __str__(self) -> str:
        lines = [self.message if self.loc is None else f"{self.loc}: {self.message}"]
        excerpt = self.loc.excerpt() if self.loc else None
        if excerpt:
            lines.append(excerpt)
        for label, value in (
            ("found", self.found),
            ("expected", self.expected),
            ("help", self.help),
        ):
            if value is not None:
                lines.append(f"  {label + ':':<9} {value}")
        return "\n".join(lines)


# --- What a model file can get wrong ---


class ModelError(AutodiffcError, ValueError):
    """A model that cannot be built: names, `differentiate`, `wrt`, `updates`."""


class ModelFileError(AutodiffcError, RuntimeError):
    """A model file that cannot be read, raises, or defines no model."""


class ModelFileNotFoundError(ModelFileError, FileNotFoundError):
    """A model file, or the folder of a compiled model, that is not there."""

    def __str__(self) -> str:  # OSError would show what it was made of
        return AutodiffcError.__str__(self)


class ShapeError(AutodiffcError, ValueError):
    """Shapes or extents that do not fit together."""


class IndexNotationError(AutodiffcError, ValueError):
    """An index that is not affine, out of range, or whose extent is ambiguous."""


class DtypeError(AutodiffcError, TypeError):
    """An element type an operation does not take."""


class ArgumentError(AutodiffcError, ValueError):
    """An argument with a value outside what is allowed."""


class NumberOverflowError(AutodiffcError, OverflowError):
    """A Python number that the element type it meets cannot hold."""


class ArgumentTypeError(AutodiffcError, TypeError):
    """An argument of a type that is not understood."""


class TruthValueError(AutodiffcError, TypeError):
    """A symbolic expression used where Python needs True or False."""


class DifferentiationError(AutodiffcError, ValueError):
    """A derivative that does not exist or is not defined."""


class NameNotFoundError(AutodiffcError, KeyError):
    """A name that the model, the library or the arrays do not have."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return AutodiffcError.__str__(self)


class AttributeNotFoundError(NameNotFoundError, AttributeError):
    """`out.loss`, `params.weight`, of a name that is not there."""


class UnknownNameError(ModelError, NameNotFoundError):
    """`differentiate`, `wrt` or `updates` names something that the model does not have."""


class VerificationError(AutodiffcError, AssertionError):
    """An internal stage produced something outside its grammar: a bug of the compiler."""


# --- What can go wrong when compiled code is used ---


class CallError(AutodiffcError, ValueError):
    """Arrays handed to a compiled model that do not fit: name, shape, byte or memory order."""


class CallTypeError(AutodiffcError, TypeError):
    """Arrays handed to a compiled model with the wrong dtype, or missing and surplus inputs."""


class StateError(AutodiffcError, RuntimeError):
    """A call at the wrong time: before `init`, `backward` before `forward`, concurrent `step`."""


class IndexRangeError(AutodiffcError, IndexError):
    """Integer data (labels, ids) outside the range the model indexes with it."""


class WeightsError(AutodiffcError, ValueError):
    """A weights file that is damaged or belongs to another model."""


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """A weights file that is not there."""

    def __str__(self) -> str:
        return AutodiffcError.__str__(self)


class DataError(AutodiffcError, ValueError):
    """A data set that is unknown, damaged, or does not fit the model."""


class DataNotFoundError(DataError, FileNotFoundError):
    """A data file that is not there."""

    def __str__(self) -> str:
        return AutodiffcError.__str__(self)


# --- What can go wrong when C is built ---


class BuildError(AutodiffcError, RuntimeError):
    """Building a library failed."""


class ToolchainError(BuildError):
    """No usable C compiler."""


class CompilerFailed(BuildError):
    """The C compiler ran and failed; the message shows its command and output."""


class CacheWarning(RuntimeWarning):
    """The cache of compiled code cannot be written; a temporary folder serves."""


class CacheError(BuildError, OSError):
    """The cache of compiled code cannot be written."""

    def __str__(self) -> str:
        return AutodiffcError.__str__(self)


class GradientCheckError(AutodiffcError, AssertionError):
    """A gradient differs from finite differences by more than the tolerance."""
