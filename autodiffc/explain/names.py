"""The names of values that are written as more than a name."""

from __future__ import annotations


class Gradient(str):
    """The name `dJ/dt`, which remembers J and t for notations that write a fraction."""

    of: str
    by: str

    def __new__(cls, of: str, by: str) -> Gradient:
        name = super().__new__(cls, f"d{of}/d{by}")
        name.of, name.by = of, by
        return name


class Applied(str):
    """The name `softmax(z)` of a value that has no other; `axis` where it is not the last."""

    function: str
    operand: str
    axis: int | None

    def __new__(cls, function: str, operand: str, axis: int | None = None) -> Applied:
        along = "" if axis is None else f", axis={axis}"
        name = super().__new__(cls, f"{function}({operand}{along})")
        name.function, name.operand, name.axis = function, operand, axis
        return name
