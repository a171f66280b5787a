"""MXNet's ImageRecordIter on RecordIO shards, with OpenCV's decoder and its own threads.

Source: https://mxnet.apache.org/versions/1.9.1/api/python/docs/api/mxnet/io/index.html#mxnet.io.ImageRecordIter.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from dlcompare.core.data.stream import Drawn, Source, Stream
from dlcompare.core.data.view import AREA, CROP, MEAN, RATIO, STD
from dlcompare.core.errors import JobError

CHANNELS = "rgb"
BILINEAR = 1
PREFETCH = 4  # batches, the iterator's own default
CHUNK_MB = 4  # that a shuffle within chunks mixes: the iterator's own default
TRAINING = {"shuffle": True, "shuffle_chunk_size": CHUNK_MB, "random_resized_crop": True, "min_random_area": AREA[0],
            "max_random_area": AREA[1], "min_aspect_ratio": RATIO[0], "max_aspect_ratio": RATIO[1],
            "rand_mirror": True}


class RecordIter(Stream):
    """An ImageRecordIter for each epoch, seeded anew: a reset one goes on with its own random numbers."""

    decoding = "MXNet's OpenCV, bilinear without antialiasing"
    ahead = PREFETCH

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.order = "ImageRecordIter: shards in order" + (
            f", shuffled within chunks of {CHUNK_MB} MB" if source.augment else "")
        self.list = Path(tempfile.mkdtemp(prefix="dlcompare-")) / "labels.lst"  # its ``index`` is 0 of every sample,
        self.list.write_text("".join(f"{row}\t{label}\t{row}\t-\n"  # so the number goes along as a second label
                                     for row, label in enumerate(source.found.labels)))

    def close(self) -> None:
        shutil.rmtree(self.list.parent, ignore_errors=True)

    def epoch(self, number: int) -> Generator[Drawn, None, None]:
        source = self.source
        try:
            for step, batch in enumerate(self.iterator(number)):
                if step == source.steps or batch.pad:
                    return
                both = batch.label[0].asnumpy().astype(np.int64)
                yield Drawn(both[:, 1], {source.image: batch.data[0].asnumpy(), source.label: both[:, 0]})
        except mx.base.MXNetError as error:
            first = str(error).strip().splitlines()[-1]
            raise JobError(f"ImageRecordIter cannot read the shards ({first}); --pipeline neutral says which record is "
                           "damaged, and --on-bad-sample skip leaves it out there") from error

    def iterator(self, number: int) -> Any:
        source = self.source
        (height, width), seed = source.size, source.seed + number
        shorter = round(min(height, width) / CROP)
        normal = {f"{kind}_{channel}": 255 * values[place] for kind, values in (("mean", MEAN), ("std", STD))
                  for place, channel in enumerate(CHANNELS)}
        view = {**TRAINING, "seed": seed, "seed_aug": seed} if source.augment else {"resize": shorter}
        return mx.io.ImageRecordIter(
            path_imgrec=";".join(source.files), path_imglist=str(self.list), label_width=2, batch_size=source.batch,
            data_shape=(3, height, width),
            preprocess_threads=source.loaders, inter_method=BILINEAR, prefetch_buffer=PREFETCH, round_batch=False,
            verbose=False, **normal, **view)
