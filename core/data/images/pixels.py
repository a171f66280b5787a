"""Pixels as a file stores them, as 8-bit RGB: deeper ones scaled by the range the file defines, none turned.

Pillow's own conversion of grey images of more than 8 bits clips them at 255, which makes them plain white; and it turns
TIFF files alone by their EXIF orientation. Loader processes under several versions of Pillow import this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

SCALED = ("PNG", "PPM", "JPEG2000")  # formats whose deeper integers fill 16 bits by definition, or by Pillow's decoder
BITS, PHOTOMETRIC, ORIENTATION, FORMAT, LEAST, MOST = 258, 262, 274, 339, 340, 341  # tags of TIFF 6.0
WHITE_IS_ZERO, UNSIGNED = 0, 1
TURN_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def rgb(image: Image.Image) -> Image.Image:
    """Return an opened image as RGB, unturned.

    Raises:
        ValueError: it is deeper than 8 bits, and nothing says which values are black and white.
        OSError, SyntaxError, ...: whatever Pillow raises for a file it cannot read.
    """
    if not is_deep(image):
        return unturned(image).convert("RGB")
    black, white = value_range(image)
    return eight_bits(unturned(image), black=black, white=white).convert("RGB")


def is_deep(image: Image.Image) -> bool:
    """Return whether an image is one of Pillow's single channels of more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def unturned(image: Image.Image) -> Image.Image:
    """Load an image and undo the turn that Pillow gives to a TIFF file."""
    if image.format != "TIFF":
        return image
    orientation = image.getexif().get(ORIENTATION)  # read first: loading removes it
    image.load()
    return image.transpose(TURN_BACK[orientation]) if orientation in TURN_BACK else image


def eight_bits(image: Image.Image, *, black: float, white: float) -> Image.Image:
    """Return a deep image as 8-bit grey; what lies beyond black and white is clipped."""
    values = np.asarray(image).astype(np.float64)
    if np.isnan(values).any():
        raise ValueError("it holds values that are not a number; repair or remove it")
    return Image.fromarray(np.rint((values - black) * 255 / (white - black)).clip(0, 255).astype(np.uint8))


def value_range(image: Image.Image) -> tuple[float, float]:
    """Return which values of a deep image are black and white; ValueError if nothing says so."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        black, white = tiff_range(image.tag_v2)
        return (white, black) if image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO else (black, white)
    if image.mode == "F" or image.format not in SCALED:
        raise ValueError(f"mode {image.mode} of a {image.format} file says of no value that it is white; "
                         "convert it to 8 or 16 bits")
    return 0, 65535


def tiff_range(tags: Any) -> tuple[float, float]:
    """Return the range that a TIFF file states, or else that of unsigned integers of at most 16 bits."""
    if LEAST in tags and MOST in tags:
        least, most = (float(np.ravel(tags[tag])[0]) for tag in (LEAST, MOST))
        if least < most:
            return least, most
    bits, kind = int(np.ravel(tags[BITS])[0]), int(np.ravel(tags.get(FORMAT, UNSIGNED))[0])
    if kind == UNSIGNED and bits <= 16:
        return 0, 2**bits - 1
    what = {1: "unsigned integers", 2: "signed integers", 3: "floating point"}.get(kind, "values of an unknown kind")
    raise ValueError(f"it holds {bits}-bit {what} and does not state their range (tags SMinSampleValue and "
                     "SMaxSampleValue); write those tags, or convert it to 8 or 16 bits")


def why(problem: Exception) -> str:
    """Return in words why an image could not be read."""
    if isinstance(problem, Image.DecompressionBombError):
        return f"{problem} Make it smaller: a network sees a few hundred pixels a side"
    if isinstance(problem, UnidentifiedImageError):
        return f"it begins like no image that Pillow {PIL.__version__} knows"
    if isinstance(problem, FileNotFoundError):
        return "there is no such file; if it is a link, it leads nowhere"
    return str(problem) or type(problem).__name__
