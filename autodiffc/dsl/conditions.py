"""Conditions in index notation: which are guards of a loop domain, and which are tested.

A conjunction of affine comparisons becomes guards: the loops then run over fewer points, and reads
need to be in range only there. Anything else (`|`, `!=`, a test of data) is a truth value that
chooses between the element and the combiner's identity at every point.
"""

from __future__ import annotations

from collections.abc import Sequence

from autodiffc.dsl.elements import Apply, Element, IndexExpression, Number, apply, as_affine


def split_condition(condition: Element) -> tuple[tuple[IndexExpression, ...], Element | None]:
    """A condition as guards (affine, all >= 0) and what is left over.

    Conjunctions of affine comparisons are guards; anything else is tested point by point.
    """
    guards = _guards(condition)
    if guards is not None:
        return guards, None
    if isinstance(condition, Apply) and condition.function == "and":
        (a, left), (b, right) = map(split_condition, condition.args)
        rest = [part for part in (left, right) if part is not None]
        return a + b, apply("and", *rest) if len(rest) == 2 else rest[0]
    return (), condition


def _guards(condition: Element) -> tuple[IndexExpression, ...] | None:
    if not isinstance(condition, Apply):
        return None
    if condition.function == "and":
        both = [_guards(arg) for arg in condition.args]
        return None if None in both else tuple(g for part in both if part for g in part)
    if condition.function == "not":
        return _negated(condition.args[0])
    return _comparison_guards(condition.function, condition.args)


def _comparison_guards(
    function: str, args: Sequence[Element]
) -> tuple[IndexExpression, ...] | None:
    sides = [as_affine(a.value if isinstance(a, Number) else a) for a in args]
    if len(sides) != 2 or sides[0] is None or sides[1] is None:
        return None
    above, below = sides[0].plus(sides[1], -1), sides[1].plus(sides[0], -1)
    one = IndexExpression({}, -1)
    cases = {
        "ge": (above,),
        "gt": (above.plus(one),),
        "le": (below,),
        "lt": (below.plus(one),),
        "eq": (above, below),
    }
    return cases.get(function)


def _negated(condition: Element) -> tuple[IndexExpression, ...] | None:
    opposite = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt", "ne": "eq"}
    if isinstance(condition, Apply) and condition.function in opposite:
        return _comparison_guards(opposite[condition.function], condition.args)
    if isinstance(condition, Apply) and condition.function == "not":
        return _guards(condition.args[0])
    return None
