"""tf.data on TFRecord shards, as TensorFlow's users write it: interleave, shuffle buffer, map, batch, prefetch.

Source: https://www.tensorflow.org/guide/data_performance; the crop is ``tf.image``'s for Inception, its numbers
torchvision's.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import tensorflow as tf

from dlcompare.core.data.stream import BUFFER, Drawn, Source, Stream
from dlcompare.core.data.view import AREA, CROP, MEAN, RATIO, STD, TRIES
from dlcompare.core.errors import JobError

PREFETCH = 2  # batches
CYCLE = 4  # shards that are read in turn
FEATURES = {"image/encoded": tf.io.FixedLenFeature([], tf.string),
            "image/class/label": tf.io.FixedLenFeature([], tf.int64),
            "image/number": tf.io.FixedLenFeature([], tf.int64)}


class TfData(Stream):
    """A tf.data pipeline with threads of its own; ranks take every n-th record."""

    decoding = ("TensorFlow's libjpeg, which decodes of a random crop no more than that; "
                "tf.image.resize, bilinear without antialiasing; channels last")
    ahead = PREFETCH

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        cycle = min(CYCLE, len(source.files))
        self.order = (f"tf.data: shards shuffled, {cycle} read in turn, shuffle buffer of {BUFFER} samples"
                      if source.augment else "tf.data: as the shards have it")

    def epoch(self, number: int) -> Generator[Drawn, None, None]:
        source = self.source
        try:
            for rows, images, labels in self.dataset(number):
                # The network's axes, without a copy: the trainer puts channels last again.
                yield Drawn(rows.numpy(), {source.image: images.numpy().transpose(0, 3, 1, 2),
                                           source.label: labels.numpy()})
        except tf.errors.OpError as error:
            raise JobError(f"tf.data cannot read the shards ({type(error).__name__}: {error.message}); --pipeline "
                           "neutral says which record is damaged, and --on-bad-sample skip leaves it out") from error

    def dataset(self, number: int) -> Any:
        """Return the tf.data.Dataset of one epoch: (rows, images, labels), each a batch."""
        source, seed = self.source, self.source.seed + number
        files = tf.data.Dataset.from_tensor_slices(list(source.files))
        if source.augment:
            files = files.shuffle(len(source.files), seed=seed)
        cycle = min(CYCLE, len(source.files)) if source.augment else 1
        found = files.interleave(tf.data.TFRecordDataset, cycle_length=cycle, num_parallel_calls=cycle,
                                 deterministic=True)
        if source.world > 1:
            found = found.shard(source.world, source.rank)
        if source.augment:
            found = found.shuffle(BUFFER, seed=seed)
        found = found.map(lambda record: self.sample(record, seed), num_parallel_calls=source.loaders)
        found = found.batch(source.batch, drop_remainder=True).take(source.steps).prefetch(PREFETCH)
        options = tf.data.Options()
        options.threading.private_threadpool_size = source.loaders
        options.autotune.enabled = False
        return found.with_options(options)

    def sample(self, record: Any, seed: int) -> tuple[Any, Any, Any]:
        """Return (row, image, label) of a serialised example."""
        found = tf.io.parse_single_example(record, FEATURES)
        row, encoded = found["image/number"], found["image/encoded"]
        view = training_view if self.source.augment else evaluation_view
        image = view(encoded, self.source.size, tf.stack([tf.constant(seed, tf.int64), row]))
        image = (image / 255.0 - tf.constant(MEAN)) / tf.constant(STD)
        return row, image, found["image/class/label"]


def training_view(encoded: Any, size: tuple[int, int], seed: Any) -> Any:
    """Return a random crop, resized, and flipped half of the time: float32 (height, width, 3) from 0 to 255."""
    jpeg = tf.io.is_jpeg(encoded)
    whole = tf.cond(jpeg, lambda: tf.image.extract_jpeg_shape(encoded), lambda: tf.shape(decoded(encoded)))
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        whole, tf.zeros([1, 0, 4]), seed=seed, min_object_covered=0.0, aspect_ratio_range=RATIO, area_range=AREA,
        max_attempts=TRIES, use_image_if_no_bounding_boxes=True)
    (top, left, _), (high, wide, _) = tf.unstack(begin), tf.unstack(extent)
    crop = tf.cond(jpeg, lambda: tf.image.decode_and_crop_jpeg(encoded, [top, left, high, wide], channels=3),
                   lambda: tf.slice(decoded(encoded), begin, [high, wide, 3]))
    image = tf.image.resize(crop, size)
    image.set_shape((*size, 3))
    return tf.image.stateless_random_flip_left_right(image, seed=seed)


def evaluation_view(encoded: Any, size: tuple[int, int], seed: Any) -> Any:
    """Return the centre of the image resized until that covers the view: float32 (height, width, 3) from 0 to 255."""
    image = decoded(encoded)
    shape = tf.shape(image)
    high, wide = shape[0], shape[1]
    least_high, least_wide = (round(side / CROP) for side in size)
    by_width = wide * least_high <= high * least_wide
    target = tf.cond(by_width, lambda: (high * least_wide // wide, least_wide),
                     lambda: (least_high, wide * least_high // high))
    top = tf.cast(tf.round((target[0] - size[0]) / 2), tf.int32)
    left = tf.cast(tf.round((target[1] - size[1]) / 2), tf.int32)
    return tf.image.crop_to_bounding_box(tf.image.resize(image, target), top, left, *size)


def decoded(encoded: Any) -> Any:
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)
