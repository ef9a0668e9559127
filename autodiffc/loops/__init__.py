"""Plan to loop IR: how each kernel's formula becomes loops, vectors and accumulators."""
