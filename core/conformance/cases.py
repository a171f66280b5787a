"""The conformance cases: tiny graphs, each of which fails when one meaning in docs/semantics.md is got wrong.

Whole-model runs hide some mistakes (a biased running variance changes statistics over 4 096 values by 0.02 %); a
2 x 2 image with batch 4 shows them at once. Sizes are even where asymmetric padding would show, variances are small
where an epsilon would show, and values are negative where padding with zeros would show.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dlcompare.core.data.weights import balanced, weights_among
from dlcompare.core.graph import Graph, Input
from dlcompare.core.graph.ops import Tensor, trace
from dlcompare.core.plugins.job import ALL, MATRICES
from dlcompare.core.plugins.optimiser import ADAM, ADAMW, NESTEROV, SGD

from . import recurrent
from .recurrent import CARRIED, LENGTHS

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays

BATCH = 4  # global: divides among 1, 2 and 4 workers
STEPS = 4
BEFORE = "before"


@dataclass(frozen=True)
class Case:
    """One graph to hold a backend against the reference on.

    ``pins`` says which meaning the case pins; ``batches`` are global, one per optimiser step; ``trains`` is False
    where training is random (dropout) and only evaluation is compared; ``random``: the masks of its training are
    judged by their statistics; ``decay``, ``optimiser`` and ``clip`` are the job's; ``heavy`` marks a whole model: it
    steps more gently, and its steps take long enough for the clock to be checked.
    """

    name: str
    pins: str
    graph: Graph
    params: Arrays
    batches: tuple[Arrays, ...]
    trains: bool = True
    heavy: bool = False
    random: bool = False
    decay: str = ALL
    optimiser: str = SGD
    clip: float | None = None


@dataclass(frozen=True)
class Recipe:
    """How a tiny case is made: an input ``x`` goes through a layer that hardly changes it, then through ``build``.

    ``build`` is given that tensor and the ``extra`` inputs by name; the loss reads what it returns. ``aside`` makes a
    second output, which the loss does not reach. ``x`` is drawn from (shift + normal) * scale, and ``fill`` gives some
    parameters one value. ``wide`` says that its numbers are beyond fp16's range, so that nothing can be told in it.
    """

    pins: str
    build: Callable[..., Tensor]
    shape: tuple[int, ...] = (3, 6, 6)
    scale: float = 1.0
    shift: float = 0.0
    extra: Mapping[str, Input] = field(default_factory=dict)
    aside: Callable[[Tensor], Tensor] | None = None
    fill: Mapping[str, float] = field(default_factory=dict)
    trains: bool = True
    wide: bool = False
    squared: bool = False  # the loss is the mean square, and no cross-entropy
    weighted: bool = False  # the loss has a label and a weight for each place
    decay: str = ALL
    optimiser: str = SGD
    clip: float | None = None


IDS = {"ids": Input((5,), "int64", "ids", 7)}
MASK = {"mask": Input((5,), "int64", "mask", 2)}


def _residual(x: Tensor) -> Tensor:
    y = x.conv(3, 3, pad=1, name="conv")
    return y.add(x, name="sum").relu(name="relu").add(y.scale(0.5, name="half"), name="sum2")


def _attend(x: Tensor, mask: Tensor) -> Tensor:
    query, key, value = (x.dense(8, name=n) for n in ("query", "key", "value"))
    return query.attention(key, value, mask, heads=2, name="attention")


def _select(x: Tensor) -> Tensor:
    return x.select(1, axis=0, name="row").add(x.select(3, axis=-1, name="column"), name="sum")


def _two_layers(x: Tensor) -> Tensor:
    return x.dense(6, name="fc1").tanh(name="tanh").dense(5, name="fc2")


def _split(x: Tensor) -> Tensor:
    front = x.split((2, 3), axis=0, name="channels")
    joined = front.result("1").concat(front, name="concat")
    return joined.split((1, 2), axis=-1, name="columns").result("1")


def _fold_images(x: Tensor) -> Tensor:
    y = x.fold(name="fold").conv(4, 3, pad=1, name="conv").batch_norm(name="bn")
    return y.unfold(2, name="unfold")


def _table(x: Tensor, ids: Tensor) -> Tensor:
    words = ids.embedding(7, 8, name="words")
    return words.add(x, name="sum").dense(7, share=words, name="logits")


def _one_layer_twice(x: Tensor) -> Tensor:
    y = x.conv(3, 3, pad=1, name="head")
    return y.relu(name="relu").conv(3, 3, pad=1, share=y, name="again")


def _branches(x: Tensor) -> Tensor:
    return x.conv(2, 1, name="conv").concat(x, x.relu(name="relu"), name="concat")


RECIPES: dict[str, Recipe] = {
    "conv-symmetric-padding": Recipe("padding is symmetric at stride 2, never SAME",
                                     lambda x: x.conv(4, 3, stride=2, pad=1, bias=False, name="conv")),
    "conv-wide-stride": Recipe("a 7 x 7 kernel at stride 2 with padding 3, not flipped",
                               lambda x: x.conv(4, 7, stride=2, pad=3, name="conv"), (3, 8, 6)),
    "conv-floor": Recipe("windows that do not fit are dropped", lambda x: x.conv(4, 3, stride=3, name="conv"),
                         (2, 8, 8)),
    "conv-rectangular": Recipe("kernel and padding are height first, width second",
                               lambda x: x.conv(4, (1, 5), pad=(0, 2), name="wide").conv(3, (3, 1), pad=(1, 0),
                                                                                         name="tall")),
    "conv-stride-pair": Recipe("the stride along the height comes first",
                               lambda x: x.conv(4, 3, stride=(2, 1), pad=1, name="conv")),
    "conv-dilation": Recipe("the taps of a kernel lie apart",
                            lambda x: x.conv(4, 3, pad=2, dilation=2, name="conv"), (3, 7, 6)),
    "concat-order": Recipe("channels are joined in the order given", _branches),
    "batch-norm-statistics": Recipe("running statistics: momentum direction, unbiased variance, per process",
                                    lambda x: x.batch_norm(name="bn"), (3, 2, 2), shift=0.5),
    "batch-norm-epsilon": Recipe("epsilon 1e-5 inside the root", lambda x: x.batch_norm(name="bn"), (3, 3, 3), 0.01),
    "relu": Recipe("max(x, 0), without a ceiling", lambda x: x.relu(name="relu"), scale=4.0),
    "relu-at-zero": Recipe("the gradient at 0 is 0", lambda x: x.dense(5, name="zero").relu(name="relu"), (4,),
                           fill={"zero.weight": 0.0, "zero.bias": 0.0}),
    "gelu": Recipe("the error function, not tanh", lambda x: x.gelu(name="gelu"), scale=2.0),
    "tanh": Recipe("hyperbolic tangent", lambda x: x.tanh(name="tanh")),
    "max-pool-padding": Recipe("padding is minus infinity, floor rule",
                               lambda x: x.max_pool(3, 2, pad=1, name="pool"), (3, 6, 8), shift=-3.0),
    "max-pool-ceil": Recipe("rounding up, a last window sticks out below and right, over minus infinity",
                            lambda x: x.max_pool(3, 2, ceil=True, name="pool"), (3, 6, 8), shift=-3.0),
    "avg-pool-padding": Recipe("padded zeros count in the mean, floor rule",
                               lambda x: x.avg_pool(3, 2, pad=1, name="pool"), (3, 8, 6), shift=2.0),
    "adaptive-avg-pool": Recipe("bins from floor(i*n/size) to ceil((i+1)*n/size)",
                                lambda x: x.adaptive_avg_pool(3, name="pool"), (2, 8, 5)),
    "flatten-order": Recipe("channels are the slowest axis", lambda x: x.flatten(name="flat").dense(5, name="fc"),
                            (3, 2, 4)),
    "dense": Recipe("x W^T + b over the last axis", lambda x: x.dense(5, name="fc"), (4, 6)),
    "residual": Recipe("gradients of a tensor used several times add up", _residual),
    "embedding": Recipe("row lookup; row 0 is one like any other",
                        lambda x, ids: ids.embedding(7, 8, name="words").add(x, name="sum"), (5, 8), extra=IDS),
    "position-embedding": Recipe("the first S rows are added", lambda x: x.position_embedding(9, name="positions"),
                                 (5, 4)),
    "layer-norm-epsilon": Recipe("biased variance, epsilon 1e-12 inside the root", lambda x: x.layer_norm(name="ln"),
                                 (5, 8), 1e-4, wide=True),
    "layer-scale-channels": Recipe("a factor for each channel, not for each column", lambda x: x.layer_scale(name="ls"),
                                   (3, 4, 3)),
    "layer-scale-features": Recipe("a factor for each element of the last axis", lambda x: x.layer_scale(name="ls"),
                                   (5, 4)),
    "attention-mask": Recipe("scale 1/sqrt(d), masked keys get no weight", _attend, (5, 8), extra=MASK),
    "lstm": Recipe("gates i, f, g, o and nothing added to them; both biases learn", lambda x: x.lstm(6, name="lstm"),
                   (5, 8)),
    "lstm-state": Recipe("it begins with the state that it is given, and hands on that behind the last step",
                         recurrent.lstm_state, (5, 8)),
    "lstm-lengths": Recipe("beyond a sample's length outputs are 0 and the state is held", recurrent.lstm_lengths,
                           (5, 8), extra=LENGTHS),
    "lstm-reverse": Recipe("backwards from the end of each sample, not of its padding; outputs stay in place",
                           recurrent.lstm_reverse, (5, 8), extra=LENGTHS),
    "gru": Recipe("gates r, z, n; the reset gate behind the product; z is what stays", recurrent.gru, (5, 8)),
    "gru-lengths": Recipe("lengths and reverse are as an LSTM's", recurrent.gru_lengths, (5, 8), extra=LENGTHS),
    "carried-state": Recipe("a step begins with the state that the one before left, and sends no gradient back to it",
                            recurrent.carried, (5, 8), extra=CARRIED),
    "select": Recipe("one index of an axis, also counted from the end", _select, (5, 5)),
    "split": Recipe("stretches of an axis in order, also counted from the end", _split, (5, 4, 3)),
    "fold": Recipe("a sample's rows stay together in the batch",
                   lambda x: x.fold(name="fold").dense(5, name="fc").unfold(3, name="unfold"), (3, 4, 6)),
    "fold-images": Recipe("rows are samples to what comes after, batch norm among it", _fold_images, (2, 3, 4, 4)),
    "shared-table": Recipe("a table that is looked up and multiplied by learns from both", _table, (5, 8), extra=IDS),
    "shared-layer": Recipe("a layer used twice has one set of parameters", _one_layer_twice),
    "dropout-evaluation": Recipe("dropout is the identity in evaluation", lambda x: x.dropout(0.5, name="dropout"),
                                 trains=False),
    "cross-entropy": Recipe("the mean over the batch of -log softmax(x)[label]", lambda x: x, (5,)),
    "cross-entropy-large-logits": Recipe("softmax takes the maximum off first",
                                         lambda x: x.dense(5, name="large"), (4,), fill={"large.bias": 100.0}),
    "mean-square": Recipe("the mean over the batch and all elements of x^2, not half of it", lambda x: x, (3, 4, 2),
                          squared=True),
    "weighted-cross-entropy": Recipe("the mean over the global batch of weighted sums; weights come from the loader",
                                     lambda x: x.dense(6, name="fc"), (5, 4), weighted=True),
    "gradient-average": Recipe("gradients are averaged over the workers", _two_layers, (4,)),
    "sgd": Recipe("v = m v + g + wd w; w = w - lr v, under a changing learning rate", _two_layers, (4,)),
    "nesterov": Recipe("v = m v + g + wd w; w = w - lr (g + wd w + m v)", _two_layers, (4,), optimiser=NESTEROV),
    "adam": Recipe("moments corrected for their start, weight decay in the gradient, also of untouched rows",
                   lambda x, ids: ids.embedding(12, 8, name="words").add(x, name="sum"), (5, 8),
                   extra={"ids": Input((5,), "int64", "ids", 12)}, optimiser=ADAM),
    "adamw": Recipe("weight decay beside the gradient, times the learning rate", _two_layers, (4,), optimiser=ADAMW),
    "adamw-small-gradients": Recipe("epsilon, as large as gradients, stands beside the corrected root",
                                    lambda x: _two_layers(x).scale(1e-3, name="small"), (4,),
                                    optimiser=f"{ADAMW}:0.8,0.98,1e-4"),
    "clip": Recipe("the mean gradient of all parameters together is shortened to a norm", _two_layers, (4,), 4.0,
                   clip=1.0),
    "decay-of-matrices": Recipe("weight decay may spare what has one axis: biases and scales", _two_layers, (4,),
                                decay=MATRICES),
    "unreached-parameters": Recipe("what the loss does not reach stays put, weight decay included", _two_layers, (4,),
                                   aside=lambda x: x.dense(3, name="aside")),
}


def tiny(name: str) -> Case:
    """Return a tiny case; KeyError if there is none of that name."""
    recipe = RECIPES[name]
    graph = _graph(name, recipe)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    params = {k: _draw(rng, k, p.shape) for k, p in graph.params().items()}
    params |= {k: np.full_like(params[k], value) for k, value in recipe.fill.items()}
    batches = tuple(_batch(rng, graph, recipe) for _ in range(STEPS))
    return Case(name, recipe.pins, graph, params, batches, trains=recipe.trains, decay=recipe.decay,
                optimiser=recipe.optimiser, clip=recipe.clip)


def _graph(name: str, recipe: Recipe) -> Graph:
    """Return the graph; it is traced twice because the labels' bound is the width of what the loss reads."""
    places = recipe.shape[:-1] if recipe.weighted else ()

    def build(x: Tensor, label: Tensor, weight: Tensor | None = None, **extra: Tensor) -> dict[str, Tensor]:
        near = before(x)
        y = recipe.build(near, **extra)
        outputs = {"y": y, "loss": y.mean_square(name="loss") if recipe.squared else entropy(y, label, weight)}
        outputs |= {spec.follows: y.result(k) for k, spec in recipe.extra.items() if spec.follows}
        return outputs | ({"aside": recipe.aside(near)} if recipe.aside else {})

    def traced(classes: int) -> Graph:
        inputs = {"x": Input(recipe.shape), **recipe.extra, "label": Input(places, "int64", "label", classes)}
        return trace(name, build, inputs | ({"weight": Input(places, role="weight")} if recipe.weighted else {}))

    draft = traced(1)
    read = draft.shapes()[draft.node("loss").inputs[0]]
    return traced(read[-1] if recipe.weighted else math.prod(read))


