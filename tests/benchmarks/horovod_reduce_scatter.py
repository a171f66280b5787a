"""How often Horovod's reduce-scatter over Gloo is wrong, in a bare loop of its own.

    horovodrun --gloo -np 2 PYTHON tests/benchmarks/horovod_reduce_scatter.py [BYTES=16777216] [CALLS=150]

Runs in the environment of tf-horovod, whose paths ``dlcompare env list`` shows. Every call has other numbers, whole
ones whose sums are exact.
"""

from __future__ import annotations

import sys

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf


def main() -> None:
    size, calls = int((sys.argv + [""] * 2)[1] or 1 << 24), int((sys.argv + [""] * 3)[2] or 150)
    hvd.init()
    rank, world = hvd.rank(), hvd.size()
    scatter = tf.function(lambda x: hvd.reducescatter(x, op=hvd.Sum, name="x"), autograph=False)
    random, bad = np.random.default_rng(0), 0  # the same on every rank
    for call in range(calls):
        given = [random.integers(0, 20000, size // 4).astype(np.float32) for _ in range(world)]
        wanted = np.sum(given, axis=0).reshape(world, -1)[rank]
        wrong = np.flatnonzero(scatter(tf.constant(given[rank])).numpy() != wanted)
        bad += bool(wrong.size)
        if wrong.size:
            print(f"rank {rank} call {call}: {wrong.size} wrong of {wanted.size}, {wrong[0]}..{wrong[-1]}", flush=True)
    print(f"rank {rank}: {bad} of {calls} calls wrong at {size} bytes", flush=True)


if __name__ == "__main__":
    main()
