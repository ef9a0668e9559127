"""The C of vector types and of the functions that work on them, from `templates/`.

A vector type is named by element and lanes, `f32x16`, and so are its helpers: `load_f32x16`,
`exp_f32x16`. What a function computes, and how well, stands beside it in `templates/functions/`;
here is only which others it calls. There is one text for any number of lanes, and every lane is
computed alike: a result depends on the element alone, never on its place in a vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from autodiffc.emit.resources import templates

C_TYPES = {
    "bool": "uint8_t",
    "uint8": "uint8_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "float32": "float",
    "float64": "double",
}
SHORT = {
    "bool": "u8",
    "uint8": "u8",
    "int32": "i32",
    "int64": "i64",
    "float32": "f32",
    "float64": "f64",
}
BYTES = {"bool": 1, "uint8": 1, "int32": 4, "int64": 8, "float32": 4, "float64": 8}

# What each function calls; those that models call (`schedule.vectors.VECTOR_MATH`) come last.
FUNCTION_CALLS: dict[str, tuple[str, ...]] = {
    "first_lanes": (),
    "lane_max": (),
    "lane_min": (),
    "abs": (),
    "with_sign": (),
    "any_lane": (),
    "transpose": (),
    "without_first": (),
    "scale": (),
    "exp_tail": (),
    "log_tail": (),
    "sin_shifted": (),
    "sin_far": (),
    "cos_far": (),
    "exp": ("exp_tail", "scale"),
    "exp2": ("scale",),
    "expm1": ("abs", "exp_tail", "scale"),
    "log": ("log_tail",),
    "log1p": ("abs", "log_tail"),
    "tanh": ("abs", "exp", "with_sign"),
    "erf": ("abs", "exp", "with_sign"),
    "sin": ("abs", "any_lane", "sin_far", "sin_shifted"),
    "cos": ("abs", "any_lane", "cos_far", "sin_shifted"),
    "sqrt": (),
    "round": ("abs", "with_sign"),
    "floor": ("round",),
    "ceil": ("round", "with_sign"),
    "trunc": ("abs", "round", "with_sign"),
}


def vector_type(dtype: str, lanes: int) -> str:
    """The name of a vector type: `f32x16`; of a single lane `f32`."""
    return f"{SHORT[dtype]}x{lanes}" if lanes > 1 else SHORT[dtype]


def bits_dtype(dtype: str) -> str:
    """The signed integers as wide as an element: comparisons of such vectors give them."""
    return "int64" if BYTES[dtype] == 8 else "int32"


def vector_helpers(vectors: Iterable[tuple[str, int]]) -> str:
    """The typedefs of vector types, then their loads, stores, selections."""
    kinds = sorted({("uint8" if dtype == "bool" else dtype, lanes) for dtype, lanes in vectors})
    lines = dict.fromkeys(line for kind in kinds for line in _typedefs(*kind))
    template = templates().get_template("vector.c.j2")
    return "\n".join([*lines, *(template.render(**_settings(*kind)) for kind in kinds)])


def _typedefs(dtype: str, lanes: int) -> list[str]:
    """The type, the same where it may lie anywhere, and its bits as integers."""
    kind, element, item = vector_type(dtype, lanes), C_TYPES[dtype], BYTES[dtype]
    size = f"vector_size({item * lanes})"
    lines = [
        f"typedef {element} {kind} __attribute__(({size}));",
        f"typedef {element} {kind}_unaligned __attribute__(({size}, aligned({item}), may_alias));",
    ]
    if item == 1:
        lines.append(f"typedef uint16_t u16x{lanes} __attribute__((vector_size({2 * lanes})));")
        lines.append(f"typedef int32_t i32x{lanes} __attribute__((vector_size({4 * lanes})));")
    else:
        bits = vector_type(bits_dtype(dtype), lanes)
        integer = C_TYPES[bits_dtype(dtype)]
        lines += [
            f"typedef {integer} {bits} __attribute__(({size}));",
            f"typedef u{integer} u{bits[1:]} __attribute__(({size}));",
        ]
    return lines


def function_text(name: str, dtype: str, lanes: int) -> str:
    """A function of vectors as C."""
    template = templates().get_template(f"functions/{name}.c.j2")
    return str(template.render(**_settings(dtype, lanes))).strip("\n")


def function_vectors(name: str, dtype: str, lanes: int) -> set[tuple[str, int]]:
    """The vector types that a function's text mentions."""
    wide = {("float64", lanes)} if name == "sin_shifted" else set()
    return {(dtype, lanes)} | wide


