"""ResNet-50 with Horovod as a TensorFlow user writes it, in the style of keras.applications: the rate we must match.

Start it as Horovod programs are started, in the tf-horovod environment; rank 0 prints one JSON object:

    horovodrun -np 2 python native_tf_horovod.py --batch 8 --image-size 224 --steps 20 --threads 1

The network is torchvision's (stride on the 3x3 convolution), so that both sides do the same arithmetic.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers


def conv_bn(x: Any, filters: int, kernel: int, *, strides: int = 1) -> Any:
    """Convolve and normalise; a strided kernel pads like keras.applications does, explicitly and on both sides."""
    padding = "same"
    if strides > 1 and kernel > 1:
        x, padding = layers.ZeroPadding2D(kernel // 2)(x), "valid"
    x = layers.Conv2D(filters, kernel, strides=strides, padding=padding, use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def bottleneck(x: Any, filters: int, *, strides: int, project: bool) -> Any:
    short = conv_bn(x, 4 * filters, 1, strides=strides) if project else x
    x = layers.Activation("relu")(conv_bn(x, filters, 1))
    x = layers.Activation("relu")(conv_bn(x, filters, 3, strides=strides))
    x = layers.Add()([conv_bn(x, 4 * filters, 1), short])
    return layers.Activation("relu")(x)


def resnet50(size: int, classes: int) -> tf.keras.Model:
    image = layers.Input((size, size, 3))
    x = layers.Activation("relu")(conv_bn(image, 64, 7, strides=2))
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            x = bottleneck(x, 64 * 2**stage, strides=strides, project=not block)
    x = layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(image, layers.Dense(classes)(x))


def training_step(model: tf.keras.Model, optimizer: Any, *, weight_decay: float) -> Any:
    """Return the compiled step: forward, averaged gradients, momentum with coupled weight decay."""
    cross_entropy = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = cross_entropy(labels, model(images, training=True))
        weights = model.trainable_variables
        gradients = hvd.DistributedGradientTape(tape).gradient(loss, weights)
        if weight_decay:
            gradients = [g + weight_decay * w for g, w in zip(gradients, weights, strict=True)]
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return loss

    return step


def timed(step: Any, batch: tuple[Any, Any], *, steps: int) -> tuple[list[float], list[float]]:
    """Return the wall time and the processor time (all threads of this process) of each step, in seconds."""
    wall, cpu = [], []
    for _ in range(steps):
        start, busy = time.perf_counter(), time.process_time()
        float(step(*batch))
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    return wall, cpu


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = {"batch": 8, "image-size": 224, "steps": 20, "warmup": 3, "threads": 1, "inter-op": 1}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.inter_op)
    hvd.init()
    random = np.random.default_rng(hvd.rank())
    size = options.image_size
    batch = (tf.constant(random.normal(size=(options.batch, size, size, 3)), tf.float32),
             tf.constant(random.integers(0, 1000, options.batch)))
    model = resnet50(size, 1000)
    optimizer = tf.keras.optimizers.SGD(0.01, momentum=0.9)
    optimizer.build(model.trainable_variables)
    hvd.broadcast_variables(model.variables, root_rank=0)
    step = training_step(model, optimizer, weight_decay=options.weight_decay)
    timed(step, batch, steps=options.warmup)
    hvd.allreduce(tf.zeros(1), name="start")
    seconds, cpu = timed(step, batch, steps=options.steps)
    slowest = float(hvd.allreduce(tf.constant(sum(seconds), tf.float64), op=hvd.Max, name="end"))
    if hvd.rank() == 0:
        images = options.batch * options.steps * hvd.size()
        print(json.dumps({"throughput": images / slowest, "step_seconds": seconds, "cpu_seconds": cpu}), flush=True)


if __name__ == "__main__":
    main()
