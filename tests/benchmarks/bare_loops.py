"""All-reduces in blocks, ours and bare, turn about: ``bare_loops.py FRAMEWORK BLOCKS CALLS FOLDER``."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlcompare.core.kinds.comm.payload import given
from dlcompare.core.kinds.comm.result import RankPoint
from dlcompare.core.kinds.comm.worker import Bench
from dlcompare.core.plugins.collectives import ALL_REDUCE, CollectiveJob
from dlcompare.core.plugins.registry import plugins

SIZE, COUNT = 1 << 20, 1 << 18  # bytes, float32 numbers
Pair = tuple[Callable[[], object], Callable[[], object]]  # barrier, all-reduce


def torch_pair(engine: Any) -> Pair:
    import torch
    import torch.distributed as dist

    x = torch.zeros(COUNT)
    return dist.barrier, lambda: dist.all_reduce(x)


def horovod_pair(engine: Any) -> Pair:
    import horovod.tensorflow as hvd
    import tensorflow as tf

    x, one = tf.zeros(COUNT), tf.zeros(1)
    meet = tf.function(lambda: hvd.allreduce(one, op=hvd.Sum, name="meet"), autograph=False)
    return meet, tf.function(lambda: hvd.allreduce(x, op=hvd.Sum, name="x"), autograph=False)


def jax_pair(engine: Any) -> Pair:
    import jax
    import numpy as np
    from jax.sharding import PartitionSpec as P

    axis = engine.mesh.axis_names[0]
    add = jax.jit(jax.shard_map(lambda x: jax.lax.psum(x, axis), mesh=engine.mesh, in_specs=P(axis), out_specs=P(),
                                check_vma=False))
    x, one = engine.put(np.zeros(COUNT, np.float32)), engine.put(np.zeros(1, np.float32))
    return lambda: add(one).block_until_ready(), lambda: add(x).block_until_ready()


def mxnet_pair(engine: Any) -> Pair:
    import mxnet as mx

    store, x, one = engine.store, mx.nd.zeros(COUNT), mx.nd.zeros(2, dtype="float64")
    keys = (1 << 20, (1 << 20) + 1)  # far from those of the engine
    store.init(list(keys), [x, one])

    def send(key: int, value: Any) -> None:
        store.pushpull(key, value)
        value.wait_to_read()

    return lambda: send(keys[1], one), lambda: send(keys[0], x)


PAIRS = {"pytorch-ddp": torch_pair, "tf-horovod": horovod_pair, "jax": jax_pair, "mxnet": mxnet_pair}


def bare(barrier: Callable[[], object], call: Callable[[], object], calls: int) -> list[float]:
    """Return the seconds of so many calls on this rank."""
    seconds = []
    for _ in range(calls):
        barrier()
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return seconds


def main() -> None:
    framework, blocks, calls, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    job, backend = CollectiveJob(framework), plugins().backend(framework)
    backend.load()
    engine = backend.collectives(job)
    point = RankPoint(size=SIZE, asked=SIZE, in_place=ALL_REDUCE in engine.in_place)
    payloads = [given(ALL_REDUCE, SIZE, rank=engine.rank, world=engine.world, turn=turn) for turn in (0, 1)]
    call = engine.call(ALL_REDUCE, payloads, in_place=point.in_place)
    bench = Bench(job, backend, engine, lambda *_: None)  # type: ignore[arg-type]
    pair = PAIRS[framework](engine)
    ways: dict[str, Callable[[], Any]] = {"ours": lambda: bench.timed(call, point, calls),
                                          "bare": lambda: bare(*pair, calls)}
    found: list[dict[str, float]] = []
    for number in range(-1, blocks):  # the first pair is warm-up
        order = list(ways) if number % 2 else list(ways)[::-1]
        taken = {name: [max(engine.gather(one)) for one in ways[name]()] for name in order}
        found.append({name: statistics.median(seconds) for name, seconds in taken.items()})
    if engine.rank == 0:
        (folder / "pairs.json").write_text(json.dumps(found[1:]))
    engine.barrier()


if __name__ == "__main__":
    main()
