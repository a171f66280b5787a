"""Inception v3 for 299 x 299 images, with the auxiliary classifier that its training loss wants."""

from dlcompare.core.graph import Input
from dlcompare.core.graph.model import Model
from dlcompare.core.graph.ops import Tensor

INPUTS = {"image": Input((3, 299, 299)), "label": Input((), "int64", "label", high=1000)}
SMALLEST = 299  # pixels that leave the auxiliary classifier's 5 x 5 convolution the 5 x 5 it needs; 75 without it
AUXILIARY = 0.4  # weight of its loss, as in TF-slim's train_image_classifier.py; the paper names none
ROW, COLUMN = (1, 7), (7, 1)


def inception_v3(image: Tensor, label: Tensor, *, classes: int = 1000) -> dict[str, Tensor]:
    """Return a logit per class, and a loss that reads the auxiliary classifier too; node names are torchvision's."""
    at_least(SMALLEST, image)
    x = unit(stem(image), 80, 1, name="Conv2d_3b_1x1")
    x = unit(x, 192, 3, name="Conv2d_4a_3x3").max_pool(3, stride=2, name="maxpool2")
    for scope, features in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        x = block_a(x, features, scope)
    x = block_b(x, "Mixed_6a")
    for scope, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        x = block_c(x, width, scope)
    aux = auxiliary(x, classes).cross_entropy(label, name="AuxLogits.loss").scale(AUXILIARY, name="AuxLogits.weighted")
    x = block_d(x, "Mixed_7a")
    for scope in ("Mixed_7b", "Mixed_7c"):
        x = block_e(x, scope)
    x = x.adaptive_avg_pool(1, name="avgpool").dropout(0.5, name="dropout").flatten(name="flatten")
    logits = x.dense(classes, name="fc")
    return {"logits": logits, "loss": logits.cross_entropy(label, name="main_loss").add(aux, name="loss")}


def at_least(pixels: int, image: Tensor) -> None:
    """Raise ValueError for an image that is smaller than the network can train on."""
    if min(image.shape[1:]) < pixels:
        raise ValueError(f"too small; its layers, auxiliary classifiers included, need {pixels} x {pixels} at least")


def unit(x: Tensor, filters: int, kernel: int | tuple[int, int], *, name: str, stride: int = 1,
         pad: int | tuple[int, int] = 0) -> Tensor:
    """Convolution without bias, batch norm, ReLU: what every convolution of the Inception family is."""
    x = x.conv(filters, kernel=kernel, stride=stride, pad=pad, bias=False, name=f"{name}.conv")
    return x.batch_norm(eps=1e-3, name=f"{name}.bn").relu(name=f"{name}.relu")


def same(x: Tensor, filters: int, kernel: int | tuple[int, int], *, name: str) -> Tensor:
    """A unit that keeps height and width."""
    pad = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    return unit(x, filters, kernel, pad=pad, name=name)


def stem(image: Tensor) -> Tensor:
    x = unit(image, 32, 3, stride=2, name="Conv2d_1a_3x3")
    x = unit(x, 32, 3, name="Conv2d_2a_3x3")
    return same(x, 64, 3, name="Conv2d_2b_3x3").max_pool(3, stride=2, name="maxpool1")


def pooled(x: Tensor, filters: int, scope: str) -> Tensor:
    """A mean over 3 x 3, then 1 x 1."""
    return unit(x.avg_pool(3, stride=1, pad=1, name=f"{scope}.pool"), filters, 1, name=f"{scope}.branch_pool")


def block_a(x: Tensor, features: int, scope: str) -> Tensor:
    """1x1; 5x5; twice 3x3; pool."""
    one = unit(x, 64, 1, name=f"{scope}.branch1x1")
    five = same(unit(x, 48, 1, name=f"{scope}.branch5x5_1"), 64, 5, name=f"{scope}.branch5x5_2")
    double = same(unit(x, 64, 1, name=f"{scope}.branch3x3dbl_1"), 96, 3, name=f"{scope}.branch3x3dbl_2")
    double = same(double, 96, 3, name=f"{scope}.branch3x3dbl_3")
    return one.concat(five, double, pooled(x, features, scope), name=f"{scope}.concat")


