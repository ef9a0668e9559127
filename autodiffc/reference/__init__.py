"""The NumPy interpreter: what a graph means, computed in the most obvious way."""

from autodiffc.reference.interpreter import evaluate

__all__ = ["evaluate"]
