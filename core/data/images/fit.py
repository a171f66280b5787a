"""Whether a dataset fits the inputs that a model declares, and the words for when it does not."""

from __future__ import annotations

from collections.abc import Mapping

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input


def no_argument(argument: str, *, dataset: str) -> None:
    """Raise UsageError if something follows the dataset's name."""
    if argument:
        raise UsageError(f"dataset {dataset!r} takes no argument, but got {argument!r}; write --data {dataset}")


def image_and_label(inputs: Mapping[str, Input], *, dataset: str, classes: int) -> tuple[str, str]:
    """Return the names of the image and the label input.

    Raises:
        UsageError: the model reads anything but one (channels, height, width) image and one scalar label, or tells
            fewer classes apart than the dataset has.
    """
    names = {spec.role: name for name, spec in inputs.items()}
    if sorted(spec.role for spec in inputs.values()) != ["image", "label"]:
        reads = ", ".join(f"{name} ({spec.role})" for name, spec in inputs.items())
        raise UsageError(f"dataset {dataset!r} holds images with one label each, but this model reads {reads}; "
                         "use --data synthetic, which fills any input")
    image, label = inputs[names["image"]], inputs[names["label"]]
    if len(image.shape) != 3 or label.shape:
        raise UsageError(f"dataset {dataset!r} gives images of (channels, height, width) and scalar labels, but this "
                         f"model reads {image.shape} and {label.shape}; use --data synthetic")
    if label.high is not None and label.high < classes:
        raise UsageError(f"dataset {dataset!r} has {classes} classes, but this model tells only {label.high} apart; "
                         f"give --classes {classes} (and weights of as many), or --data synthetic")
    return names["image"], names["label"]
