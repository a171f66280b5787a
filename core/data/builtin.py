"""The datasets that come with dlcompare.

The command line imports this at its start: a dataset's module, and NumPy with it, is imported when it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from .. import hookimpl
from . import DatasetKind

TITLES = {
    "digits": "1797 real handwritten digits of 8 x 8 pixels, resized to the model's image; built in",
    "imagefolder": "JPEG and PNG files in ImageNet's layout: imagefolder:PATH, files PATH/{train,val}/CLASS/*.jpg",
    "shapes": "generated images, as many and as hard as wanted: shapes:noise=0.2,classes=20,train=50000; built in",
    "synthetic": "invented samples for any model, kept on the device: pure compute",
}


@hookimpl
def dlcompare_datasets() -> list[DatasetKind]:
    return [DatasetKind(name, title, open=later(name, "open_dataset"), check=later(name, "check"))
            for name, title in TITLES.items()]


def later(module: str, function: str) -> Callable[..., Any]:
    """Return a function that imports a module of this package when it is called, and calls its function."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(f".{module}", __package__), function)(*args, **kwargs)

    return call
