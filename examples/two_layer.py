"""A network of two layers on 8×8 pictures of digits, every sum written out in index notation.

    a_j = Σ_i α_ji x_i + α_j        hidden layer, then  z_j = σ(a_j)
    b_k = Σ_j β_kj z_j + β_k        output layer, then  q = softmax(b)
    J   = −log q_label              cross-entropy: the lower, the more probable is the right digit

No gradient is written here. The compiler finds the lecture's formulas (∂J/∂b_k = q_k − y_k, then
∂J/∂z_j = Σ_k β_kj ∂J/∂b_k, and so on), as `explain` shows; a test compares it with them.

    autodiffc train examples/two_layer.py --data digits --epochs 20
    autodiffc explain examples/two_layer.py
"""

import autodiffc as ad

HIDDEN = 32

batch = ad.dim("batch", 32)
x = ad.input("x", (batch, 64), low=0, high=1)
label = ad.input("label", (batch,), "int32", low=0, high=10)

alpha = ad.param("alpha", (HIDDEN, 64), init="xavier_uniform")
alpha0 = ad.param("alpha0", (HIDDEN,), init="zeros")
beta = ad.param("beta", (10, HIDDEN), init="xavier_uniform")
beta0 = ad.param("beta0", (10,), init="zeros")

n, i, j, k = ad.indices("n i j k")
a = ad.compute((n, j), ad.sum_over(i, alpha[j, i] * x[n, i]) + alpha0[j])
z = ad.sigmoid(a)
b = ad.compute((n, k), ad.sum_over(j, beta[k, j] * z[n, j]) + beta0[k])
log_q = ad.log_softmax(b)
J = ad.compute(n, -log_q[n, label[n]])  # an integer tensor may stand as an index
loss = ad.mean(J)

model = ad.Model(
    "two_layer",
    outputs={"loss": loss, "logits": b},
    differentiate="loss",
    optimizer=ad.SGD(lr=0.3, momentum=0.9),
)
