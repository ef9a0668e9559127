"""The names of gradients."""

from __future__ import annotations


class Gradient(str):
    """The name `dJ/dt`, which remembers J and t for notations that write a fraction."""

    of: str
    by: str

    def __new__(cls, of: str, by: str) -> Gradient:
        name = super().__new__(cls, f"d{of}/d{by}")
        name.of, name.by = of, by
        return name
