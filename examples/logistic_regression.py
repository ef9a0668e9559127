"""Logistic regression: the smallest network, one neuron, trained by maximum likelihood.

The neuron adds up its weighted inputs, a = Σ_j θ_j x_j + θ_0, and squashes the sum to a
probability, p = σ(a). The data have the log-likelihood

    ℓ(θ) = Σ_n  y_n log p_n + (1 − y_n) log(1 − p_n),

which is to become as large as possible. Gradient descent makes things small, so the loss is minus
the log-likelihood, here per sample: forget the minus sign and training walks the wrong way.

    autodiffc train examples/logistic_regression.py --data breast_cancer
    autodiffc explain examples/logistic_regression.py
"""

import autodiffc as ad

batch = ad.dim("batch", 32)
x = ad.input("x", (batch, 30), low=-2, high=2)
y = ad.input("y", (batch,), "int32", low=0, high=2)
theta = ad.param("theta", (30,), init="zeros")
theta0 = ad.param("theta0", (), init=0.0)

n, j = ad.indices("n j")
a = ad.compute(n, ad.sum_over(j, theta[j] * x[n, j]) + theta0)
p = ad.sigmoid(a)

# log p and log(1 − p) = log σ(−a), written so that neither ever is the logarithm of a rounded 0
log_p = ad.logsigmoid(a)
log_not_p = ad.logsigmoid(-a)
log_likelihood = ad.compute((), ad.sum_over(n, y[n] * log_p[n] + (1 - y[n]) * log_not_p[n]))
loss = -log_likelihood / batch

model = ad.Model(
    "logistic_regression",
    outputs={"loss": loss, "probability": p},
    differentiate="loss",
    optimizer=ad.SGD(lr=0.5),
)
