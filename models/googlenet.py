"""GoogLeNet (Inception v1) with batch norm and 3x3 where the paper has 5x5, as published checkpoints have it.

Two auxiliary classifiers hang on the trunk; the training loss reads them, the logits do not.
"""

from dlcompare.core.graph import Input
from dlcompare.core.graph.model import Model
from dlcompare.core.graph.ops import Tensor

from .inception import at_least, same, unit

INPUTS = {"image": Input((3, 224, 224)), "label": Input((), "int64", "label", high=1000)}
SMALLEST = 31  # pixels that leave every pooling a whole window
AUXILIARY = 0.3  # weight of each auxiliary loss: section 5 of the paper

WIDTHS = {  # 1x1; 1x1 and 3x3; 1x1 and 3x3; 1x1 after the pooling
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}
POOLS = {"3b": ("maxpool3", 3), "4e": ("maxpool4", 2)}  # after these blocks: name, kernel
HEADS = {"4a": "aux1", "4d": "aux2"}  # on these blocks


def googlenet(image: Tensor, label: Tensor, *, classes: int = 1000) -> dict[str, Tensor]:
    """Return a logit per class, and a loss that reads both auxiliary classifiers too; node names are torchvision's."""
    at_least(SMALLEST, image)
    x, heads = stem(image), []
    for block, widths in WIDTHS.items():
        x = inception(x, widths, f"inception{block}")
        if block in HEADS:
            heads.append(auxiliary(x, classes, HEADS[block]).cross_entropy(label, name=f"{HEADS[block]}.loss"))
        if block in POOLS:
            name, kernel = POOLS[block]
            x = x.max_pool(kernel, stride=2, ceil=True, name=name)
    x = x.adaptive_avg_pool(1, name="avgpool").flatten(name="flatten").dropout(0.2, name="dropout")
    logits = x.dense(classes, name="fc")
    aux = heads[0].add(heads[1], name="aux.loss").scale(AUXILIARY, name="aux.weighted")
    return {"logits": logits, "loss": logits.cross_entropy(label, name="main_loss").add(aux, name="loss")}


def stem(image: Tensor) -> Tensor:
    x = unit(image, 64, 7, stride=2, pad=3, name="conv1").max_pool(3, stride=2, ceil=True, name="maxpool1")
    x = same(unit(x, 64, 1, name="conv2"), 192, 3, name="conv3")
    return x.max_pool(3, stride=2, ceil=True, name="maxpool2")


def inception(x: Tensor, widths: tuple[int, int, int, int, int, int], scope: str) -> Tensor:
    """Four branches beside one another."""
    one, reduced, three, narrow, other, projected = widths
    first = unit(x, one, 1, name=f"{scope}.branch1")
    second = same(unit(x, reduced, 1, name=f"{scope}.branch2.0"), three, 3, name=f"{scope}.branch2.1")
    third = same(unit(x, narrow, 1, name=f"{scope}.branch3.0"), other, 3, name=f"{scope}.branch3.1")
    fourth = x.max_pool(3, stride=1, pad=1, name=f"{scope}.branch4.0")
    return first.concat(second, third, unit(fourth, projected, 1, name=f"{scope}.branch4.1"), name=f"{scope}.concat")


def auxiliary(x: Tensor, classes: int, scope: str) -> Tensor:
    """Return the logits of a classifier that only training looks at."""
    x = unit(x.adaptive_avg_pool(4, name=f"{scope}.avgpool"), 128, 1, name=f"{scope}.conv").flatten(
        name=f"{scope}.flatten")
    x = x.dense(1024, name=f"{scope}.fc1").relu(name=f"{scope}.relu").dropout(0.7, name=f"{scope}.dropout")
    return x.dense(classes, name=f"{scope}.fc2")


MODELS = [Model("googlenet", googlenet, INPUTS, task="classification", checkpoint="torchvision googlenet",
                reference="Szegedy et al. 2014, Going deeper with convolutions, arXiv:1409.4842")]
