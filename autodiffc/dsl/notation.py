"""Index notation: formulas for which the library has no name.

    n, o, i, j, c, p, q = ad.indices("n o i j c p q")
    y = ad.compute((n, o, i, j), ad.sum_over((c, p, q), w[o, c, p, q]*x[n, c, i + p, j + q]) + b[o])

This file is what the user calls; it refuses what makes no formula, and says why. What indices and
elements are stands in `elements`, how extents are found in `inference`, how loops come about in
`lowering`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from autodiffc.dsl.conditions import split_condition
from autodiffc.dsl.elements import (
    Apply,
    Convert,
    Element,
    Index,
    IndexExpression,
    Read,
    Reduction,
    as_element,
    convert,
    free_indices,
    replace_indices,
    tensor_text,
    walk,
)
from autodiffc.dsl.inference import Extents, Guards, check_reads, infer_extents, uses
from autodiffc.dsl.lowering import Formula, Shared, build
from autodiffc.dsl.nonempty import check_not_empty
from autodiffc.errors import (
    ArgumentTypeError,
    DtypeError,
    IndexNotationError,
    SourceLocation,
)
from autodiffc.graph.construct import as_extent
from autodiffc.graph.expression import OPERATORS, Expression
from autodiffc.graph.extents import Extent, ExtentLike, shape_text
from autodiffc.graph.location import here
from autodiffc.graph.types import is_float, is_integer


def indices(names: str) -> Any:
    """Loop indices: `i, j = ad.indices("i j")`. A single one is returned as itself."""
    words = names.replace(",", " ").split() if isinstance(names, str) else []
    if not words or not all(word.isidentifier() for word in words):
        raise ArgumentTypeError(
            "indices takes the names of indices",
            found=repr(names),
            expected='e.g. i, j = ad.indices("i j")',
            loc=here(),
        )
    made = tuple(Index(word) for word in words)
    return made if len(made) > 1 else made[0]


def sum_over(indices: Any, body: Any, where: Any = None) -> Element:
    """The sum of `body` over all values of the indices, or over those where `where` holds."""
    return _reduction("sum", indices, body, where)


def prod_over(indices: Any, body: Any, where: Any = None) -> Element:
    """The product of `body` over the indices."""
    return _reduction("prod", indices, body, where)


def max_over(indices: Any, body: Any, where: Any = None) -> Element:
    """The greatest `body` over the indices; its gradient goes to the first of equal ones.

    An element for which no values of the indices satisfy `where` is an error, except where only
    the data can tell: it is then -inf (of integers: the least one), and +inf for `min_over`.
    """
    return _reduction("max", indices, body, where)


def min_over(indices: Any, body: Any, where: Any = None) -> Element:
    """The least `body` over the indices; its gradient goes to the first of equal ones.

    Every element needs values of the indices that satisfy `where`, as for `max_over`.
    """
    return _reduction("min", indices, body, where)


def compute(
    indices: Any,
    body: Any,
    extents: Mapping[Index, ExtentLike] | None = None,
    where: Any = None,
) -> Expression:
    """The tensor whose element at `indices` is `body`; 0 where `where` does not hold."""
    loc = here()
    outer = _distinct_indices(indices, "the left-hand side", empty=True)
    element = as_element(body, "the formula")
    guards, condition = _where(where)
    parts = [element, *guards, *([] if condition is None else [condition])]
    _check_scopes(outer, parts, loc)
    found = _extents(outer, parts, guards, extents, loc)
    for part in parts:
        check_not_empty(part, found, guards)
    formula = _top_formula(outer, element, guards, condition, loc)
    return Expression(build(formula, Shared(found, "compute")))


def subscript(x: Expression, item: Any) -> Element:
    """`x[i, 2*j + 1]`: one element of a tensor, with a subscript for each axis."""
    items = item if isinstance(item, tuple) else (item,)
    if len(items) != x.ndim:
        raise IndexNotationError(
            f"{tensor_text(x.node)} needs a subscript for each axis",
            found=f"{len(items)} subscripts",
            expected=f"{x.ndim} for the shape {shape_text(x.shape)}",
            loc=here(),
        )
    axes = enumerate(zip(items, x.shape, strict=True))
    subscripts = tuple(_subscript(x, axis, s, extent) for axis, (s, extent) in axes)
    return Read(x.node, subscripts, here())


def is_notation(item: Any) -> bool:
    """Whether what stands in brackets is index notation rather than a slice."""
    return any(isinstance(s, Element) for s in (item if isinstance(item, tuple) else (item,)))


OPERATORS["subscript"] = subscript
OPERATORS["is_notation"] = is_notation


# --- Subscripts ---


def _subscript(x: Expression, axis: int, item: Any, extent: ExtentLike) -> Element:
    if isinstance(item, IndexExpression):
        return item
    if isinstance(item, int | np.integer) and not isinstance(item, bool):
        return _constant_subscript(x, axis, int(item), extent)
    if isinstance(item, Extent):
        return IndexExpression({}, item)
    if isinstance(item, Expression) and item.ndim == 0:
        item = as_element(item)
    if isinstance(item, Read):
        return _tensor_subscript(item)
    raise _not_a_subscript(x, axis, item)


def _constant_subscript(x: Expression, axis: int, value: int, extent: ExtentLike) -> Element:
    """Negative numbers count from the end, as in NumPy."""
    inside = -extent <= value < extent if isinstance(extent, int) else True
    if not inside:
        raise IndexNotationError(
            f"subscript {value} is out of range",
            found=value,
            expected=f"-{extent} to {extent - 1} on axis {axis} of {tensor_text(x.node)}",
            loc=here(),
        )
    return IndexExpression({}, value if value >= 0 else extent + value)


def _tensor_subscript(item: Read) -> Element:
    if is_integer(item.dtype):
        return item
    raise DtypeError(
        "a tensor used as an index must be an integer tensor",
        found=f"{item}, of dtype {item.dtype}",
        expected="dtype int32 or int64",
        loc=here(),
    )


def _not_a_subscript(x: Expression, axis: int, item: Any) -> Exception:
    name = tensor_text(x.node)
    if isinstance(item, Apply | Convert):
        return IndexNotationError(
            f"the subscript {item} is not affine in the indices",
            found=f"{item} on axis {axis} of {name}",
            expected="sums of integer multiples of indices, such as 2*i + p - 1, "
            "or an element of an integer tensor, such as ids[n]",
            help=_affine_help(item),
            loc=here(),
        )
    if isinstance(item, slice) or item is None or item is Ellipsis:
        return IndexNotationError(
            "slices and indices cannot stand in the same brackets",
            found=f"{item} on axis {axis} of {name}",
            expected="an index on every axis",
            loc=here(),
        )
    return ArgumentTypeError(
        f"this cannot be a subscript on axis {axis} of {name}",
        found=f"{item} ({type(item).__name__})",
        expected="an index expression, an integer, or an element of an integer tensor",
        loc=here(),
    )


def _affine_help(item: Element) -> str:
    function = item.function if isinstance(item, Apply) else ""
    if function in ("int_floordiv", "int_mod"):
        return "split the index in two, k = 2*i + r, and loop over i and r"
    if function == "mul":
        return "only integers may multiply an index"
    if any(isinstance(e, Read) for e in walk(item)):
        return (
            "compute the integer tensor first, then use its element: t = ad.compute(...); x[t[n]]"
        )
    return "as a value, outside of brackets, the expression is fine"


# --- Reductions ---


def _reduction(combine: str, indices: Any, body: Any, where: Any) -> Element:
    loc = here()
    reduced = _distinct_indices(indices, f"{combine}_over", empty=False)
    element = as_element(body, f"the body of {combine}_over")
    if combine in ("sum", "prod") and not is_float(element.dtype):
        element = convert(element, "int64")  # as PyTorch and NumPy do
    if element.dtype == "bool":
        raise DtypeError(
            f"{combine}_over needs numbers",
            found=f"{element}, of dtype bool",
            expected="e.g. ad.where(condition, 1, 0)",
            loc=loc,
        )
    guards, condition = _where(where)
    fresh = {index: Index(index.name, index.origin) for index in reduced}
    return Reduction(
        combine,
        tuple(fresh.values()),
        replace_indices(element, fresh),
        tuple(_renamed_guard(g, fresh) for g in guards),
        None if condition is None else replace_indices(condition, fresh),
        loc,
    )


def _renamed_guard(guard: IndexExpression, new: Mapping[Index, Index]) -> IndexExpression:
    renamed = replace_indices(guard, new)
    assert isinstance(renamed, IndexExpression)
    return renamed


def _where(where: Any) -> tuple[Guards, Element | None]:
    """The guards of a condition, and what of it has to be tested point by point."""
    if where is None or where is True:
        return (), None
    condition = as_element(where, "the condition")
    if condition.dtype != "bool":
        raise DtypeError(
            "where= needs a condition",
            found=f"{condition}, of dtype {condition.dtype}",
            expected="a comparison, such as (0 <= i) & (i < n)",
            loc=here(),
        )
    return split_condition(condition)


def _distinct_indices(given: Any, what: str, *, empty: bool) -> tuple[Index, ...]:
    items = (given,) if isinstance(given, Element) else given
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise _not_indices(given, what)
    seen: set[Index] = set()
    for item in items:
        if not isinstance(item, Index):
            raise _not_indices(item, what)
        if item in seen:
            raise IndexNotationError(
                f"{what} has index {item.name} twice",
                found=f"({', '.join(str(i) for i in items)})",
                expected="distinct indices",
                help="a diagonal is read, not written: ad.compute((i,), x[i, i])",
                loc=here(),
            )
        seen.add(item)
    if not items and not empty:
        raise IndexNotationError(
            f"{what} needs at least one index", found="()", expected="e.g. (p, q)", loc=here()
        )
    return tuple(items)


def _not_indices(found: Any, what: str) -> IndexNotationError:
    return IndexNotationError(
        f"{what} takes plain indices",
        found=str(found) if isinstance(found, Element) else repr(found),
        expected='indices made by ad.indices("i j"), without arithmetic',
        help="put offsets and strides into the subscripts on the right-hand side",
        loc=here(),
    )


# --- compute ---


def _top_formula(
    outer: tuple[Index, ...],
    element: Element,
    guards: Guards,
    condition: Element | None,
    loc: SourceLocation | None,
) -> Formula:
    """A reduction that is the whole formula needs no elementwise step around it.

    With guards of the tensor's own that holds for sums alone: elements outside are 0.
    """
    if not isinstance(element, Reduction) or condition is not None:
        return Formula(outer, element, "set", (), guards, condition, loc)
    if guards and element.combine != "sum":
        return Formula(outer, element, "set", (), guards, None, loc)
    every_guard = (*guards, *element.guards)
    return Formula(
        outer,
        element.body,
        element.combine,
        element.indices,
        every_guard,
        element.condition,
        loc,
    )


def _check_scopes(
    outer: Sequence[Index], parts: Iterable[Element], loc: SourceLocation | None
) -> None:
    """Every index is on the left or reduced, and none is both."""
    on_the_left = set(outer)
    for part in parts:
        for reduction in _reductions(part):
            both = [i for i in reduction.indices if i.origin in on_the_left]
            if both:
                raise IndexNotationError(
                    f"index {both[0].name} is on the left-hand side and reduced as well",
                    found=str(reduction),
                    expected="an index of its own for the reduction",
                    loc=reduction.loc,
                )
        for index in free_indices(part):
            if index not in on_the_left:
                raise _unbound(index, outer, part, loc)


def _reductions(element: Element) -> list[Reduction]:
    return [e for e in walk(element) if isinstance(e, Reduction)]


def _unbound(
    index: Index, outer: Sequence[Index], part: Element, loc: SourceLocation | None
) -> IndexNotationError:
    reads = [e for e in walk(part) if isinstance(e, Read) and index in free_indices(e)]
    left = ", ".join(i.name for i in outer)
    return IndexNotationError(
        f"index {index.name} is neither on the left-hand side nor reduced",
        found=f"{reads[0] if reads else part}, with ({left}) on the left",
        expected=f"{index.name} on the left-hand side, or ad.sum_over({index.name}, ...) around it",
        loc=reads[0].loc if reads else loc,
    )


def _extents(
    outer: Sequence[Index],
    parts: Sequence[Element],
    guards: Guards,
    given: Mapping[Index, ExtentLike] | None,
    loc: SourceLocation | None,
) -> Extents:
    reduced = [i for part in parts for r in _reductions(part) for i in r.indices]
    everything = dict.fromkeys([*outer, *reduced])
    fixed = _given_extents(given, {i.origin for i in everything})
    all_uses = [use for part in parts for use in uses(part, guards)]
    found = infer_extents(everything, all_uses, fixed, loc)
    check_reads(all_uses, found)
    return found


def _given_extents(given: Any, known: set[Index]) -> Extents:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ArgumentTypeError(
            "extents maps indices to extents",
            found=repr(given),
            expected="e.g. extents={p: 2, q: 2}",
            loc=here(),
        )
    for index in given:
        if not isinstance(index, Index) or index not in known:
            raise IndexNotationError(
                "extents names an index that the formula does not have",
                found=str(index),
                expected=f"one of {', '.join(sorted(i.name for i in known))}",
                loc=here(),
            )
    return {i: as_extent(e, f"the extent of {i.name}") for i, e in given.items()}
