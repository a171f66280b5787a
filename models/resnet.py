"""ResNet for 224 x 224 images, the "v1.5" form: a bottleneck strides in its 3x3 convolution, not in its first 1x1."""

from collections.abc import Callable
from functools import partial

from dlcompare.core.graph import Input
from dlcompare.core.graph.model import Model
from dlcompare.core.graph.ops import Tensor

INPUTS = {"image": Input((3, 224, 224)), "label": Input((), "int64", "label", high=1000)}

Block = Callable[[Tensor, int, int, str], Tensor]


def basic(x: Tensor, width: int, stride: int, scope: str) -> Tensor:
    """Two 3x3 convolutions; the first strides."""
    y = conv_norm(x, width, 3, stride, f"{scope}.conv1", f"{scope}.bn1").relu(name=f"{scope}.relu1")
    y = conv_norm(y, width, 3, 1, f"{scope}.conv2", f"{scope}.bn2")
    return y.add(shortcut(x, width, stride, scope), name=f"{scope}.add").relu(name=f"{scope}.relu2")


def bottleneck(x: Tensor, width: int, stride: int, scope: str) -> Tensor:
    """1x1, 3x3 (strides), 1x1 to four times the width."""
    y = conv_norm(x, width, 1, 1, f"{scope}.conv1", f"{scope}.bn1").relu(name=f"{scope}.relu1")
    y = conv_norm(y, width, 3, stride, f"{scope}.conv2", f"{scope}.bn2").relu(name=f"{scope}.relu2")
    y = conv_norm(y, 4 * width, 1, 1, f"{scope}.conv3", f"{scope}.bn3")
    return y.add(shortcut(x, 4 * width, stride, scope), name=f"{scope}.add").relu(name=f"{scope}.relu3")


def shortcut(x: Tensor, channels: int, stride: int, scope: str) -> Tensor:
    """The identity, or a strided 1x1 projection where the shape changes."""
    if stride == 1 and x.shape[0] == channels:
        return x
    return conv_norm(x, channels, 1, stride, f"{scope}.downsample.0", f"{scope}.downsample.1")


def conv_norm(x: Tensor, filters: int, kernel: int, stride: int, conv: str, norm: str) -> Tensor:
    y = x.conv(filters, kernel=kernel, stride=stride, pad=kernel // 2, bias=False, name=conv)
    return y.batch_norm(eps=1e-5, momentum=0.1, name=norm)


def resnet(image: Tensor, label: Tensor, *, block: Block, blocks: tuple[int, ...],
           classes: int = 1000) -> dict[str, Tensor]:
    """Return a logit for each class and their loss; ``blocks`` counts the blocks of each of the four stages."""
    x = conv_norm(image, 64, 7, 2, "conv1", "bn1").relu(name="relu")
    x = x.max_pool(kernel=3, stride=2, pad=1, name="maxpool")
    for stage, count in enumerate(blocks):
        for index in range(count):
            stride = 2 if stage and not index else 1
            x = block(x, 64 << stage, stride, f"layer{stage + 1}.{index}")
    logits = x.adaptive_avg_pool(1, name="avgpool").flatten(name="flatten").dense(classes, name="fc")
    return {"logits": logits, "loss": logits.cross_entropy(label, name="loss")}


def model(name: str, block: Block, *blocks: int) -> Model:
    return Model(name, partial(resnet, block=block, blocks=blocks), INPUTS, task="classification",
                 reference="He et al. 2015, Deep residual learning, arXiv:1512.03385", checkpoint=f"torchvision {name}")


MODELS = [
    model("resnet18", basic, 2, 2, 2, 2),
    model("resnet34", basic, 3, 4, 6, 3),
    model("resnet50", bottleneck, 3, 4, 6, 3),
    model("resnet101", bottleneck, 3, 4, 23, 3),
    model("resnet152", bottleneck, 3, 8, 36, 3),
]
