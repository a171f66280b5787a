"""AlexNet in its "one weird trick" form: no local response normalisation, no split over two devices."""

from dlcompare.core.graph import Input
from dlcompare.core.graph.model import Model
from dlcompare.core.graph.ops import Tensor

INPUTS = {"image": Input((3, 224, 224)), "label": Input((), "int64", "label", high=1000)}


def alexnet(image: Tensor, label: Tensor, *, classes: int = 1000) -> dict[str, Tensor]:
    """Return a logit for each class and their loss; node names are torchvision's."""
    x = image.conv(64, kernel=11, stride=4, pad=2, name="features.0").relu(name="features.1")
    x = x.max_pool(kernel=3, stride=2, name="features.2")
    x = x.conv(192, kernel=5, pad=2, name="features.3").relu(name="features.4")
    x = x.max_pool(kernel=3, stride=2, name="features.5")
    x = x.conv(384, kernel=3, pad=1, name="features.6").relu(name="features.7")
    x = x.conv(256, kernel=3, pad=1, name="features.8").relu(name="features.9")
    x = x.conv(256, kernel=3, pad=1, name="features.10").relu(name="features.11")
    x = x.max_pool(kernel=3, stride=2, name="features.12")
    x = x.adaptive_avg_pool(6, name="avgpool").flatten(name="flatten")
    x = x.dropout(0.5, name="classifier.0").dense(4096, name="classifier.1").relu(name="classifier.2")
    x = x.dropout(0.5, name="classifier.3").dense(4096, name="classifier.4").relu(name="classifier.5")
    logits = x.dense(classes, name="classifier.6")
    return {"logits": logits, "loss": logits.cross_entropy(label, name="loss")}


MODELS = [Model("alexnet", alexnet, INPUTS, task="classification", checkpoint="torchvision alexnet",
                reference="Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks")]
