"""How images become what a user's own network reads: order of axes and of channels, mean and deviation.

A dataset gives channels first, red first, normalised in its own way; a network that was trained elsewhere may want
another way, and takes anything without a word.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input

from . import Dataset, Pixels

if TYPE_CHECKING:
    import numpy as np

LAYOUTS = ("nchw", "nhwc")
CHANNELS = ("rgb", "bgr", "grey")
COVER, SQUASH = RESIZES = ("cover", "squash")  # as torchvision's Resize(n) and Resize((h, w))
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode L
COLOURS = (1, 3, 4)  # numbers of channels that images have


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a dataset's images. ``mean`` and ``std``, one number or one for each channel in the order of
    ``channels``, are of pixels from 0 to ``white``; none: the dataset's own. ``layout`` None: told from the shape.
    ``crop`` is the share of the shorter side that the centre crop is; None: the dataset's own. ``resize``: until what
    is cut covers the network's size, or to that size whatever the image's own ratio, of which ``crop`` is then a share.
    """

    layout: str | None = None
    channels: str = "rgb"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    white: float = 1.0
    crop: float | None = None
    resize: str = COVER

    @property
    def view(self) -> dict[str, Any]:
        """Return how a dataset of image files is to cut them, if not in its own way."""
        said = {"crop": self.crop, "resize": self.resize}
        return {name: value for name, value in said.items() if value not in (None, COVER)}

    @property
    def renormalises(self) -> bool:
        """Return whether pixels get another mean and deviation than the dataset gives them."""
        return bool(self.mean)

    def fitted(self, inputs: Mapping[str, Input]) -> Preprocessing:
        """Return the same with the layout settled; UsageError if mean and deviation do not fit one another."""
        if bool(self.mean) != bool(self.std) or min(self.std, default=1.0) <= 0:
            raise UsageError("--mean and --std go together, and a deviation is above 0, as in --mean 0.5 --std 0.5")
        if (self.white != 1 or self.channels == "grey") and not self.mean:
            raise UsageError("--pixels 255 and --channels grey need --mean and --std: the dataset's own are of colours "
                             "from 0 to 1")
        if self.white == 1 and max((*self.mean, *self.std), default=0.0) > 1:
            raise UsageError(f"--mean {show(self.mean)} --std {show(self.std)} is beyond pixels from 0 to 1; add "
                             "--pixels 255 if it is of pixels from 0 to 255")
        return dataclasses.replace(self, layout=self.layout or ("nhwc" if looks_last(inputs) else "nchw"))

    def data_inputs(self, inputs: Mapping[str, Input]) -> dict[str, Input]:
        """Return the inputs as the dataset has to fill them: channels first, in colour."""
        return {name: dataclasses.replace(spec, shape=self.data_shape(spec.shape)) if is_image(spec) else spec
                for name, spec in inputs.items()}

    def data_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape that the dataset has to give for a shape that the network reads."""
        channels, height, width = shape if self.layout != "nhwc" else (shape[2], shape[0], shape[1])
        return (3 if self.channels == "grey" else channels, height, width)

    def check(self, pixels: Pixels | None, inputs: Mapping[str, Input], *, data: str) -> None:
        """Raise UsageError if a dataset, whose images are made of such pixels, cannot be read so."""
        channels = [self.channels_of(spec.shape) for spec in inputs.values() if is_image(spec)]
        if (self.renormalises or self.view) and pixels is None:
            raise UsageError(f"{data} is made by rules of its own; --mean, --std, --pixels, --crop, --resize and "
                             "--channels grey are for images from files, as in --data imagefolder:PATH")
        if pixels is not None and channels[:1] == [1] and self.channels != "grey":
            raise UsageError("the network reads 1 channel; add --channels grey and the --mean and --std it was trained "
                             "with, as in --channels grey --mean 0.5 --std 0.5")
        for values in (self.mean, self.std):
            if len(values) > 1 and channels and len(values) != channels[0]:
                raise UsageError(f"--mean and --std take one number or one for each channel, and the network reads "
                                 f"{channels[0]}, not {len(values)}")

    def channels_of(self, shape: Sequence[int]) -> int:
        return shape[2] if self.layout == "nhwc" else shape[0]

    def apply(self, image: np.ndarray, pixels: Pixels | None, channels: int) -> np.ndarray:
        """Return a batch (n, colours, h, w) as the network reads it."""
        import numpy as np

        if self.channels == "bgr":
            image = image[:, ::-1]
        if self.renormalises and pixels is not None:
            order = slice(None, None, -1) if self.channels == "bgr" else slice(None)
            image = image * column(pixels.std[order]) + column(pixels.mean[order])
            if self.channels == "grey":
                image = np.repeat((image * column(LUMA)).sum(axis=1, keepdims=True), channels, axis=1)
            image = (image * np.float32(self.white) - column(self.mean)) / column(self.std)
        return np.ascontiguousarray(image.transpose(0, 2, 3, 1) if self.layout == "nhwc" else image)

    def describe(self, pixels: Pixels | None) -> str:
        """Return in words what becomes of images; ``pixels`` say what the dataset does."""
        own = self.cut() if self.view else "" if pixels is None else pixels.view
        mean, std = (self.mean, self.std) if self.renormalises or pixels is None else (pixels.mean, pixels.std)
        if self.channels == "bgr" and not self.renormalises:
            mean, std = mean[::-1], std[::-1]
        numbers = (f"pixels from 0 to {self.white:g}, mean {show(mean)}, deviation {show(std)}" if mean else
                   "normalised by the dataset's own rule")
        order = "channels last" if self.layout == "nhwc" else "channels first"
        return "; ".join(filter(None, (own, f"{self.channels.upper()}, {order}", numbers)))


    def cut(self) -> str:
        """Return in words how images are cut that are not cut in the dataset's own way."""
        if self.resize == COVER:
            return f"resized (bilinear) until the centre crop is {self.crop:g} of the shorter side"
        return "squashed (bilinear) " + (f"until the centre crop is {self.crop:g} of it" if self.crop else
                                         "to the network's size")


USUAL = Preprocessing("nchw")  # as datasets give images to networks of ours


class Preprocessed(Dataset):
    """A dataset whose images are as the network wants them; ``inputs`` are the network's."""

    def __init__(self, dataset: Dataset, inputs: Mapping[str, Input], how: Preprocessing,
                 pixels: Pixels | None) -> None:
        self.dataset, self.how, self.pixels, self.size = dataset, how, pixels, dataset.size
        self.channels = {name: how.channels_of(spec.shape) for name, spec in inputs.items() if is_image(spec)}

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        found = self.dataset.batch(indices, epoch=epoch)
        return found | {name: self.how.apply(found[name], self.pixels, channels)
                        for name, channels in self.channels.items()}

    def close(self) -> None:
        self.dataset.close()


def is_image(spec: Input) -> bool:
    return spec.role == "image" and len(spec.shape) == 3


def looks_last(inputs: Mapping[str, Input]) -> bool:
    """Return whether the first image has its channels last: its last axis is of such a size, and its first is not."""
    shape = next((spec.shape for spec in inputs.values() if is_image(spec)), (3, 1, 1))
    return shape[2] in COLOURS and shape[0] not in COLOURS


def column(values: Sequence[float]) -> np.ndarray:
    """Return numbers of channels as a factor of images, (channels, 1, 1)."""
    import numpy as np

    return np.array(values, np.float32)[:, None, None]


def show(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
