"""Graph to plan: which formulas share a kernel, how each runs, and where its result lives."""
