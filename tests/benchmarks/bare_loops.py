"""A bare loop of all-reduces for each engine: ``bare_loops.py FRAMEWORK BYTES CALLS FOLDER``, by its launcher.

Knows nothing of dlcompare but how its launcher tells a JAX process who it is. Leaves each call's seconds on each rank.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WARMUP = 5
Loop = tuple[int, Callable[[], object], Callable[[], object]]  # rank, barrier, one call


def torch_loop(count: int) -> Loop:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    x = torch.zeros(count)
    atexit.register(os._exit, 0)
    return dist.get_rank(), dist.barrier, lambda: dist.all_reduce(x)


def horovod_loop(count: int) -> Loop:
    import horovod.tensorflow as hvd
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    hvd.init()
    x, one = tf.zeros(count), tf.zeros(1)
    meet = tf.function(lambda: hvd.allreduce(one, op=hvd.Sum, name="meet"), autograph=False)
    return hvd.rank(), meet, tf.function(lambda: hvd.allreduce(x, op=hvd.Sum, name="x"), autograph=False)


def jax_loop(count: int) -> Loop:
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding
    from jax.sharding import PartitionSpec as P

    rank, world = int(os.environ["DLCOMPARE_RANK"]), int(os.environ["DLCOMPARE_WORLD"])
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(os.environ["DLCOMPARE_COORDINATOR"], world, rank)
    mesh = Mesh(np.array(jax.devices()), ("i",))
    add = jax.jit(jax.shard_map(lambda x: jax.lax.psum(x, "i"), mesh=mesh, in_specs=P("i"), out_specs=P(),
                                check_vma=False))

    def put(size: int) -> Any:
        return jax.make_array_from_process_local_data(NamedSharding(mesh, P("i")), np.zeros(size, np.float32),
                                                      (world * size,))
    x, one = put(count), put(1)
    return rank, lambda: add(one).block_until_ready(), lambda: add(x).block_until_ready()


def mxnet_loop(count: int) -> Loop:
    import mxnet as mx

    store = mx.kv.create("dist_sync")
    x, one = mx.nd.zeros(count), mx.nd.zeros(1)
    store.init(0, one)
    store.init(1, x)
    atexit.register(os._exit, 0)

    def send(key: int, value: Any) -> None:
        store.pushpull(key, value)
        value.wait_to_read()
    return store.rank, lambda: send(0, one), lambda: send(1, x)


LOOPS = {"pytorch-ddp": torch_loop, "tf-horovod": horovod_loop, "jax": jax_loop, "mxnet": mxnet_loop}


def main() -> None:
    framework, size, calls, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    rank, barrier, call = LOOPS[framework](size // 4)
    seconds = []
    for _ in range(WARMUP + calls):
        barrier()
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    (folder / f"times-{rank}.json").write_text(json.dumps(seconds[WARMUP:]))
    barrier()


if __name__ == "__main__":
    main()
