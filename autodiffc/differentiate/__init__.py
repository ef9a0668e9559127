"""Graph to backward graph: reverse mode on formulas, by swapping the roles of their addresses.

partials   the derivative of one scalar function, stated by its entry or found by SymPy
chain      the chain rule inside a body
adjoint    the adjoint of one formula, again a formula
dependence which values a derivative reaches at all
reverse    the walk from outputs back to what they are differentiated by
grad       the same for expressions: `ad.grad`
"""

from autodiffc.differentiate.chain import differentiate_body
from autodiffc.differentiate.grad import grad
from autodiffc.differentiate.partials import partial
from autodiffc.differentiate.reverse import gradients, vjp

__all__ = ["differentiate_body", "grad", "gradients", "partial", "vjp"]
