"""The table: neutral op -> a function of ``jax.numpy`` and ``jax.lax``; shapes are (batch, *node.shape).

Convention: a tensor with three axes besides the batch is stored in the layout of the ``Context``, every other one as
the neutral graph has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from dlcompare.core.graph import Graph, Node
from dlcompare.core.graph.ops.windows import bin_weights, borders, both

from .recurrent import layer

Params = dict[str, Array]
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)  # channels, with the batch axis
KERNEL = {"NHWC": (2, 3, 1, 0), "NCHW": (0, 1, 2, 3)}  # OIHW -> as stored


@dataclass
class Context:
    """What a walk over a graph carries: how it is done, and the running statistics that it moves."""

    train: bool
    layout: str  # NHWC | NCHW
    compute: Any  # dtype of convolutions, dense layers and attention
    key: Array | None  # of the dropout masks
    moved: Params  # running statistics by full name, filled in training

    def spatial(self, inner: tuple[Any, Any], *, others: Any) -> tuple[Any, ...]:
        """Return a value for each axis of an image batch: those of height and width, another for the rest."""
        return (others, *inner, others) if self.layout == "NHWC" else (others, others, *inner)

    @property
    def channels(self) -> int:
        """Return the axis of an image batch that holds the channels."""
        return 3 if self.layout == "NHWC" else 1

    @property
    def plane(self) -> tuple[int, int]:
        """Return the axes of an image batch that hold height and width."""
        return (1, 2) if self.layout == "NHWC" else (2, 3)


def walk(graph: Graph, nodes: tuple[Node, ...], params: Params, batch: dict[str, Array],
         context: Context) -> dict[str, Array]:
    """Return every node's result by name; traced once under jit, so a step costs no walk."""
    values = dict(batch)
    for node in nodes:
        arguments = [values[name] for name in node.inputs]
        local = {k: params[node.param_name(k)] for k in node.params}
        values.update(node.named(TABLE[node.op](node, arguments, local, context)))
    return {name: values[name] for node in nodes for name in node.results}


def to_device_form(array: np.ndarray, layout: str) -> np.ndarray:
    """Return a batch as it is kept on the device: images in the layout, integers in 32 bits."""
    if array.ndim == 4 and layout == "NHWC":
        array = array.transpose(LAST)
    return np.ascontiguousarray(array, np.int32 if array.dtype == np.int64 else array.dtype)


def neutral(array: Any, layout: str) -> np.ndarray:
    """Return a result in float32, images with the channels first."""
    found = np.asarray(array, np.float32)
    return np.ascontiguousarray(found.transpose(FIRST)) if found.ndim == 4 and layout == "NHWC" else found


def image(x: Array, context: Context) -> Array:
    """Return an image batch with the channels first, any other tensor as it is."""
    return x.transpose(FIRST) if x.ndim == 4 and context.layout == "NHWC" else x


def stored(x: Array, context: Context) -> Array:
    """Return an image batch with the channels first as it is kept, any other tensor as it is."""
    return x.transpose(LAST) if x.ndim == 4 and context.layout == "NHWC" else x


