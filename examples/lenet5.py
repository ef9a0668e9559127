"""LeNet-5 on 28x28 digits, with max-pooling and ReLU as the lecture draws it.

    autodiffc train examples/lenet5.py --data mnist5k --epochs 10
"""

import autodiffc as ad
from autodiffc import nn

batch = ad.dim("batch", 64)
images = ad.input("images", (batch, 1, 28, 28), low=0, high=1)
labels = ad.input("labels", (batch,), "int32", low=0, high=10)

h = ad.max_pool2d(ad.relu(nn.conv2d(images, 6, kernel_size=5, padding=2, name="conv1")), 2)
h = ad.max_pool2d(ad.relu(nn.conv2d(h, 16, kernel_size=5, name="conv2")), 2)
h = ad.relu(nn.linear(ad.flatten(h), 120, name="fc1"))
h = ad.relu(nn.linear(h, 84, name="fc2"))
logits = nn.linear(h, 10, name="fc3")
loss = ad.mean(ad.cross_entropy(logits, labels))

model = ad.Model(
    "lenet5",
    outputs={"loss": loss, "logits": logits},
    differentiate="loss",
    optimizer=ad.SGD(lr=0.05, momentum=0.9),
)
