"""What a loader process runs: reads image files, cuts and resizes them as torchvision's reference recipe does.

Pixels stay bytes here; the worker normalises them. ``loaders`` starts these processes and states the protocol.
"""

from __future__ import annotations

import io
import json
import math
import os
import signal
import sys
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from dlcompare.core.data.images.pixels import rgb, why
from dlcompare.core.data.preprocess import COVER
from dlcompare.core.data.records.formats import Place, encoded
from dlcompare.core.data.streams import AUGMENT, uniform
from dlcompare.core.data.view import AREA, CROP, RATIO, TRIES
from dlcompare.core.errors import JobError


class Box(NamedTuple):
    """A part of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int


def read(place: Place | bytes, *, size: tuple[int, int], draws: np.ndarray | None, **view: Any) -> np.ndarray:
    """Return an image as uint8 (3, height, width): the training view that ``draws`` pick, or the evaluation view.

    Raises:
        OSError, SyntaxError, ValueError, ...: whatever Pillow raises for a file it cannot read.
    """
    with Image.open(opened(place)) as file:
        image = rgb(file)
    seen = (evaluation_view(image, size=size, **view) if draws is None else
            training_view(image, size=size, draws=draws))
    return np.ascontiguousarray(np.asarray(seen).transpose(2, 0, 1))


def opened(place: Place | bytes) -> str | io.BytesIO:
    """Return what Pillow opens to read the image at a place; raises as ``formats.encoded``."""
    if isinstance(place, str):
        return place
    return io.BytesIO(place if isinstance(place, bytes) else encoded(place))


def view_of(place: Place, index: int, *, size: tuple[int, int], seed: int, epoch: int, train: bool,
            image: bytes | None = None) -> np.ndarray:
    """Return a sample's view, uint8 (3, height, width), of a place, or of the encoded bytes that were read there;
    JobError if it cannot be read.
    """
    draws = draws_of(index, seed=seed, epoch=epoch) if train else None
    try:
        return read(place if image is None else image, size=size, draws=draws)
    except Exception as problem:  # Pillow's decoders raise nearly anything for a broken file
        raise JobError(f"cannot read the image {called(place)}: {why(problem)}") from problem


def training_view(image: Image.Image, *, size: tuple[int, int], draws: np.ndarray) -> Image.Image:
    """Return RandomResizedCrop (bilinear, antialiased) and a horizontal flip; ``draws`` are uniform numbers."""
    box = random_box(image.width, image.height, draws=draws)
    view = resized_box(image, box, size=size)
    return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draws[-1] < 0.5 else view


def draws_of(index: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the random numbers of one sample in one epoch, float64: area and ratio for each try, place, flip."""
    return uniform(2 * TRIES + 3, seed=seed, key=(AUGMENT, epoch, index))


def random_box(width: int, height: int, *, draws: np.ndarray) -> Box:
    """Return torchvision's random crop: ten tries at a random area and ratio, else the central one."""
    for area, ratio in draws[: 2 * TRIES].reshape(TRIES, 2):
        pixels = width * height * (AREA[0] + area * (AREA[1] - AREA[0]))
        shape = math.exp(math.log(RATIO[0]) + ratio * (math.log(RATIO[1]) - math.log(RATIO[0])))
        wide, high = round(math.sqrt(pixels * shape)), round(math.sqrt(pixels / shape))
        if 0 < wide <= width and 0 < high <= height:
            top, left = draws[2 * TRIES : 2 * TRIES + 2]
            return Box(int(left * (width - wide + 1)), int(top * (height - high + 1)), wide, high)
    return central_box(width, height)


def central_box(width: int, height: int) -> Box:
    """Return the largest central box whose ratio is allowed."""
    wide = min(width, round(height * RATIO[1]))
    high = min(height, round(width / RATIO[0]))
    return Box((width - wide) // 2, (height - high) // 2, wide, high)


def resized_box(image: Image.Image, box: Box, *, size: tuple[int, int]) -> Image.Image:
    """Return a part of an image resized to (height, width)."""
    # resize's own ``box`` would let pixels outside the box bleed in; the reference crops first
    part = image.crop((box.left, box.top, box.left + box.width, box.top + box.height))
    return part.resize(size[::-1], Image.Resampling.BILINEAR)


def evaluation_view(image: Image.Image, *, size: tuple[int, int], crop: float | None = None,
                    resize: str = COVER) -> Image.Image:
    """Return the centre of the image resized so that the view is a share of its shorter side, 224 / 256 as a rule.

    ``resize`` SQUASH: of an image that takes the view's ratio, and as a rule all of it.
    """
    height, width = size
    share = crop or (CROP if resize == COVER else 1.0)
    whole = round(width / share), round(height / share)
    if resize == COVER:
        whole = covering(image.width, image.height, width=whole[0], height=whole[1])
    left, top = round((whole[0] - width) / 2), round((whole[1] - height) / 2)
    return image.resize(whole, Image.Resampling.BILINEAR).crop((left, top, left + width, top + height))


def covering(wide: int, high: int, *, width: int, height: int) -> tuple[int, int]:
    """Return the least size of the ratio wide / high that covers width x height; the longer side is rounded down."""
    if wide * height <= high * width:
        return width, high * width // wide
    return wide * height // high, height


def serve(requests: BinaryIO, replies: BinaryIO, *, size: tuple[int, int], seed: int, train: bool,
          crop: float | None = None, resize: str = COVER) -> None:
    """Answer requests until there are no more: the worker has closed the pipe, or is dead."""
    for line in requests:
        request = json.loads(line)
        views, error = [], None
        try:
            for place, index in request["samples"]:
                draws = draws_of(index, seed=seed, epoch=request["epoch"]) if train else None
                views.append(read(place, size=size, draws=draws, crop=crop, resize=resize))
        except Exception as problem:  # Pillow's decoders raise nearly anything for a broken file
            error, views = f"cannot read the image {called(place)}: {why(problem)}", []
        replies.write(json.dumps({"error": error}).encode() + b"\n")
        for pixels in views:
            replies.write(pixels.data)
        replies.flush()


def called(place: Place) -> str:
    """Return a place in words."""
    return place if isinstance(place, str) else f"at byte {place[2]} of {place[1]}"


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the worker decides when this ends
    settings = json.loads(sys.argv[1])
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to the log, not among the replies
    try:
        serve(sys.stdin.buffer, replies, **settings)
    except BrokenPipeError:
        os._exit(0)  # the worker is gone, and so is whoever would read a traceback


if __name__ == "__main__":
    main()
