"""How fast a compiled model is, and how fast it could be on this machine.

    samples    medians and their spread
    machine    multiply-adds and memory reads at the machine's best, as a library of its own
    subject    a model built twice: plain, and with a timer around every kernel call
    measure    machine, model and kernels sampled in turn; what that says of each kernel
    report     the findings as plain data and as tables
    plot       the findings under the machine's roofs

Machines change their speed from second to second, so nothing is compared with what was measured at
another time: each round takes one sample of everything, and medians are taken over all rounds.
"""

from __future__ import annotations

from autodiffc.bench.measure import EntryResult, KernelResult, Result, measure

__all__ = ["EntryResult", "KernelResult", "Result", "measure"]
