"""Which names a model may use.

A name travels far: it becomes a keyword argument in Python, a struct member and a macro in C (whose
header must also be valid C++), and a key in files. So it has to be an identifier in all of these
languages; parameters and states may be dotted paths of identifiers (`conv1.weight`). What is a
struct member in the header, where programs may include any header before, is no macro either.
"""

from __future__ import annotations

import errno
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
# macros of C's headers, of Python's, which come before ours in the module, and of compilers
_MACROS = _words(
    """ACCESSPERMS AIO_PRIO_DELTA_MAX ALLPERMS
    assert BIG_ENDIAN BUFSIZ BYTE_ORDER CHARCLASS_NAME_MAX
    CLONE_FS CLONE_IO CLONE_VM CLOSE_RANGE_CLOEXEC CLOSE_RANGE_UNSHARE COLL_WEIGHTS_MAX complex
    CPU_SETSIZE CSIGNAL DECIMAL_DIG DEFFILEMODE DELAYTIMER_MAX
    DOUBLE_IS_LITTLE_ENDIAN_IEEE754 EDEADLK
    EHWPOISON ENABLE_IPV6 EOF EOPNOTSUPP errno EWOULDBLOCK EXIT_FAILURE EXIT_SUCCESS EXPR_NEST_MAX
    F_LOCK F_OK F_TEST F_TLOCK F_ULOCK FD_SETSIZE FOPEN_MAX HOST_NAME_MAX I imaginary
    INFINITY IOV_MAX L_ctermid L_cuserid L_INCR L_SET L_tmpnam L_XTND LINE_MAX linux LITTLE_ENDIAN
    LOGIN_NAME_MAX MAJOR_IN_SYSMACROS MATH_ERREXCEPT math_errhandling MATH_ERRNO MAX_CANON
    MAX_CO_EXTRA_USERS MAX_INPUT MAXFLOAT MB_CUR_MAX MB_LEN_MAX METH_O MQ_PRIO_MAX
    MVWDELCH_IS_EXPRESSION NFDBITS NGROUPS_MAX noreturn NOWAIT_LOCK NULL NZERO offsetof P_tmpdir
    PDP_ENDIAN PIPE_BUF R_OK RE_DUP_MAX RETSIGTYPE RTSIG_MAX S_BLKSIZE sched_priority SCHED_RR
    SEM_VALUE_MAX setjmp st_atime st_ctime st_mtime static_assert STDC_HEADERS stderr
    STDERR_FILENO stdin STDIN_FILENO stdout STDOUT_FILENO SYS_SELECT_WITH_SYS_TIME TIME_UTC
    TIME_WITH_SYS_TIME TMP_MAX TTY_NAME_MAX unix USE_UNICODE_WCHAR_CACHE UTIME_NOW UTIME_OMIT
    va_arg va_copy va_end va_start W_OK WAIT_LOCK WCONTINUED WEOF WEXITED WINDOW_HAS_FLAGS WNOHANG
    WNOWAIT WORD_BIT WSTOPPED WUNTRACED X_OK"""
) | frozenset(errno.errorcode.values())
_MACRO_FAMILIES = re.compile(
    r"Py[A-Z]\w*|PY_?[A-Z]\w*|Py_\w+|AUTODIFFC_\w+|M_\w*(PI|E|LN|LOG|SQRT)\w*"
    r"|(ADJ|ALIGNOF|BC|CLD|CLOCKS?|CLONE|CO|FE|FP|FUTURE|FVC|FVS|HAVE|ITIMER|LC|METH|MOD|NL|PTHREAD"
    r"|RENAME|SCHED|SEEK|SIZEOF|SNAN|SSTATE|STA|STATX|TIMER|WITH|XATTR)_[A-Z][A-Z0-9_]{2,}"
    r"|(PRI|SCN)[dioxuX](FAST|LEAST)?(\d+|MAX|PTR)|S?NANF?L?(32|64|128)?X?|HUGE_VAL\w*|S_I[A-Z]{3,}"
    r"|(BOOL|[SU]?CHAR|U?SHRT|U?INT(MAX|PTR|(_FAST|_LEAST)?\d+)?|U?LONG(_LONG)?|U?LLONG|S?SIZE"
    r"|PTRDIFF|WCHAR|WINT|SIG_ATOMIC|RAND|PATH|NAME|FILENAME|L?DBL|FLT)"
    r"_(MIN|MAX|BIT|WIDTH|DIG|EPSILON|HAS|MANT|RADIX|DECIMAL|TRUE|ROUNDS|EVAL)\w*"
)
# types of our header, and of the parser of declarations; members may not be called so everywhere
_TYPES = re.compile(
    r"u?int(_least|_fast)?\d+_t|u?int(max|ptr)_t|s?size_t|ptrdiff_t|wchar_t|FILE|_?Bool"
)
_OTHER = frozenset({"main"})
_MEMBERS = ("an input", "an output", "a dim")  # of structs, under their own names


def is_macro(name: str) -> bool:
    """Whether the preprocessor may replace the name."""
    return name in _MACROS or _MACRO_FAMILIES.fullmatch(name) is not None


def is_c_word(name: str) -> bool:
    """Whether the name has a meaning in C, or in its headers, which a variable must not hide."""
    return name in _C_KEYWORDS or is_macro(name) or _TYPES.fullmatch(name) is not None


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
    reason = _objection(name, dotted, member=what in _MEMBERS)
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


def _objection(name: str, dotted: bool, member: bool) -> str | None:
    parts = name.split(".") if dotted else [name]
    reasons = (_part_objection(part, member) for part in parts)
    return next((reason for reason in reasons if reason), None)


def _part_objection(name: str, member: bool) -> str | None:
    if not _IDENTIFIER.fullmatch(name):
        return "it is empty" if not name else "it is not an identifier"
    for language, words in (("C", _C_KEYWORDS), ("C++", _CPP_KEYWORDS)):
        if name in words:
            return f"it is a keyword of {language}"
    if keyword.iskeyword(name):
        return "it is a keyword of Python"
    if member and is_macro(name):
        return "it is a macro of C's or Python's headers"
    if member and _TYPES.fullmatch(name):
        return "it is a type of C"
    if name in _OTHER or name.startswith("__") or re.match(r"_[A-Z]", name):
        return "it is reserved in C"
    return "it is reserved in C++ (two underscores)" if "__" in name else None
