"""The chain rule on one variable: J = cos(sin(x²) + 3x²).

x² is used twice, so that its gradient has two contributions, which add up: dJ/dt gets one through
u1 and one through u2. `explain` shows these two lines as `+=`.

    autodiffc explain examples/chain.py
    python examples/chain.py
"""

import autodiffc as ad

x = ad.input("x", low=-1, high=1)

t = x**2
u1 = ad.sin(t)
u2 = 3 * t
s = u1 + u2
J = ad.cos(s)

model = ad.Model("chain", outputs={"J": J}, differentiate="J")

if __name__ == "__main__":
    chain = ad.compile(model, dtype="float64")
    out, grads = chain.value_and_grad(x=0.7)
    print(f"J     = {out['J']:.15g}")
    print(f"dJ/dx = {grads['x']:.15g}")
