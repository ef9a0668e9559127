"""A compiled library as a Python callable over NumPy arrays.

Read in this order:

- `signature.py`: the manifest as data: inputs, outputs, parameters, extents that stay open
- `named.py`: the mapping of names to arrays that calls return
- `arguments.py`: one argument of a call: is this array what the C code will read?
- `structs.py`: the C structs of a call, made once and refilled
- `initial.py`, `variables.py`: parameters, states and gradients in contiguous buffers
- `context.py`: the calls: forward, backward, value_and_grad, predict, step
- `bound.py`: a call with its arrays checked once
- `direct.py`: calls of little work, which go straight from Python to C
- `compiled.py`: `Compiled`, the whole
- `output.py`: the folder that `autodiffc compile -o` writes, and how it is loaded
- `check.py`: gradients against finite differences
- `weights.py`: weights on disk

Nothing here knows how the C code came to be: the manifest and the C interface are all it sees.
"""

from __future__ import annotations

from autodiffc.runtime.bound import BoundCall
from autodiffc.runtime.compiled import Compiled
from autodiffc.runtime.context import Context
from autodiffc.runtime.named import NamedArrays
from autodiffc.runtime.signature import TensorSpec

__all__ = ["BoundCall", "Compiled", "Context", "NamedArrays", "TensorSpec"]
