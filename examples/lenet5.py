"""LeNet-5: two convolutions with max-pooling, then three full layers, on 28×28 digits.

The lecture draws LeNet-5 with max-pooling and ReLU, as below, where the network of 1998 had trained
averages and tanh. Every layer is one formula in index notation: look at `nn.conv2d` as a way to
write one without its indices, and to make its parameters.

    autodiffc train examples/lenet5.py --data mnist5k --epochs 10 --set batch=32
    autodiffc explain examples/lenet5.py
    autodiffc compile examples/lenet5.py -o build/lenet5      # the C, its header, the library
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
