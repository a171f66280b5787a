"""Every op of the reference: forward against an independent formula, backward against central differences."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.signal
import scipy.special
import scipy.stats

from dlcompare.core.graph.ops import OPS, Recorder, Tensor
from dlcompare.frameworks.reference.ops import TABLE
from dlcompare.frameworks.reference.unit import Call

BATCH = 3
LOWEST = float(np.finfo(np.float32).min)
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 1]])


@dataclass(frozen=True)
class Case:
    """One op on tiny inputs: shapes without batch (a tuple) or whole integer arrays, and the formula to expect.

    ``given`` says as which arguments the op takes all but the first, where that is not one after the other.
    """

    op: str
    inputs: tuple[Any, ...]
    attrs: dict[str, Any]
    expect: Callable[..., np.ndarray]
    training: bool = True
    rows: int = 1
    given: Callable[..., dict[str, Any]] | None = None

    def call(self) -> Call:
        rng, recorder = np.random.default_rng(7), Recorder()
        arrays = [a if isinstance(a, np.ndarray) else rng.standard_normal((BATCH, *a)) for a in self.inputs]
        tensors = [Tensor(f"input{i}", a.shape[1:], str(a.dtype), recorder, self.rows) for i, a in enumerate(arrays)]
        first, *others = tensors
        named = self.given(*others) if self.given else {}
        getattr(first, self.op)(*(() if named else others), name="node", **self.attrs, **named)
        node = recorder.nodes[-1]
        params = {k: rng.uniform(0.5, 1.5, p.shape) for k, p in node.params.items()}
        return Call("node", node.attrs, tuple(arrays), params, self.training)

    def __str__(self) -> str:
        mode = () if self.training else ("evaluation",)
        read = self.given.__code__.co_varnames if self.given else ()
        return "-".join([self.op, *(f"{k}{v}" for k, v in self.attrs.items()), *read, *mode])


def conv(x, *, filters, weight, kernel, stride=1, pad=0, dilation=1, bias=0.0):
    """Full correlation of each (sample, filter, channel) by SciPy, then every stride-th place; zeros between taps."""
    down, across = np.broadcast_to(stride, 2)
    spread = np.zeros((*weight.shape[:2], *((n - 1) * dilation + 1 for n in weight.shape[2:])))
    spread[:, :, ::dilation, ::dilation] = weight
    rows, columns = np.broadcast_to(pad, 2)
    padded = np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
    planes = [[sum(scipy.signal.correlate2d(image[c], w[c], mode="valid") for c in range(len(image))) for w in spread]
              for image in padded]
    return np.array(planes)[:, :, ::down, ::across] + np.reshape(bias, (-1, 1, 1))


def pool(reduce, *, fill):
    """Windows written as loops."""
    def expect(x, *, kernel, stride, pad=0):
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=fill)
        starts = [range(0, n - kernel + 1, stride) for n in x.shape[2:]]
        rows = [[reduce(x[:, :, i:i + kernel, j:j + kernel], axis=(2, 3)) for j in starts[1]] for i in starts[0]]
        return np.array(rows).transpose(2, 3, 0, 1)
    return expect


def rounded_up(x, *, kernel, stride, pad=0, ceil):
    """Windows cut off at the image's edges, from every place where one begins before the last whole one ended."""
    starts = [[k * stride - pad for k in range(math.ceil((n + 2 * pad - kernel) / stride) + 1)] for n in x.shape[2:]]
    rows = [[x[:, :, max(i, 0):i + kernel, max(j, 0):j + kernel].max((2, 3)) for j in starts[1]] for i in starts[0]]
    return np.array(rows).transpose(2, 3, 0, 1)


def adaptive(x, *, size):
    edges = [[(math.floor(i * n / size), math.ceil((i + 1) * n / size)) for i in range(size)] for n in x.shape[2:]]
    rows = [[x[:, :, a:b, c:d].mean((2, 3)) for c, d in edges[1]] for a, b in edges[0]]
    return np.array(rows).transpose(2, 3, 0, 1)


def batch_norm(x, *, weight, bias, running_mean, running_var, eps=1e-5, momentum=0.1):
    def channel(c):
        values = x[:, c]
        return (values - values.mean()) / math.sqrt(np.var(values, ddof=0) + eps) * weight[c] + bias[c]
    return np.stack([channel(c) for c in range(x.shape[1])], axis=1)


