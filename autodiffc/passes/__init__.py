"""Graph to better graph, one pass a file; each is a function Graph -> Graph.

    specialize   dims become integers, `real` becomes float32 or float64
"""

from autodiffc.passes.specialize import specialize

__all__ = ["specialize"]
