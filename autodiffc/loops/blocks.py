"""All values of an index, a vector of them at a time, and the rest with a count of lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from autodiffc.graph.extents import ExtentLike
from autodiffc.loops.ir import Block, FloorDiv, For, If, LetInt, Linear, Stmt, integer, variable

# the statements of a vector from a start: of all its lanes, or of so many as are left
Body = Callable[[Linear, Linear | None], Iterable[Stmt]]


def in_vectors(name: str, extent: ExtentLike, lanes: int, mode: str, body: Body) -> list[Stmt]:
    """A loop over whole vectors in `mode`, and the rest; of an open extent blocks are counted."""
    if not isinstance(extent, int):
        return _counted(name, extent, lanes, mode, body)
    rest = extent % lanes
    whole = extent - rest
    if extent == lanes:
        return list(body(integer(0), None))
    if whole == 0:
        return list(body(integer(0), integer(rest)))
    found: list[Stmt] = []
    if whole > lanes:
        inside = tuple(body(variable(name), None))
        found.append(For(name, integer(0), integer(whole), inside, lanes, mode))
    else:
        found.append(Block(tuple(body(integer(0), None))))
    if rest:
        found.append(Block(tuple(body(integer(whole), integer(rest)))))
    return found


def _counted(name: str, extent: ExtentLike, lanes: int, mode: str, body: Body) -> list[Stmt]:
    block, blocks = f"{name}_block", FloorDiv(integer(extent), lanes)
    start = Linear(((lanes, block),))
    loop = For(block, integer(0), blocks, tuple(body(start, None)), 1, mode)
    return [loop, remainder(name, extent, lanes, body)]


def remainder(name: str, extent: ExtentLike, lanes: int, body: Body) -> Block:
    """What whole vectors leave of an open extent."""
    block = f"{name}_block"
    start = Linear(((lanes, block),))
    rest = integer(extent) - start
    inside = If((rest - 1,), tuple(body(start, rest)))
    return Block((LetInt(block, FloorDiv(integer(extent), lanes)), inside))
