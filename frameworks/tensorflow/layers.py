"""Layers where Keras has none of exactly the meaning: the same kernels, and why each is here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.keras import layers


class Apply(layers.Layer):
    """A function of tensors as a layer."""

    def __init__(self, function: Callable[..., Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs: list[Any]) -> Any:
        return self.function(*inputs)


class BatchNorm(layers.Layer):
    """Keras' fused kernel with our epsilon: ``tf.nn.fused_batch_norm`` silently raises it to 1.001e-5.

    The kernel updates the running variance with the unbiased batch variance.
    """

    def __init__(self, eps: float, momentum: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.eps, self.momentum = eps, momentum

    def build(self, shape: Any) -> None:
        def weight(name: str, *, trainable: bool = True) -> Any:
            return self.add_weight(name, shape[-1:], tf.float32, "ones", trainable=trainable,
                                   experimental_autocast=False)

        self.gamma, self.beta = weight("gamma"), weight("beta")
        self.mean, self.variance = weight("moving_mean", trainable=False), weight("moving_variance", trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        images = x if x.shape.rank == 4 else x[:, None, None, :]
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images, scale=self.gamma, offset=self.beta, mean=self.mean, variance=self.variance, epsilon=self.eps,
            exponential_avg_factor=self.momentum if training else 1.0, is_training=training)
        if training:
            self.mean.assign(mean)
            self.variance.assign(variance)
        return y if x.shape.rank == 4 else y[:, 0, 0, :]


class LayerNorm(layers.Layer):
    """Always in float32, and subtracts the mean first: Keras' form x * a + (b - mean * a) cancels digits."""

    def __init__(self, eps: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.eps = eps

    def build(self, shape: Any) -> None:
        self.gamma = self.add_weight("gamma", shape[-1:], tf.float32, "ones", experimental_autocast=False)
        self.beta = self.add_weight("beta", shape[-1:], tf.float32, "zeros", experimental_autocast=False)

    def call(self, x: Any) -> Any:
        wide = tf.cast(x, tf.float32)
        centred = wide - tf.reduce_mean(wide, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        return tf.cast(centred * tf.math.rsqrt(variance + self.eps) * self.gamma + self.beta, x.dtype)


class LayerScale(layers.Layer):
    """x times a learned factor for each element of the last axis, where images have their channels."""

    def build(self, shape: Any) -> None:
        self.factor = self.add_weight("factor", shape[-1:], tf.float32, "ones")

    def call(self, x: Any) -> Any:
        return x * self.factor


class PositionEmbedding(layers.Layer):
    """x plus the first rows of a learned table."""

    def __init__(self, rows: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = rows

    def build(self, shape: Any) -> None:
        self.table = self.add_weight("embeddings", (self.rows, shape[-1]), tf.float32, "zeros")

    def call(self, x: Any) -> Any:
        return x + self.table[:x.shape[1]]


class OverTable(layers.Layer):
    """A dense layer whose weight is an embedding's table, (features, inputs), which Keras' own has the other way."""

    def __init__(self, table: Any, use_bias: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table, self.use_bias, self.bias = table, use_bias, None

    def build(self, shape: Any) -> None:
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.table.shape[0],), tf.float32, "zeros")

    def call(self, x: Any) -> Any:
        y = tf.tensordot(x, tf.cast(self.table, x.dtype), [[-1], [1]])
        return y if self.bias is None else y + self.bias
