"""Words that the generated C uses itself, and what the user's names become where they meet one.

Names of leaves, outputs and dims are part of the interface: there they stay as they are, or
`dsl.names` refuses them. Names of variables in the code are the compiler's choice.
"""

from __future__ import annotations

import re

from autodiffc.dsl.names import is_c_word


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MATH_FUNCTIONS = _words(
    """acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1
    fabs fdim floor fma fmax fmin fmod hypot lgamma log log10 log1p log2 logb modf nearbyint
    nextafter pow remainder rint round sin sinh sqrt tan tanh tgamma trunc abs"""
)

BINARY_MATH = _words("atan2 copysign fdim fmax fmin fmod hypot nextafter pow remainder")

# what the statements of kernels use: variables, and functions that a variable would hide
KERNEL_WORDS = _words(
    """acc best at v wins lane value team i
    larger smaller floor_div ceil_div memset memcpy
    team_part loop_part part_of zero_part team_wait takes_part"""
) | {name + suffix for name in MATH_FUNCTIONS for suffix in ("", "f")}

# what entry points use: their parameters and variables, functions and types of the module
ENTRY_WORDS = _words(
    """inputs outputs params state workspace grads cotangents input_grads
    inputs_status status header general for_backward arena threads team gain
    predict_calls forward_calls backward_calls step_calls
    inputs_check workspace_check workspace_header memcpy memset
    team_part team_limit team_gain team_wait copy_part one_thread"""
)

# what kernels make up: elements of index tensors and of operands, ends, blocks and parts of loops,
# places in buffers, vector types and functions of a type; with something behind it, none of these
# is one any more
_GENERATED = re.compile(
    r"(row|operand)\d+|.*_(end|block|part|pair|at\d+)|(.*_)?[fiu](8|16|32|64)(x\d+)?"
)
# macros: of every module, and of one whose name, in capitals, comes first
_MACRO = re.compile(
    r"AUTODIFFC_\w+|[A-Z0-9_]+_(API|ABI_VERSION|ALIGNMENT|ARENA_BYTES_\w+|(PARAM|STATE)_\w+)"
)


def is_reserved(name: str) -> bool:
    """Whether a variable of a kernel must not be called so."""
    if name in KERNEL_WORDS or is_c_word(name):
        return True
    return any(pattern.fullmatch(name) for pattern in (_GENERATED, _MACRO))


def unreserved(name: str, ending: str) -> str:
    """The name, with an ending where it is reserved; macros that may end in anything get `the_`."""
    if not is_reserved(name):
        return name
    return f"{name}{ending}" if not is_reserved(f"{name}{ending}") else f"the_{name}"


def dim_variable(name: str) -> str:
    """The variable that holds a dim, in kernels and in entry points."""
    taken = is_reserved(name) or name in ENTRY_WORDS
    taken = taken or name.startswith("default_") or name.endswith("_extent")
    return unreserved(f"{name}_extent", "") if taken else name


def ascii_name(text: str) -> str:
    """The letters, digits and underscores of a name; those that C guarantees, so σ is none."""
    return re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