def _settings(dtype: str, lanes: int) -> dict[str, Any]:
    """The names that templates write instead of types and numbers."""
    double, item = dtype == "float64", BYTES[dtype]
    bits = vector_type(bits_dtype(dtype), lanes) if item > 1 else None
    return {
        "K": vector_type(dtype, lanes),  # the vector
        "B": bits,  # its bits as signed integers
        "U": f"u{bits[1:]}" if bits else None,  # and as unsigned ones
        "D": vector_type("float64", lanes),  # as many doubles
        "L": vector_type("int64", lanes),
        "E": C_TYPES[dtype],  # an element
        "lanes": lanes,
        "double": double,
        "zero": "0.0" if double else "0.0f",
        "one": "1.0" if double else "1.0f",
        "step": "4503599627370496.0" if double else "8388608.0f",  # from here on all are integers
        # in bytes, of the registers that hold it
        "kept": item * lanes if dtype in ("float32", "float64") and item * lanes >= 16 else None,
        "exchanges": exchanges(lanes, item) if item > 1 else [],
        "mask_halves": [n for n in (32, 16) if n < item * lanes],  # bytes
        "numbers": ", ".join(map(str, range(lanes))),
        "halves": _halves(lanes) if dtype in ("float32", "float64") else [],
    }


def _halves(lanes: int) -> list[str]:
    """Lane indices that bring the upper half down, then the upper quarter, and so on."""
    found = []
    width = lanes // 2
    while width:
        found.append(", ".join(str((k + width) % lanes) for k in range(lanes)))
        width //= 2
    return found


Exchange = tuple[int, int, int, str]


def exchanges(lanes: int, item: int) -> list[list[Exchange]]:
    """How `lanes` rows of as many elements are transposed: rounds of exchanges between two rows.

    Each exchange makes a row of two: its place, theirs, and which elements of both it takes, those
    of the second counted on from the first's. A round swaps the off-diagonal quarters of blocks of
    2 by 2, of 4 by 4, …, up to all rows. Rows of four bytes an element have their first two rounds
    within 16 bytes, so that these are single instructions everywhere.
    """
    distances = [1 << k for k in range(lanes.bit_length() - 1)]
    rounds = []
    if item == 4 and lanes >= 4:
        rounds, distances = [*_quartets(lanes)], distances[2:]
    for d in distances:
        low = [k if not k & d else lanes + k - d for k in range(lanes)]
        high = [k + d if not k & d else lanes + k for k in range(lanes)]
        rounds.append([(i, i & ~d, i | d, _text(high if i & d else low)) for i in range(lanes)])
    return rounds


def _quartets(lanes: int) -> Iterator[list[Exchange]]:
    """Two rounds that transpose blocks of 4 by 4."""
    starts = range(0, lanes, 4)
    mixed = [[k + e for q in starts for e in (q, lanes + q, q + 1, lanes + q + 1)] for k in (0, 2)]
    pairs = [[k + e for q in starts for e in (q, q + 1, lanes + q, lanes + q + 1)] for k in (0, 2)]
    yield [
        (q + k, q + k // 2 * 2, q + k // 2 * 2 + 1, _text(mixed[k % 2]))
        for q in starts
        for k in range(4)
    ]
    yield [
        (q + k, q + k // 2, q + k // 2 + 2, _text(pairs[k % 2])) for q in starts for k in range(4)
    ]


def _text(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
