"""The calculus quiz: what are dy/dx and dy/dz at x = 2, z = 3?

    y = exp(x·z) + x·z / log(x) + sin(log(x)) / exp(x·z)

By hand this takes a page. The lecture shows that it takes no cleverness, only order: give every
intermediate a name, go through them forwards to get y, then backwards, one local derivative at a
time. `explain` prints both columns side by side.

    autodiffc explain examples/quiz.py
    autodiffc check examples/quiz.py
    python examples/quiz.py
"""

import autodiffc as ad

x = ad.input("x", low=1.5, high=3)
z = ad.input("z", low=1, high=4)

a = x * z
b = ad.log(x)
c = ad.sin(b)
d = ad.exp(a)
e = a / b
f = c / d
y = d + e + f

model = ad.Model("quiz", outputs={"y": y}, differentiate="y")

if __name__ == "__main__":
    quiz = ad.compile(model, dtype="float64")
    out, grads = quiz.value_and_grad(x=2.0, z=3.0)
    print(f"y     = {out['y']:.15g}")
    print(f"dy/dx = {grads['x']:.15g}")
    print(f"dy/dz = {grads['z']:.15g}")
