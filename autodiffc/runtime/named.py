"""Arrays by name: what calls return, and what `params`, `states` and `grads` are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from autodiffc.errors import ArgumentTypeError, AttributeNotFoundError, NameNotFoundError


class NamedArrays(Mapping[str, Any]):
    """A mapping whose items are attributes too: `out["loss"]` and `out.loss`.

    Scalars are arrays of shape (). Where a name is also a method of mappings (`keys`, `get`)
    only the item is the array. Items cannot be replaced; views are written with
    `params["weight"][...] = new`.
    """

    __slots__ = ("_arrays", "_what")

    def __init__(self, arrays: Mapping[str, Any], what: str = "output") -> None:
        self._arrays = arrays
        self._what = what

    def __getitem__(self, name: str) -> Any:
        try:
            return self._arrays[name]
        except KeyError:
            raise self._unknown(name) from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's own protocols (copy, pickle) ask for these
            raise AttributeError(name)
        try:
            return self._arrays[name]
        except KeyError:
            raise self._unknown(name, AttributeNotFoundError) from None

    def __setitem__(self, name: str, value: object) -> None:
        raise ArgumentTypeError(
            "arrays are written in place, they cannot be replaced",
            found=f"[{name!r}] = value",
            expected=f"[{name!r}][...] = value",
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(name for name in self._arrays if name.isidentifier())]

    def __reduce__(self) -> tuple[Any, ...]:
        return NamedArrays, (dict(self._arrays), self._what)

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name}: {_shown(a)}" for name, a in self.items()) + "}"

    def _unknown(
        self, name: object, error: type[NameNotFoundError] = NameNotFoundError
    ) -> NameNotFoundError:
        close = get_close_matches(str(name), self._arrays, n=1)
        return error(
            f"there is no {self._what} of this name",
            found=repr(name),
            expected="one of " + ", ".join(map(repr, self._arrays)) if self._arrays else "none",
            help=f"did you mean {close[0]!r}?" if close else None,
        )


def _shown(array: Any) -> str:
    """Small arrays in full, others by their type."""
    if array.size > 8:
        shape = ", ".join(map(str, array.shape))
        return f"{array.dtype}({shape})"
    return str(array if array.ndim == 0 else array.tolist())
