"""A formula that no library has a name for: how far a sequence resembles shifted copies of itself.

Radar pulses want a sequence x that, shifted by k places and multiplied with itself, adds up to as
little as possible. The overlap at shift k, and the energy of all overlaps but the one at k = 0, are

    r_k = Σ_i x_i · x_{i+k}   (as long as i + k is inside),        E = Σ_{k ≥ 1} r_k²

Written in index notation this is a model like any other: x is read twice, once at a skewed index,
under a guard. Its gradient, dE/dx_m = Σ_{k ≥ 1} 2 r_k (x_{m+k} + x_{m−k}), comes from the compiler.
`ad.grad` gives it as an expression that can be an output, or part of another formula.

    autodiffc explain examples/own_formula.py
    python examples/own_formula.py
"""

import autodiffc as ad

LENGTH = 13

x = ad.input("x", (LENGTH,), low=-1, high=1)

i, k = ad.indices("i k")
overlap = ad.compute(k, ad.sum_over(i, x[i] * x[i + k], where=i + k < LENGTH), extents={k: LENGTH})
energy = ad.compute((), ad.sum_over(k, ad.where(k >= 1, overlap[k] ** 2, 0)))
slope = ad.grad(energy, x)

model = ad.Model(
    "own_formula",
    outputs={"energy": energy, "overlap": overlap, "slope": slope},
    differentiate="energy",
)

if __name__ == "__main__":
    import numpy as np

    barker = np.array([1, 1, 1, 1, 1, -1, -1, 1, 1, -1, 1, -1, 1], dtype=np.float64)
    out = ad.compile(model, dtype="float64").predict(x=barker)
    print("Barker's sequence:", barker.astype(int))
    print("overlaps         :", out["overlap"].astype(int))
    print("energy           :", out["energy"])
    print("gradient         :", out["slope"])