def block_b(x: Tensor, scope: str) -> Tensor:
    """Half the height and width: strided 3x3; 3x3 and strided 3x3; pool."""
    three = unit(x, 384, 3, stride=2, name=f"{scope}.branch3x3")
    double = same(unit(x, 64, 1, name=f"{scope}.branch3x3dbl_1"), 96, 3, name=f"{scope}.branch3x3dbl_2")
    double = unit(double, 96, 3, stride=2, name=f"{scope}.branch3x3dbl_3")
    return three.concat(double, x.max_pool(3, stride=2, name=f"{scope}.pool"), name=f"{scope}.concat")


def block_c(x: Tensor, width: int, scope: str) -> Tensor:
    """1x1; 7x7 as a row and a column; twice that; pool."""
    one = unit(x, 192, 1, name=f"{scope}.branch1x1")
    seven = chain(x, f"{scope}.branch7x7", (width, 1), (width, ROW), (192, COLUMN))
    double = chain(x, f"{scope}.branch7x7dbl", (width, 1), (width, COLUMN), (width, ROW), (width, COLUMN), (192, ROW))
    return one.concat(seven, double, pooled(x, 192, scope), name=f"{scope}.concat")


def chain(x: Tensor, scope: str, *layers: tuple[int, int | tuple[int, int]]) -> Tensor:
    """Units of (filters, kernel) one after another, counted from 1."""
    for index, (filters, kernel) in enumerate(layers, start=1):
        x = same(x, filters, kernel, name=f"{scope}_{index}")
    return x


def block_d(x: Tensor, scope: str) -> Tensor:
    """Half the height and width: 1x1 and strided 3x3; 1x1, 7x7 as a row and a column, strided 3x3; pool."""
    three = unit(unit(x, 192, 1, name=f"{scope}.branch3x3_1"), 320, 3, stride=2, name=f"{scope}.branch3x3_2")
    seven = chain(x, f"{scope}.branch7x7x3", (192, 1), (192, ROW), (192, COLUMN))
    seven = unit(seven, 192, 3, stride=2, name=f"{scope}.branch7x7x3_4")
    return three.concat(seven, x.max_pool(3, stride=2, name=f"{scope}.pool"), name=f"{scope}.concat")


def block_e(x: Tensor, scope: str) -> Tensor:
    """1x1; 3x3 as a row beside a column; 3x3, then the same; pool."""
    one = unit(x, 320, 1, name=f"{scope}.branch1x1")
    three = split(unit(x, 384, 1, name=f"{scope}.branch3x3_1"), f"{scope}.branch3x3_2")
    double = same(unit(x, 448, 1, name=f"{scope}.branch3x3dbl_1"), 384, 3, name=f"{scope}.branch3x3dbl_2")
    double = split(double, f"{scope}.branch3x3dbl_3")
    return one.concat(three, double, pooled(x, 192, scope), name=f"{scope}.concat")


def split(x: Tensor, scope: str) -> Tensor:
    row, column = same(x, 384, (1, 3), name=f"{scope}a"), same(x, 384, (3, 1), name=f"{scope}b")
    return row.concat(column, name=f"{scope}.concat")


def auxiliary(x: Tensor, classes: int) -> Tensor:
    """Return the logits of the classifier that only training looks at."""
    x = unit(x.avg_pool(5, stride=3, name="AuxLogits.pool"), 128, 1, name="AuxLogits.conv0")
    x = unit(x, 768, 5, name="AuxLogits.conv1").adaptive_avg_pool(1, name="AuxLogits.avgpool")
    return x.flatten(name="AuxLogits.flatten").dense(classes, name="AuxLogits.fc")


MODELS = [Model("inception_v3", inception_v3, INPUTS, task="classification", checkpoint="torchvision inception_v3",
                reference="Szegedy et al. 2015, Rethinking the Inception architecture for computer vision, "
                          "arXiv:1512.00567")]
