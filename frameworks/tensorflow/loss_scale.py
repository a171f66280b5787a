"""Dynamic loss scaling for fp16, as docs/semantics.md pins it: Keras has it only inside an optimiser of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

GROWTH_STEPS = 2000  # good steps in a row after which the scale doubles


class LossScale:
    """What the loss is multiplied by before differentiation, and how it moves."""

    def __init__(self, first: float) -> None:
        self.scale = tf.Variable(first, trainable=False, dtype=tf.float32)
        self.good = tf.Variable(0, trainable=False, dtype=tf.int32)

    def unscale(self, gradients: Sequence[Any]) -> list[Any]:
        """Return what the gradients are without the scale."""
        return [g / self.scale for g in gradients]

    def adjust(self, gradients: Sequence[Any]) -> Any:
        """Return whether every gradient is finite, and move the scale: down if not, up after many steps that were.

        The gradients have been all-reduced, so that every rank decides alike.
        """
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
        good = tf.where(finite, self.good + 1, 0)
        grown = tf.equal(good, GROWTH_STEPS)
        self.scale.assign(self.scale * tf.where(finite, tf.where(grown, 2.0, 1.0), 0.5))
        self.good.assign(tf.where(grown, 0, good))
        return finite
