"""Loads before choices: what a choice may read is read, whichever way it goes.

    y[i] = mask[i] ? x[i] : 0.0            becomes    operand0 = x[i];
                                                      y[i] = mask[i] ? operand0 : 0.0

A formula's accesses are in range at every point of its domain, so nothing is read that must not
be. In return no loop has loads under a condition, which would have to be masked in vectors: that
costs more than it saves, and GCC 12 mixes up the lanes where such loads come in short groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from autodiffc.graph.scalars import Call, Cast, Scalar
from autodiffc.loops.ir import Block, First, For, If, Let, Load, Name, Set, Stmt, Store, Var


def with_eager_loads(body: Sequence[Stmt], dtypes: Mapping[str, str]) -> list[Stmt]:
    """The statements, and before them what their choices read; `dtypes` are those of buffers."""
    return list(_eager(body, dtypes, itertools.count()))


def _eager(
    body: Sequence[Stmt], dtypes: Mapping[str, str], numbers: Iterator[int]
) -> Iterator[Stmt]:
    for stmt in body:
        if isinstance(stmt, For | If | Block | First):
            yield replace(stmt, body=tuple(_eager(stmt.body, dtypes, numbers)))
        elif isinstance(stmt, Let | Var | Set | Store):
            names: dict[Load, str] = {}
            value = _unconditional(stmt.value, names, numbers, chosen=False)
            for load, name in names.items():
                yield Let(name, dtypes[load.buffer], load)
            yield replace(stmt, value=value)
        else:
            yield stmt


def _unconditional(
    value: Scalar, names: dict[Load, str], numbers: Iterator[int], *, chosen: bool
) -> Scalar:
    """The value with names in place of the loads that stand behind a condition."""
    if isinstance(value, Load) and value.lanes == 1 and chosen:
        if value not in names:
            names[value] = f"operand{next(numbers)}"
        return Name(names[value])
    if isinstance(value, Cast):
        return replace(value, x=_unconditional(value.x, names, numbers, chosen=chosen))
    if not isinstance(value, Call):
        return value
    chooses = value.function == "where"
    args = [
        _unconditional(x, names, numbers, chosen=chosen or (chooses and k > 0))
        for k, x in enumerate(value.args)
    ]
    return replace(value, args=tuple(args))
