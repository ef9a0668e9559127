"""Graph to backward graph: reverse mode on formulas, scalar partials by SymPy."""

from autodiffc.differentiate.reverse import gradients, vjp

__all__ = ["gradients", "vjp"]