def batch_norm_evaluation(x, *, weight, bias, running_mean, running_var, eps=1e-5):
    return np.einsum("bc...,c->bc...", x, weight / np.sqrt(running_var + eps)) + np.reshape(
        bias - weight * running_mean / np.sqrt(running_var + eps), (-1, 1, 1))


def layer_norm(x, *, weight, bias, eps=1e-12):
    def row(values):
        centred = values - values.sum() / len(values)
        return centred / math.sqrt((centred**2).sum() / len(values) + eps) * weight + bias
    return np.apply_along_axis(row, -1, x)


def attention(query, key, value, mask, *, heads):
    """One sample, one head, one position at a time."""
    result, d = np.empty_like(query), query.shape[-1] // heads
    for b, h, s in np.ndindex(len(query), heads, query.shape[1]):
        own = slice(h * d, (h + 1) * d)
        bias = [0 if keep else LOWEST for keep in mask[b]]
        scores = [query[b, s, own] @ k[own] / math.sqrt(d) + m for k, m in zip(key[b], bias, strict=True)]
        result[b, s, own] = scipy.special.softmax(scores) @ value[b, :, own]
    return result


def weighted(x, label, weight):
    """One place at a time."""
    total = 0.0
    for b, s in np.ndindex(label.shape):
        total -= weight[b, s] * scipy.special.log_softmax(x[b, s])[label[b, s]]
    return np.asarray(total / len(x))


def lstm(x, h=None, c=None, lengths=None, *, units, weight_ih, weight_hh, bias_ih, bias_hh, reverse=False, init=""):
    """One sample, one step, one unit at a time."""
    y, last = np.zeros((*x.shape[:2], units)), [np.zeros((len(x), units)) for _ in "hc"]
    for b in range(len(x)):
        length = x.shape[1] if lengths is None else lengths[b]
        state = [np.zeros(units) if h is None else h[b], np.zeros(units) if c is None else c[b]]
        for t in sorted(range(length), reverse=reverse):
            new = [np.zeros(units), np.zeros(units)]
            for k in range(units):
                rows = [k + gate * units for gate in range(4)]
                i, f, g, o = (weight_ih[r] @ x[b, t] + bias_ih[r] + weight_hh[r] @ state[0] + bias_hh[r] for r in rows)
                new[1][k] = logistic(f) * state[1][k] + logistic(i) * np.tanh(g)
                new[0][k] = logistic(o) * np.tanh(new[1][k])
            state, y[b, t] = new, new[0]
        last[0][b], last[1][b] = state
    return (y, *last) if lengths is None else (y, last[0])


def gru(x, h=None, lengths=None, *, units, weight_ih, weight_hh, bias_ih, bias_hh, reverse=False, init=""):
    y, last = np.zeros((*x.shape[:2], units)), np.zeros((len(x), units))
    for b in range(len(x)):
        state = np.zeros(units) if h is None else h[b]
        for t in sorted(range(x.shape[1] if lengths is None else lengths[b]), reverse=reverse):
            for k in range(units):
                a, own = ([weight[k + gate * units] @ value + bias[k + gate * units] for gate in range(3)]
                          for weight, value, bias in ((weight_ih, x[b, t], bias_ih), (weight_hh, state, bias_hh)))
                z = logistic(a[1] + own[1])
                y[b, t, k] = (1 - z) * math.tanh(a[2] + logistic(a[0] + own[0]) * own[2]) + z * state[k]
            state = y[b, t]
        last[b] = state
    return y, last


def logistic(x):
    return 1 / (1 + math.exp(-x))


def several(result):
    """Return the results of an op, of one as of several."""
    return result if isinstance(result, tuple) else (result,)


