"""How a model's gradient comes about, formula by formula: the table of a lecture's slide.

The forward column lists the model's values in the order in which they are computed. The backward
column starts from dJ/dJ = 1 and lists, in reverse order, what each value hands on to its operands.
`derivation` finds both; `text`, `latex` and `html` print them.
"""

from autodiffc.explain.derivation import Derivation, derive
from autodiffc.explain.render import FORMATS, check_format, render

__all__ = ["FORMATS", "Derivation", "check_format", "derive", "render"]