def conv(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    attrs, pads = node.attrs, [(pad, pad) for pad in both(node.attrs["pad"])]
    numbers = ("NHWC", "HWIO", "NHWC") if context.layout == "NHWC" else ("NCHW", "OIHW", "NCHW")
    y = lax.conv_general_dilated(
        args[0].astype(context.compute), params["weight"].astype(context.compute), both(attrs["stride"]), pads,
        rhs_dilation=both(attrs.get("dilation", 1)), dimension_numbers=numbers)
    return y + channelwise(params["bias"], y, context) if attrs["bias"] else y


def channelwise(values: Array, x: Array, context: Context) -> Array:
    """Return values by channel in x's dtype, shaped so that they broadcast over x."""
    if x.ndim == 4 and context.layout == "NCHW":
        values = values[:, None, None]
    return values.astype(x.dtype)


def batch_norm(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    x, eps, momentum = args[0].astype(jnp.float32), node.attrs["eps"], node.attrs["momentum"]
    mean, var = params["running_mean"], params["running_var"]
    if context.train:
        axes = tuple(i for i in range(x.ndim) if i != (context.channels if x.ndim == 4 else 1))
        mean = x.mean(axes)
        var = jnp.square(x - channelwise(mean, x, context)).mean(axes)
        count = x.size // mean.size
        for name, batch in (("running_mean", mean), ("running_var", var * (count / (count - 1)))):
            context.moved[node.param_name(name)] = (1 - momentum) * params[name] + momentum * lax.stop_gradient(batch)
    scale = params["weight"] * lax.rsqrt(var + eps)
    y = (x - channelwise(mean, x, context)) * channelwise(scale, x, context) + channelwise(params["bias"], x, context)
    return y.astype(args[0].dtype)


def max_pool(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    return window(node, args[0], context, lax.max, -np.inf)


def avg_pool(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    return window(node, args[0], context, lax.add, 0.0) / node.attrs["kernel"] ** 2


def window(node: Node, x: Array, context: Context, reduce: Any, start: float) -> Array:
    kernel, stride, pad = (node.attrs[k] for k in ("kernel", "stride", "pad"))
    height, width = (borders(x.shape[axis], kernel, stride, pad, ceil=node.attrs.get("ceil", False))
                     for axis in context.plane)
    return lax.reduce_window(x, np.asarray(start, x.dtype), reduce, context.spatial((kernel, kernel), others=1),
                             context.spatial((stride, stride), others=1),
                             context.spatial((height, width), others=(0, 0)))


def adaptive_avg_pool(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    x, size = args[0], node.attrs["size"]
    height, width = (x.shape[axis] for axis in context.plane)
    if size == height == width:
        return x
    if size == 1:
        return x.mean(context.plane, keepdims=True)
    rows, columns = (jnp.asarray(bin_weights(n, size), x.dtype) for n in (height, width))
    return jnp.einsum("ih,nhwc,jw->nijc" if context.layout == "NHWC" else "ih,nchw,jw->ncij", rows, x, columns)


def dense(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    x = image(args[0], context)
    y = x.astype(context.compute) @ params["weight"].astype(context.compute).T
    return y + params["bias"].astype(y.dtype) if node.attrs["bias"] else y


def dropout(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    x, rate = args[0], node.attrs["rate"]
    if not context.train or rate == 0:
        return x
    if context.key is None:
        raise ValueError(f"dropout {node.name!r} needs a key")
    context.key, mine = jax.random.split(context.key)
    return jnp.where(jax.random.bernoulli(mine, 1 - rate, x.shape), x / (1 - rate), 0)


def layer_norm(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    x = image(args[0], context).astype(jnp.float32)
    centred = x - x.mean(-1, keepdims=True)
    scale = lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + node.attrs["eps"])
    return (centred * scale * params["weight"] + params["bias"]).astype(args[0].dtype)


def attention(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    """As ``jax.nn.dot_product_attention``, with the mask's meaning pinned: the most negative float32 is added."""
    query, key, value = (split(x.astype(context.compute), node.attrs["heads"]) for x in args[:3])
    scores = jnp.einsum("nqhd,nkhd->nhqk", query * query.shape[-1] ** -0.5, key).astype(jnp.float32)
    blocked = jnp.where(args[3] == 0, jnp.finfo(jnp.float32).min, 0.0)[:, None, None, :]
    weights = jax.nn.softmax(scores + blocked).astype(value.dtype)
    mixed = jnp.einsum("nhqk,nkhd->nqhd", weights, value)
    return mixed.reshape(args[0].shape)


def split(x: Array, heads: int) -> Array:
    """Return (batch, S, features) as (batch, S, heads, features / heads)."""
    return x.reshape(*x.shape[:2], heads, -1)


def cross_entropy(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    """Return the mean over this shard: shares are equal, so averaging over shards gives the global mean."""
    logits, label, *weight = image(args[0], context).astype(jnp.float32), *args[1:]
    losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), label[..., None], axis=-1)[..., 0]
    return (losses * weight[0]).sum() / len(losses) if weight else losses.mean()


def layer_scale(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    return args[0] * channelwise(params["weight"], args[0], context)


def mean_square(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    return jnp.square(args[0].astype(jnp.float32)).mean()


def flatten(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    x = image(args[0], context)
    return x.reshape(x.shape[0], -1)


def select(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    x = image(args[0], context)
    return lax.index_in_dim(x, node.attrs["index"], node.attrs["axis"] % (x.ndim - 1) + 1, keepdims=False)


def split_axis(node: Node, args: list[Array], params: Params, context: Context) -> tuple[Array, ...]:
    x, ends = image(args[0], context), np.cumsum(node.attrs["sizes"])
    parts = jnp.split(x, ends[:-1], node.attrs["axis"] % (x.ndim - 1) + 1)
    return tuple(stored(part, context) for part in parts)


def fold(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    x = image(args[0], context)
    return stored(x.reshape(-1, *x.shape[2:]), context)


def unfold(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    x = image(args[0], context)
    return stored(x.reshape(-1, node.attrs["size"], *x.shape[1:]), context)


def embedding(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    return params["weight"][args[0]].astype(context.compute)


def position_embedding(node: Node, args: list[Array], params: Params, context: Context) -> Array:
    return args[0] + params["weight"][: args[0].shape[1]].astype(args[0].dtype)


def recurrent(node: Node, args: list[Array], params: Params, context: Context) -> tuple[Array, ...]:
    return layer(node.op, args, params, reverse=node.attrs["reverse"], compute=context.compute)


def pointwise(function: Callable[..., Array]) -> Op:
    return lambda node, args, params, context: function(*args)


Op = Callable[[Node, list[Array], Params, Context], Any]  # an array, or a tuple of several results

TABLE: dict[str, Op] = {
    "conv": conv,
    "batch_norm": batch_norm,
    "relu": pointwise(jax.nn.relu),
    "gelu": pointwise(lambda x: jax.nn.gelu(x, approximate=False)),
    "tanh": pointwise(jnp.tanh),
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "adaptive_avg_pool": adaptive_avg_pool,
    "flatten": flatten,
    "dense": dense,
    "dropout": dropout,
    "add": pointwise(jnp.add),
    "concat": lambda node, args, params, context: jnp.concatenate(args, context.channels),
    "scale": lambda node, args, params, context: args[0] * node.attrs["factor"],
    "layer_scale": layer_scale,
    "embedding": embedding,
    "position_embedding": position_embedding,
    "layer_norm": layer_norm,
    "attention": attention,
    "lstm": recurrent,
    "gru": recurrent,
    "select": select,
    "cross_entropy": cross_entropy,
    "mean_square": mean_square,
    "split": split_axis,
    "fold": fold,
    "unfold": unfold,
}
