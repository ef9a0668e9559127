"""AlexNet: five convolutions with max-pooling, then three full layers, on 224×224 photographs.

Krizhevsky, Sutskever and Hinton cut the network of 2012 in two, one half for each of their graphics
cards. This is the single column that Krizhevsky wrote down in 2014 ("One weird trick for
parallelizing convolutional neural networks"), with the sizes of torchvision's `alexnet`, dropout
left out: 61,100,840 parameters, 96 % of them in the full layers, while 92 % of the multiply-adds
are in the convolutions.

    autodiffc compile examples/alexnet.py --set batch=8        # the C, its header, the library
    autodiffc bench examples/alexnet.py --set batch=8 --threads 1
    autodiffc inspect examples/alexnet.py --set batch=8
"""

import autodiffc as ad
from autodiffc import nn


def alexnet(images: ad.Expression, classes: int = 1000, hidden: int = 4096) -> ad.Expression:
    """The logits of (batch, 3, height, width) images; 63×63 are the smallest."""
    h = ad.relu(nn.conv2d(images, 64, kernel_size=11, stride=4, padding=2, name="conv1"))
    h = ad.max_pool2d(h, 3, stride=2)
    h = ad.relu(nn.conv2d(h, 192, kernel_size=5, padding=2, name="conv2"))
    h = ad.max_pool2d(h, 3, stride=2)
    h = ad.relu(nn.conv2d(h, 384, kernel_size=3, padding=1, name="conv3"))
    h = ad.relu(nn.conv2d(h, 256, kernel_size=3, padding=1, name="conv4"))
    h = ad.relu(nn.conv2d(h, 256, kernel_size=3, padding=1, name="conv5"))
    h = ad.flatten(ad.max_pool2d(h, 3, stride=2))
    h = ad.relu(nn.linear(h, hidden, name="fc6"))
    h = ad.relu(nn.linear(h, hidden, name="fc7"))
    return nn.linear(h, classes, name="fc8")


batch = ad.dim("batch", 32)
images = ad.input("images", (batch, 3, 224, 224))
labels = ad.input("labels", (batch,), "int32", low=0, high=1000)

logits = alexnet(images)
loss = ad.mean(ad.cross_entropy(logits, labels))

model = ad.Model(
    "alexnet",
    outputs={"loss": loss, "logits": logits},
    differentiate="loss",
    optimizer=ad.SGD(lr=0.01),
)
