"""Which names a model may use.

A name travels far: it becomes a keyword argument in Python, a struct member and a macro in C (whose
header must also be valid C++), and a key in files. So it has to be an identifier in all of these
languages; parameters and states may be dotted paths of identifiers (`conv1.weight`).
"""

from __future__ import annotations

import keyword
import re

from autodiffc.errors import ArgumentTypeError, ModelError, SourceLocation
from autodiffc.graph.location import here

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_C_KEYWORDS = _words(
    """alignas alignof auto bool break case char const constexpr continue default do double else
    enum extern false float for goto if inline int long nullptr register restrict return short
    signed sizeof static static_assert struct switch thread_local true typedef typeof typeof_unqual
    union unsigned void volatile while asm fortran"""
)
_CPP_KEYWORDS = _words(
    """and and_eq bitand bitor catch char8_t char16_t char32_t class co_await co_return co_yield
    compl concept const_cast consteval constinit decltype delete dynamic_cast explicit export friend
    mutable namespace new noexcept not not_eq operator or or_eq private protected public
    reinterpret_cast requires static_cast template this throw try typeid typename using virtual
    wchar_t xor xor_eq"""
)
# macros of the standard headers and of compilers, which the preprocessor would replace
_MACROS = _words(
    """I NULL NAN INFINITY HUGE_VAL HUGE_VALF HUGE_VALL EOF assert complex errno imaginary linux
    math_errhandling noreturn offsetof setjmp stderr stdin stdout unix va_arg va_copy va_end
    va_start"""
)
_OTHER = frozenset({"main"})


def check_name(
    name: object, what: str, loc: SourceLocation | None = None, *, dotted: bool = False
) -> str:
    """Returns the name if it may be used for `what`, else raises an error that says why not."""
    if not isinstance(name, str):
        raise ArgumentTypeError(
            f"the name of {what} must be a string",
            found=repr(name),
            expected='e.g. "images"',
            loc=loc or here(),
        )
    reason = _objection(name, dotted)
    if reason:
        example = 'letters, digits and _, e.g. "x" or "hidden_2"'
        path = ', or several such parts joined by dots, e.g. "conv1.weight"' if dotted else ""
        raise ModelError(
            f"{name!r} cannot be the name of {what}: {reason}",
            found=repr(name),
            expected=example + path,
            help="names become identifiers in Python, C and C++; choose another one",
            loc=loc or here(),
        )
    return name


def _objection(name: str, dotted: bool) -> str | None:
    parts = name.split(".") if dotted else [name]
    return next((reason for reason in map(_part_objection, parts) if reason), None)


def _part_objection(name: str) -> str | None:
    if not _IDENTIFIER.fullmatch(name):
        return "it is empty" if not name else "it is not an identifier"
    for language, words in (("C", _C_KEYWORDS), ("C++", _CPP_KEYWORDS)):
        if name in words:
            return f"it is a keyword of {language}"
    if keyword.iskeyword(name):
        return "it is a keyword of Python"
    if name in _MACROS:
        return "it is a macro of the C standard library"
    if name in _OTHER or name.startswith("__") or re.match(r"_[A-Z]", name):
        return "it is reserved in C"
    return "it is reserved in C++ (two underscores)" if "__" in name else None
