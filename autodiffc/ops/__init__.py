"""The vocabulary: what a model can say beyond the operators, one stanza for each operation.

Importing any of it loads all of it, so that `registry.OPERATIONS` is complete and expressions have
their operators:

    functions     the scalar functions that bodies call: typing, meaning, derivative, C, display
    registry      how an operation is declared, and the table of all of them
    elementwise, activations, reduce, contract, window, pool, view, slices, index, create,
    composite     the operations
    apply, positions
                  what they take: operands, axes' positions
"""

from __future__ import annotations

from autodiffc.ops import (  # noqa: F401
    activations,
    composite,
    contract,
    create,
    elementwise,
    functions,
    index,
    pool,
    reduce,
    slices,
    view,
    window,
)
