"""Image filters: what a convolution does to a picture, before any of it is learned.

A filter slides a small kernel over the picture and adds up what lies under it:

    filtered[i, j] = Σ_{p,q} kernel[p, q] · picture[i + p, j + q]

Identity, blur, sharpening and edge detection are this one formula with other numbers in the
kernel, so the kernel is an input here; in a convolutional network it becomes a parameter, and
training finds the numbers. Down-sampling by averaging moves on by two places, 2i + p, and
max-pooling takes the greatest number where averaging takes the mean.

    python examples/filters.py          prints all the pictures
    autodiffc explain examples/filters.py
    autodiffc check examples/filters.py
"""

import numpy as np

import autodiffc as ad

# --- The formulas ---

picture = ad.input("picture", (7, 7), low=0, high=1)
kernel = ad.input("kernel", (3, 3), low=-1, high=1)
small = ad.input("small", (6, 6), low=0, high=1)

i, j, p, q = ad.indices("i j p q")
filtered = ad.compute((i, j), ad.sum_over((p, q), kernel[p, q] * picture[i + p, j + q]))
averaged = ad.compute(
    (i, j), ad.sum_over((p, q), small[2 * i + p, 2 * j + q] / 4), extents={p: 2, q: 2}
)
pooled = ad.compute((i, j), ad.max_over((p, q), small[2 * i + p, 2 * j + q]), extents={p: 2, q: 2})

# something to differentiate: how the brightness of all results depends on every input
brightness = ad.sum(filtered**2) + ad.sum(averaged**2) + ad.sum(pooled**2)

model = ad.Model(
    "filters",
    outputs={
        "filtered": filtered,
        "averaged": averaged,
        "pooled": pooled,
        "brightness": brightness,
    },
    differentiate="brightness",
)

# --- The pictures ---

PICTURE = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 1, 0],
        [0, 1, 0, 0, 1, 0, 0],
        [0, 1, 0, 1, 0, 0, 0],
        [0, 1, 1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    dtype=np.float64,
)
SMALL = np.array(
    [
        [1, 1, 1, 1, 1, 0],
        [1, 0, 0, 1, 0, 0],
        [1, 0, 1, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ],
    dtype=np.float64,
)
KERNELS = {
    "given": np.array([[0, 0, 0], [0, 1, 1], [0, 1, 0]], dtype=np.float64),
    "identity": np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float64),
    "blur": np.array([[1, 1, 1], [1, 2, 1], [1, 1, 1]], dtype=np.float64) / 10,
    "sharpen": np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], dtype=np.float64),
    "edge detection": np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], dtype=np.float64),
}


def show(title: str, numbers: np.ndarray) -> None:
    print(f"\n{title}")
    for row in numbers:
        print("".join(f"{number:6.4g}" for number in row))


if __name__ == "__main__":
    filters = ad.compile(model, dtype="float64")
    show("the picture, 7×7", PICTURE)
    for name, numbers in KERNELS.items():
        show(f"{name}: the kernel", numbers)
        show(f"{name}: the result", filters.predict(picture=PICTURE, kernel=numbers)["filtered"])
    show("the picture, 6×6", SMALL)
    results = filters.predict(small=SMALL)
    show("averaged with stride 2", results["averaged"])
    show("max-pooled", results["pooled"])
