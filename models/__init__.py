"""The networks on offer: each written once, as a function over recording tensors."""

from dlcompare.core import hookimpl
from dlcompare.core.graph.model import Model

from . import alexnet, bert, googlenet, inception, resnet, vgg


@hookimpl
def dlcompare_models() -> list[Model]:
    """Return every built-in model."""
    return [*alexnet.MODELS, *vgg.MODELS, *googlenet.MODELS, *inception.MODELS, *resnet.MODELS, *bert.MODELS]
