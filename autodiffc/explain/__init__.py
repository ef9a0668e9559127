"""How a model's gradient comes about, formula by formula: the table of a lecture's slide.

The forward column lists the model's values in the order in which they are computed. Beside each
stands what its formula hands on to the gradients of its operands; read from bottom to top, from
dJ/dJ = 1 upwards, that column computes the gradient. `condense` decides which values get a row,
`derivation` finds both columns; `text`, `latex` and `html` print them.
"""

from autodiffc.explain.derivation import Derivation, derive
from autodiffc.explain.render import FORMATS, WIDTH, check_format, render

__all__ = ["FORMATS", "WIDTH", "Derivation", "check_format", "derive", "render"]