def entropy(y: Tensor, label: Tensor, weight: Tensor | None) -> Tensor:
    if weight is not None:
        return y.cross_entropy(label, weight, name="loss")
    flat = y if len(y.shape) == 1 else y.flatten(name="flatten_for_loss")
    return flat.cross_entropy(label, name="loss")


def before(x: Tensor) -> Tensor:
    """A layer that hardly changes x, so that the op under test has a gradient to pass on."""
    if len(x.shape) == 3:
        return x.conv(x.shape[0], 1, bias=False, name=BEFORE)
    return x.dense(x.shape[-1], bias=False, name=BEFORE)


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = rng.standard_normal(shape) * 0.5
    if name == f"{BEFORE}.weight":
        values = np.eye(shape[0]).reshape(shape) + 0.2 * values
    elif name.endswith(("running_var", "bn.weight", "ln.weight")):
        values = 1 + np.abs(values)  # a negative variance or a scale near 0 would test nothing
    return values.astype(np.float32)


def _batch(rng: np.random.Generator, graph: Graph, recipe: Recipe) -> Arrays:
    batch: Arrays = {}
    for name, spec in graph.inputs.items():
        if spec.role == "weight":  # of words that there are and are not, unequally many in each sample
            batch[name] = rng.integers(0, 2, (BATCH, *spec.shape)).astype(np.float32)
        elif spec.dtype == "float32":
            values = (recipe.shift + rng.standard_normal((BATCH, *spec.shape))) * recipe.scale
            batch[name] = values.astype(np.float32)
        elif spec.role == "length":  # the shortest and the longest among them
            longest = (spec.high or 2) - 1
            batch[name] = rng.permutation([1, longest, *rng.integers(1, longest + 1, BATCH - 2)])
        elif spec.role == "mask":
            lengths = rng.integers(1, spec.shape[0], BATCH)
            batch[name] = (np.arange(spec.shape[0]) < lengths[:, None]).astype(np.int64)
        else:
            batch[name] = rng.integers(0, spec.high or 1, (BATCH, *spec.shape), dtype=np.int64)
    return balanced(batch, weights_among(graph.inputs))
