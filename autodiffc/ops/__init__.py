"""The vocabulary: what a model can say beyond the operators, one stanza for each operation."""
