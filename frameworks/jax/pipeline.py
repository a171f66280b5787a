"""grain on a folder of images, as JAX's users load data; threads of one process decode.

JAX has no input pipeline itself. grain is not in its environment here: 26 MB for few users. Whoever wants it adds it.
Source: https://google-grain.readthedocs.io/en/latest/data_loader/dataset.html.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from dlcompare.core.data.stream import Drawn, Source, Stream
from dlcompare.core.data.view import MEAN, STD
from dlcompare.core.errors import JobError

SCALE = np.array([1 / (255 * std) for std in STD], np.float32)[:, None, None]
SHIFT = np.array([-mean / std for mean, std in zip(MEAN, STD, strict=True)], np.float32)[:, None, None]
ABSENT = ("grain is not in this environment, and JAX has no input pipeline itself; give an interpreter that has both "
          "with --env PYTHON, or use --pipeline neutral")


class Grain(Stream):
    """A grain MapDataset, shuffled as a whole, read by threads."""

    order = "grain: MapDataset.shuffle, a permutation of the whole split"
    decoding = "Pillow, as in the neutral pipeline"

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        try:
            import grain
        except ImportError as error:
            raise JobError(ABSENT) from error
        self.grain, self.ahead = grain, 2 * source.loaders

    def epoch(self, number: int) -> Generator[Drawn, None, None]:
        source = self.source
        found = self.grain.MapDataset.range(len(source.found.names))
        if source.augment:
            found = found.shuffle(seed=source.seed + number)
        found = found[source.rank::source.world].map(Decode(source, number)).batch(source.batch, drop_remainder=True)
        options = self.grain.ReadOptions(num_threads=source.loaders, prefetch_buffer_size=self.ahead)
        for _, (rows, images, labels) in zip(range(source.steps), found.to_iter_dataset(options), strict=False):
            yield Drawn(rows, {source.image: images, source.label: labels})


class Decode:
    """From a sample's place in the split to (place, image, label)."""

    def __init__(self, source: Source, number: int) -> None:
        self.source, self.number = source, number

    def __call__(self, row: Any) -> tuple[np.int64, np.ndarray, np.int64]:
        pixels = self.source.read(int(row), epoch=self.number)
        return np.int64(row), pixels * SCALE + SHIFT, np.int64(self.source.found.labels[int(row)])
