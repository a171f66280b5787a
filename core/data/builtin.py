"""The datasets that come with dlcompare.

The command line imports this at its start: a dataset's module, and NumPy with it, is imported when it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dlcompare.core import hookimpl
from dlcompare.core.graph import Input

from . import DatasetKind, Pixels

TITLES = {  # by the module below this package
    "images.digits": "1797 real handwritten digits of 8 x 8 pixels, resized to the model's image; built in",
    "images.imagefolder": "image files in ImageNet's layout: imagefolder:PATH, files PATH/{train,val}/CLASS/*.jpg",
    "arrays": "arrays of your own by input name, for networks of your own: arrays:FILE.npz, or a folder of .npy",
    "generated.shapes": "generated images, as many and as hard as wanted: shapes:noise=0.2,classes=20,train=50000; "
                        "built in",
    "generated.synthetic": "invented samples for any model, kept on the device: pure compute",
}
SHARDS = {
    "tfrecord": "shards of TFRecord, with tf.train.Example as TensorFlow's ImageNet has them: tfrecord:PATH",
    "recordio": "shards of MXNet's RecordIO, with image headers: recordio:PATH",
    "webdataset": "tar shards as webdataset reads them: webdataset:PATH",
}
SCANNED = ("images.imagefolder", "arrays")  # whose samples are a user's, and may be damaged
ENDLESS = ("generated.synthetic",)  # which has as many samples and classes as the network wants
IMAGENET = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225),
                  "resized (bilinear) until the centre crop is 224/256 of the shorter side")
PIXELS = {"images.imagefolder": IMAGENET}


@hookimpl
def dlcompare_datasets() -> list[DatasetKind]:
    return [DatasetKind(module.rpartition(".")[2], title, open=later(module, "open_dataset"),
                        check=later(module, "check"), scan=later(module, "scan") if module in SCANNED else nothing,
                        classes=None if module in ENDLESS else later(module, "classes"),
                        size=None if module in ENDLESS else later(module, "size"), pixels=PIXELS.get(module))
            for module, title in TITLES.items()] + [of_shards(name, title) for name, title in SHARDS.items()]


def of_shards(name: str, title: str) -> DatasetKind:
    """Return the dataset of one format of shards."""
    found = {part: partial(later("records.dataset", part), name) for part in ("check", "scan", "classes", "size")}
    return DatasetKind(name, title, open=partial(later("records.dataset", "open_dataset"), name), pixels=IMAGENET,
                       **found)


def nothing(argument: str, inputs: Mapping[str, Input], **how: Any) -> dict[str, str]:
    """Return what is wrong with samples that are made here: nothing."""
    return {}


def later(module: str, function: str) -> Callable[..., Any]:
    """Return a function that imports a module of this package when it is called, and calls its function."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(f".{module}", __package__), function)(*args, **kwargs)

    return call
