"""When a call of an entry point runs: conditions on what the caller asks for, as C.

A condition is an or of terms, each an and of tests such as `out_loss` (the pointer was given) or
`!general` (the default cotangents). It is kept as a set of sets and printed at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Term = frozenset[str]


@dataclass(frozen=True)
class Condition:
    """The terms, of which one must hold; an empty term always holds."""

    terms: frozenset[Term]

    @property
    def always(self) -> bool:
        return frozenset() in self.terms

    def implies(self, test: str) -> bool:
        """Whether `test` holds wherever the condition does."""
        return all(test in term for term in self.terms)

    def without(self, test: str) -> Condition:
        """The condition where `test` does not hold."""
        return Condition(frozenset(t for t in self.terms if test not in t))

    def __str__(self) -> str:
        """C; nothing where the condition always holds."""
        if self.always:
            return ""
        parts = sorted(" && ".join(sorted(term, key=_variants_first)) for term in self.terms)
        if len(parts) == 1:
            return parts[0]
        return " || ".join(f"({part})" if "&&" in part else part for part in parts)


def any_of(terms: Iterable[Iterable[str]]) -> Condition:
    """The condition that one of these holds, in its shortest form."""
    found = {frozenset(term) for term in terms}
    while True:
        merged = {a - {test} for a in found for test in a if (a - {test}) | {f"!{test}"} in found}
        shorter = {t for t in found | merged if not any(o < t for o in found | merged)}
        if shorter == found:
            return Condition(frozenset(found))
        found = shorter


def _variants_first(test: str) -> tuple[bool, str]:
    return not test.endswith("general"), test
