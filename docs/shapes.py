"""Draws docs/shapes.png, the first images of the dataset ``shapes``: ``.venv/bin/python docs/shapes.py [FILE]``.

Columns: the 20 classes. Rows: two images of each class without blend and noise, the same with blend, the same with the
default blend and noise.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from dlcompare.core.data.generated import shapes
from dlcompare.core.graph import Input

INPUTS = {"image": Input((3, 32, 32)), "label": Input((), "int64", "label", 20)}
ROWS = ("blend=0,noise=0", "noise=0", "")


def sheet() -> Image.Image:
    """Return all images side by side, a value of 0 as middle grey."""
    rows = []
    for argument in ROWS:
        data = shapes.open_dataset(argument, INPUTS, seed=0, train=True, loaders=1)
        images = data.batch(np.arange(40), epoch=0)["image"]
        pixels = np.clip(images * 42 + 128, 0, 255).astype(np.uint8)
        rows.append(pixels.reshape(2, 20, 3, 32, 32).transpose(0, 3, 1, 4, 2).reshape(64, 640, 3))
    return Image.fromarray(np.concatenate(rows))


if __name__ == "__main__":
    sheet().save(sys.argv[1] if sys.argv[1:] else Path(__file__).with_suffix(".png"), optimize=True)
