"""VGG without batch normalisation: configurations D (16 weight layers) and E (19)."""

from functools import partial

from dlcompare.core.graph import Input
from dlcompare.core.graph.model import Model
from dlcompare.core.graph.ops import Tensor

INPUTS = {"image": Input((3, 224, 224)), "label": Input((), "int64", "label", high=1000)}


def vgg(image: Tensor, label: Tensor, *, convs: tuple[int, ...], classes: int = 1000) -> dict[str, Tensor]:
    """Return a logit for each class and their loss; ``convs`` holds the 3x3 convolutions of each of the five stages."""
    x, index = image, 0
    for filters, count in zip((64, 128, 256, 512, 512), convs, strict=True):
        for _ in range(count):
            x = x.conv(filters, kernel=3, pad=1, name=f"features.{index}").relu(name=f"features.{index + 1}")
            index += 2
        x = x.max_pool(kernel=2, stride=2, name=f"features.{index}")
        index += 1
    x = x.adaptive_avg_pool(7, name="avgpool").flatten(name="flatten")
    x = x.dense(4096, name="classifier.0").relu(name="classifier.1").dropout(0.5, name="classifier.2")
    x = x.dense(4096, name="classifier.3").relu(name="classifier.4").dropout(0.5, name="classifier.5")
    logits = x.dense(classes, name="classifier.6")
    return {"logits": logits, "loss": logits.cross_entropy(label, name="loss")}


def model(name: str, *convs: int) -> Model:
    return Model(name, partial(vgg, convs=convs), INPUTS, task="classification", checkpoint=f"torchvision {name}",
                 reference="Simonyan and Zisserman 2014, Very deep convolutional networks, arXiv:1409.1556")


MODELS = [model("vgg16", 2, 2, 3, 3, 3), model("vgg19", 2, 2, 4, 4, 4)]
