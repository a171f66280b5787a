"""A hand-written Gluon loop: ResNet-50 v1b, Trainer, KVStore. Knows nothing of dlcompare; run as its launcher runs.

The block is model_zoo's ``resnet50_v1`` with the stride in the 3 x 3 convolution and no biases before batch norm, as
torchvision has it. Several workers (DMLC_NUM_WORKER) use ``dist_sync``, updating once, on the server, as Trainer
does by default, or with ``--update worker`` in every worker, as dlcompare does.
"""

import argparse
import json
import os
import time

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn


class Bottleneck(gluon.HybridBlock):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.HybridSequential()
        self.body.add(nn.Conv2D(width, 1, use_bias=False, in_channels=inputs), nn.BatchNorm(), nn.Activation("relu"),
                      nn.Conv2D(width, 3, stride, 1, use_bias=False, in_channels=width), nn.BatchNorm(),
                      nn.Activation("relu"), nn.Conv2D(outputs, 1, use_bias=False, in_channels=width), nn.BatchNorm())
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.HybridSequential()
            self.downsample.add(nn.Conv2D(outputs, 1, stride, use_bias=False, in_channels=inputs), nn.BatchNorm())

    def hybrid_forward(self, F, x):  # type: ignore[no-untyped-def]
        identity = x if self.downsample is None else self.downsample(x)
        return F.Activation(self.body(x) + identity, act_type="relu")


def resnet50() -> gluon.HybridBlock:
    network = nn.HybridSequential()
    network.add(nn.Conv2D(64, 7, 2, 3, use_bias=False, in_channels=3), nn.BatchNorm(), nn.Activation("relu"),
                nn.MaxPool2D(3, 2, 1))
    inputs = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(blocks):
            network.add(Bottleneck(inputs, width, stride if i == 0 else 1))
            inputs = 4 * width
    network.add(nn.GlobalAvgPool2D(), nn.Flatten(), nn.Dense(1000, in_units=2048))
    return network


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("batch", 8), ("image-size", 224), ("steps", 5), ("warmup", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--update", choices=["server", "worker"], default="server", help="server: Trainer's default")
    args = parser.parse_args()  # threads: OMP_NUM_THREADS says it, and is read when mxnet is imported
    workers = int(os.environ.get("DMLC_NUM_WORKER", "1"))
    store = mx.kv.create("dist_sync") if workers > 1 else None
    network = resnet50()
    network.initialize(mx.init.Xavier())
    network.hybridize(static_alloc=True, static_shape=True)
    criterion = gluon.loss.SoftmaxCrossEntropyLoss()
    criterion.hybridize(static_alloc=True, static_shape=True)
    trainer = gluon.Trainer(network.collect_params(), "sgd", {"learning_rate": 0.01, "momentum": 0.9, "wd": 1e-4},
                            kvstore=store, update_on_kvstore=args.update == "server" if store else None)
    images = nd.random.normal(shape=(args.batch, 3, args.image_size, args.image_size))
    labels = nd.random.randint(0, 10, shape=(args.batch,))
    seconds = []
    for _ in range(args.warmup + args.steps):
        begin = time.perf_counter()
        with autograd.record():
            loss = criterion(network(images), labels)
        loss.backward()
        trainer.step(args.batch * workers)
        nd.waitall()
        loss.mean().asscalar()
        seconds.append(time.perf_counter() - begin)
    timed = seconds[args.warmup:]
    if store is None or store.rank == 0:
        rate = args.batch * workers * len(timed) / sum(timed)
        print(json.dumps({"throughput": rate, "step_seconds": timed}), flush=True)
    if store:
        store._barrier()  # Gluon has no other; then leave before the servers, whose end is an error
        os._exit(0)


if __name__ == "__main__":
    main()
