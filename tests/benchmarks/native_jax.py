"""A hand-written JAX loop: ResNet-50 in plain functions under jax.jit, SGD. Knows nothing of dlcompare.

Run by whatever starts the processes and names rank, world and coordinator in the environment.
"""

import argparse
import functools
import json
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, shard_map
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

Tree = dict


def conv(x: jax.Array, w: jax.Array, stride: int = 1) -> jax.Array:
    pad = w.shape[0] // 2
    return lax.conv_general_dilated(x, w, (stride, stride), [(pad, pad), (pad, pad)],
                                    dimension_numbers=("NHWC", "HWIO", "NHWC"))


def norm(x: jax.Array, p: Tree, s: Tree, new: Tree, name: str) -> jax.Array:
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    count = x.size // mean.size
    new[name] = {"mean": 0.9 * s["mean"] + 0.1 * mean, "var": 0.9 * s["var"] + 0.1 * var * count / (count - 1)}
    return (x - mean) * lax.rsqrt(var + 1e-5) * p["scale"] + p["bias"]


def forward(params: Tree, stats: Tree, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, Tree]:
    new: Tree = {}

    def layer(x: jax.Array, name: str, stride: int = 1) -> jax.Array:
        return norm(conv(x, params[name]["w"], stride), params[name], stats[name], new, name)

    x = jax.nn.relu(layer(images, "stem", 2))
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0)))
    for name, stride in blocks():
        y = jax.nn.relu(layer(x, f"{name}.1"))
        y = jax.nn.relu(layer(y, f"{name}.2", stride))
        y = layer(y, f"{name}.3")
        x = jax.nn.relu(y + (layer(x, f"{name}.down", stride) if f"{name}.down" in params else x))
    logits = x.mean((1, 2)) @ params["fc"]["w"] + params["fc"]["b"]
    loss = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()
    return loss, new


def blocks() -> list[tuple[str, int]]:
    return [(f"{stage}.{i}", 2 if stage and not i else 1) for stage, n in enumerate((3, 4, 6, 3)) for i in range(n)]


def initial() -> tuple[Tree, Tree]:
    rng = np.random.default_rng(0)
    params: Tree = {}

    def add(name: str, kernel: int, inputs: int, outputs: int) -> None:
        w = rng.normal(0, (2 / (kernel * kernel * outputs)) ** 0.5, (kernel, kernel, inputs, outputs))
        params[name] = {"w": w.astype(np.float32), "scale": np.ones(outputs, np.float32),
                        "bias": np.zeros(outputs, np.float32)}

    add("stem", 7, 3, 64)
    inputs = 64
    for name, _ in blocks():
        width = 64 << int(name[0])
        add(f"{name}.1", 1, inputs, width)
        add(f"{name}.2", 3, width, width)
        add(f"{name}.3", 1, width, 4 * width)
        if name.endswith(".0"):
            add(f"{name}.down", 1, inputs, 4 * width)
        inputs = 4 * width
    stats = {k: {"mean": np.zeros_like(v["bias"]), "var": np.ones_like(v["bias"])} for k, v in params.items()}
    params["fc"] = {"w": rng.normal(0, 0.01, (2048, 1000)).astype(np.float32), "b": np.zeros(1000, np.float32)}
    return params, stats


def step(state: tuple[Tree, Tree, Tree], images: jax.Array, labels: jax.Array,
         lr: jax.Array) -> tuple[tuple[Tree, Tree, Tree], jax.Array]:
    params, velocity, stats = state
    stats = jax.tree.map(lambda s: s[0], stats)
    (loss, stats), grads = jax.value_and_grad(forward, has_aux=True)(params, stats, images, labels)
    grads = lax.pmean(grads, "data")
    velocity = jax.tree.map(lambda v, g, w: 0.9 * v + g + 1e-4 * w, velocity, grads, params)
    params = jax.tree.map(lambda w, v: w - lr * v, params, velocity)
    return (params, velocity, jax.tree.map(lambda s: s[None], stats)), loss[None]


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("batch", 8), ("image-size", 224), ("steps", 5), ("warmup", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    world, rank = int(os.environ.get("DLCOMPARE_WORLD", "1")), int(os.environ.get("DLCOMPARE_RANK", "0"))
    jax.config.update("jax_default_matmul_precision", "highest")
    if world > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(os.environ["DLCOMPARE_COORDINATOR"], world, rank)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    spec = (P(), P(), P("data"))
    train = jax.jit(shard_map(step, mesh=mesh, in_specs=(spec, P("data"), P("data"), P()),
                              out_specs=(spec, P("data")), check_vma=False), donate_argnums=0)

    def put(where: P, array: np.ndarray) -> jax.Array:
        return jax.make_array_from_process_local_data(NamedSharding(mesh, where), array)

    params, stats = initial()
    state = (jax.tree.map(functools.partial(put, P()), params),
             jax.tree.map(lambda p: put(P(), np.zeros_like(p)), params),
             jax.tree.map(lambda s: put(P("data"), s[None]), stats))
    rng = np.random.default_rng(rank)
    shape = (args.batch, args.image_size, args.image_size, 3)
    images = put(P("data"), rng.normal(size=shape).astype(np.float32))
    labels = put(P("data"), rng.integers(0, 10, args.batch).astype(np.int32))
    seconds = []
    for _ in range(args.warmup + args.steps):
        begin = time.perf_counter()
        state, loss = train(state, images, labels, np.float32(0.01))
        jax.block_until_ready(state)
        float(loss.addressable_data(0)[0])
        seconds.append(time.perf_counter() - begin)
    timed = seconds[args.warmup:]
    if rank == 0:
        rate = args.batch * world * len(timed) / sum(timed)
        print(json.dumps({"throughput": rate, "step_seconds": timed}), flush=True)


if __name__ == "__main__":
    main()
