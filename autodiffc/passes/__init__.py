"""Passes: graph -> better graph, each a verb-named file with one function of that name.

    inline       calls become what their subgraphs compute
    specialize   fixes named dims to integers and `real` to the build's floating type
    normalize    one canonical way to write each formula: index order, ranges, guards, combiner
    simplify     algebra on scalar bodies, constants folded, copies and zeros removed
    share        equal nodes and equal operands become one
    route        masks of activations move from the inputs of pools to their results
    gather       scatters become plain reductions, so that no two threads write one element
    fuse         views and cheap values move into their readers, elementwise tails into reductions
    split        long sums are cut into chunks of fixed length
    narrow       positions within small windows become bytes

Those that need to know the target are in `schedule/`: layout and halo after `fuse`, pack at the end
(`lower.passes` has the order). `inline` and `specialize` come first, and are needed; each of the
others may be left out, and the results stay equal within rounding. Every pass is deterministic and
idempotent.
"""

from __future__ import annotations

from autodiffc.passes.fuse import fuse
from autodiffc.passes.gather import gather
from autodiffc.passes.inline import inline
from autodiffc.passes.narrow import narrow
from autodiffc.passes.normalize import normalize
from autodiffc.passes.route import route
from autodiffc.passes.share import share
from autodiffc.passes.simplify import simplify
from autodiffc.passes.specialize import specialize

__all__ = [
    "inline",
    "specialize",
    "normalize",
    "simplify",
    "share",
    "route",
    "gather",
    "fuse",
    "narrow",
]