CASES = [
    Case("conv", ((2, 5, 6),), {"filters": 3, "kernel": 3}, conv),
    Case("conv", ((2, 6, 5),), {"filters": 3, "kernel": 3, "stride": 2, "pad": 1, "bias": False},
         lambda x, bias, **given: conv(x, **given)),
    Case("conv", ((1, 7, 7),), {"filters": 2, "kernel": 5, "stride": 3, "pad": 2}, conv),
    Case("conv", ((3, 5, 5),), {"filters": 2, "kernel": 1, "stride": 2}, conv),
    Case("conv", ((2, 5, 6),), {"filters": 3, "kernel": (1, 5), "pad": (0, 2)}, conv),
    Case("conv", ((2, 6, 5),), {"filters": 2, "kernel": (4, 3), "stride": 2, "pad": (2, 1)}, conv),
    Case("conv", ((2, 6, 5),), {"filters": 2, "kernel": 3, "stride": (2, 1), "pad": 1}, conv),
    Case("conv", ((2, 7, 6),), {"filters": 2, "kernel": (3, 2), "pad": (2, 0), "dilation": 2}, conv),
    Case("batch_norm", ((2, 3, 2),), {}, batch_norm),
    Case("batch_norm", ((4,),), {"eps": 0.1}, batch_norm),
    Case("batch_norm", ((2, 3, 2),), {"eps": 0.01}, batch_norm_evaluation, training=False),
    Case("relu", ((4, 3),), {}, lambda x: np.where(x > 0, x, 0)),
    Case("gelu", ((4, 3),), {}, lambda x: x * scipy.stats.norm.cdf(x)),
    Case("tanh", ((4, 3),), {}, lambda x: 1 - 2 / (np.exp(2 * x) + 1)),
    Case("max_pool", ((2, 6, 7),), {"kernel": 2, "stride": 2}, pool(np.max, fill=-np.inf)),
    Case("max_pool", ((2, 6, 5),), {"kernel": 3, "stride": 2, "pad": 1}, pool(np.max, fill=-np.inf)),
    Case("max_pool", ((2, 6, 7),), {"kernel": 3, "stride": 2, "ceil": True}, rounded_up),
    Case("max_pool", ((2, 5, 6),), {"kernel": 5, "stride": 3, "pad": 1, "ceil": True}, rounded_up),
    Case("avg_pool", ((2, 5, 6),), {"kernel": 2, "stride": 1}, pool(np.mean, fill=0)),
    Case("avg_pool", ((2, 6, 5),), {"kernel": 3, "stride": 2, "pad": 1}, pool(np.mean, fill=0)),
    Case("adaptive_avg_pool", ((2, 5, 7),), {"size": 3}, adaptive),
    Case("adaptive_avg_pool", ((2, 2, 3),), {"size": 4}, adaptive),
    Case("adaptive_avg_pool", ((2, 4, 3),), {"size": 1}, adaptive),
    Case("flatten", ((2, 3, 2),), {},
         lambda x: np.array([[v for channel in image for row in channel for v in row] for image in x])),
    Case("dense", ((4,),), {"features": 3}, lambda x, weight, bias, **_: np.einsum("bi,fi->bf", x, weight) + bias),
    Case("dense", ((2, 4),), {"features": 3, "bias": False},
         lambda x, weight, **_: np.einsum("bsi,fi->bsf", x, weight)),
    Case("dropout", ((4,),), {"rate": 0.0}, lambda x, rate: x),
    Case("dropout", ((4,),), {"rate": 0.5}, lambda x, rate: x, training=False),
    Case("add", ((2, 3), (2, 3)), {}, np.add),
    Case("concat", ((2, 3, 2), (1, 3, 2), (3, 3, 2)), {},
         lambda *images: np.stack([channel for x in images for channel in x.swapaxes(0, 1)], axis=1)),
    Case("scale", ((2, 3),), {"factor": -0.25}, lambda x, factor: x / -4),
    Case("layer_scale", ((3, 2, 4),), {}, lambda x, weight: np.einsum("bchw,c->bchw", x, weight)),
    Case("layer_scale", ((2, 3),), {}, lambda x, weight: np.einsum("bsf,f->bsf", x, weight)),
    Case("embedding", (np.array([[0, 3, 3], [1, 0, 4], [4, 4, 4]]),), {"rows": 5, "features": 2},
         lambda ids, weight, **_: np.eye(5)[ids] @ weight),
    Case("position_embedding", ((3, 2),), {"rows": 5},
         lambda x, weight, **_: np.stack([x[:, i] + weight[i] for i in range(3)], axis=1)),
    Case("layer_norm", ((2, 4),), {}, layer_norm),
    Case("layer_norm", ((5,),), {"eps": 0.1}, layer_norm),
    Case("attention", ((5, 4), (5, 4), (5, 4), MASK), {"heads": 2}, attention),
    Case("attention", ((5, 3), (5, 3), (5, 3), np.ones_like(MASK)), {"heads": 1}, attention),
    Case("lstm", ((4, 3),), {"units": 2}, lstm),
    Case("lstm", ((3, 2), (3,), (3,)), {"units": 3, "reverse": True}, lstm,
         given=lambda h, c: {"state": (h, c)}),
    Case("lstm", ((4, 3), np.array([4, 1, 2])), {"units": 2},
         lambda x, lengths, **given: lstm(x, lengths=lengths, **given), given=lambda lengths: {"lengths": lengths}),
    Case("lstm", ((4, 3), (2,), (2,), np.array([3, 4, 1])), {"units": 2, "reverse": True}, lstm,
         given=lambda h, c, lengths: {"state": (h, c), "lengths": lengths}),
    Case("gru", ((4, 3),), {"units": 2}, gru),
    Case("gru", ((3, 2), (3,)), {"units": 3}, gru, given=lambda h: {"state": h}),
    Case("gru", ((4, 3), (2,), np.array([3, 4, 1])), {"units": 2, "reverse": True}, gru,
         given=lambda h, lengths: {"state": h, "lengths": lengths}),
    Case("select", ((4, 3),), {"index": 1, "axis": 0}, lambda x, **_: x[:, 1, :]),
    Case("select", ((4, 3),), {"index": 2, "axis": -1}, lambda x, **_: x[:, :, 2]),
    Case("cross_entropy", ((4,), np.array([3, 0, 3])), {},
         lambda x, label: -np.mean([scipy.special.log_softmax(row)[k] for row, k in zip(x, label, strict=True)])),
    Case("cross_entropy", ((2, 4), np.array([[3, 0], [0, 1], [2, 2]]), (2,)), {}, weighted),
    Case("split", ((2, 5),), {"sizes": (1, 3, 1), "axis": 1}, lambda x, **_: (x[..., :1], x[..., 1:4], x[..., 4:])),
    Case("split", ((3, 2),), {"sizes": (2, 1), "axis": -2}, lambda x, **_: (x[:, :2], x[:, 2:])),
    Case("fold", ((2, 3),), {}, lambda x: np.array([row for sample in x for row in sample])),
    Case("unfold", (np.arange(18.0).reshape(6, 3),), {"size": 2},
         lambda x, size: np.stack([x[::2], x[1::2]], axis=1), rows=2),
    Case("mean_square", ((2, 3, 2),), {}, lambda x: np.asarray(np.var(x) + np.mean(x) ** 2)),
]
TRAINING = [case for case in CASES if case.training]


