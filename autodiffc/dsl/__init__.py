"""What the user writes beside operators: leaves, index notation, layers, models, optimizers.

Expressions get their operators from the vocabulary, so it is loaded with the first of these.
"""

from autodiffc import ops as _ops  # noqa: F401
