"""A model on offer: a name, a function over recording tensors, and what its inputs are."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dlcompare.core.errors import UsageError

from . import Graph, Input
from .ops import Tensor, trace


@dataclass(frozen=True)
class Model:
    """One network, written once.

    ``build`` takes a tensor per input and returns named outputs, the scalar ``loss`` among them. ``task`` is
    ``classification`` or ``span``; ``reference`` names the paper; parameter names are those of ``checkpoint``. A
    ``build`` that takes ``classes`` can be given another number of them.
    """

    name: str
    build: Callable[..., Mapping[str, Tensor]]
    inputs: Mapping[str, Input]
    task: str
    reference: str
    checkpoint: str = ""  # whose parameter names these are: "torchvision resnet50"

    @property
    def data(self) -> str:
        """Return the default dataset: real images where the network reads images, else synthetic tokens."""
        return "digits" if "image" in self.inputs else "synthetic"

    @property
    def classes(self) -> int | None:
        """Return how many classes the model tells apart by itself; None if it is no classifier."""
        return next((spec.high for spec in self.inputs.values() if spec.role == "label"), None)

    @property
    def takes_classes(self) -> bool:
        """Return whether its last layer can be given another number of classes."""
        return self.classes is not None and "classes" in inspect.signature(self.build).parameters

    def graph(self, image_size: int | None = None, classes: int | None = None) -> Graph:
        """Trace the model; ``image_size`` replaces the height and width of the image input, ``classes`` the last layer.

        Raises:
            UsageError: the model has no image input or no classes, or the size is too small for its layers.
        """
        inputs: dict[str, Any] = dict(self.inputs)
        build = self.build
        if classes not in (None, self.classes):
            inputs, build = self.labelled(classes), functools.partial(self.build, classes=classes)
        if image_size is not None:
            if "image" not in inputs:
                raise UsageError(f"model {self.name!r} reads no image, so --image-size has no meaning for it")
            channels = inputs["image"].shape[0]
            inputs["image"] = dataclasses.replace(inputs["image"], shape=(channels, image_size, image_size))
        try:
            return trace(self.name, build, inputs)
        except ValueError as error:
            if image_size is None:
                raise
            raise UsageError(f"model {self.name!r} cannot take {image_size} x {image_size} images: {error}") from error

    def labelled(self, classes: int | None) -> dict[str, Input]:
        """Return the inputs with labels of so many classes; UsageError if the model cannot have another number."""
        if not self.takes_classes:
            why = f"it always tells {self.classes} apart" if self.classes else "it is no classifier"
            raise UsageError(f"model {self.name!r} cannot be given {classes} classes: {why}; leave --classes out")
        return {name: dataclasses.replace(spec, high=classes) if spec.role == "label" else spec
                for name, spec in self.inputs.items()}