def difference(function: Callable[[], float], array: np.ndarray, *, step: float = 1e-5) -> np.ndarray:
    """Return the central difference of ``function`` for each element of ``array``, which it reads."""
    result = np.empty_like(array)
    for place in np.ndindex(array.shape):
        kept, ends = array[place], []
        for sign in (1, -1):
            array[place] = kept + sign * step
            ends.append(function())
        array[place] = kept
        result[place] = (ends[0] - ends[1]) / (2 * step)
    return result


def test_every_op_has_a_unit_and_a_training_case():
    assert set(TABLE) == set(OPS) == {case.op for case in TRAINING}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_equals_an_independent_formula(case):
    call = case.call()
    result, _ = TABLE[case.op].forward(call)
    expected = case.expect(*call.inputs, **{**case.attrs, **call.params})
    for one, wanted in zip(several(result), several(expected), strict=True):
        assert (one.shape, one.dtype) == (np.shape(wanted), np.float64)
        np.testing.assert_allclose(one, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("case", TRAINING, ids=str)
def test_backward_equals_central_differences(case):
    call, unit = case.call(), TABLE[case.op]
    result, saved = unit.forward(call)
    rng = np.random.default_rng(8)
    weights = [rng.standard_normal(one.shape) for one in several(result)]
    inputs, params = unit.backward(call, saved, tuple(weights) if isinstance(result, tuple) else weights[0])
    found = dict(enumerate(inputs)) | params
    for name, array in (dict(enumerate(call.inputs)) | dict(call.params)).items():
        if array.dtype.kind == "f" and not str(name).startswith("running_"):
            slope = difference(lambda: sum(float((one * weight).sum()) for one, weight in zip(
                several(unit.forward(call)[0]), weights, strict=True)), array)
            np.testing.assert_allclose(found.pop(name), slope, rtol=1e-7, atol=1e-8, err_msg=f"gradient of {name}")
    assert all(grad is None for grad in found.values()), "integers and running statistics have no gradient"


@pytest.mark.parametrize("case", TRAINING, ids=str)
def test_an_op_changes_neither_inputs_nor_parameters(case):
    call, untouched, unit = case.call(), case.call(), TABLE[case.op]
    result, saved = unit.forward(call)
    slopes = tuple(np.ones_like(one) for one in several(result))
    unit.backward(call, saved, slopes if isinstance(result, tuple) else slopes[0])
    unit.running(call, saved)
    np.testing.assert_equal((call.inputs, call.params), (untouched.inputs, untouched.params))
