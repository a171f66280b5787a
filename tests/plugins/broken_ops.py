"""Ops that are wrong in one way each: what frameworks do by default, and what is easily mistyped."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from dlcompare.core.graph.ops.windows import both, reach
from dlcompare.frameworks.reference.norms import BatchNorm, LayerNorm
from dlcompare.frameworks.reference.ops import (
    Attention,
    Concat,
    CrossEntropy,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Fold,
    Gelu,
    LayerScale,
    MeanSquare,
    PositionEmbedding,
    Relu,
    Select,
    Split,
    Tanh,
    Unfold,
)
from dlcompare.frameworks.reference.patches import AdaptiveAvgPool, AvgPool, Conv, MaxPool
from dlcompare.frameworks.reference.unit import Call


def changed(call: Call, **attrs: Any) -> Call:
    return dataclasses.replace(call, attrs={**call.attrs, **attrs})


class SamePadding(Conv):
    """TensorFlow's SAME: what is odd of the padding goes below and to the right."""

    def borders(self, call):
        spans = (reach(kernel, call.attrs.get("dilation", 1)) for kernel in both(call.attrs["kernel"]))
        sides = zip(both(call.attrs["stride"]), call.x.shape[2:], spans, both(call.attrs["pad"]), strict=True)
        return tuple(self.same(*side) for side in sides)

    def same(self, stride, size, kernel, pad):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0) if pad else 0
        return total // 2, total - total // 2


class FlippedKernel(Conv):
    """Convolution as mathematics has it."""

    def forward(self, call):
        flipped = {**call.params, "weight": call.params["weight"][..., ::-1, ::-1]}
        return super().forward(dataclasses.replace(call, params=flipped))


class WidthFirst(Conv):
    """Takes (height, width) for (width, height)."""

    def forward(self, call):
        weight = call.params["weight"].swapaxes(2, 3)
        turned = changed(call, **{k: both(call.attrs[k])[::-1] for k in ("kernel", "pad")})
        return super().forward(dataclasses.replace(turned, params={**call.params, "weight": weight}))[0], None

    def backward(self, call, saved, grad):
        return super().backward(call, super().forward(call)[1], grad)


class StrideWidthFirst(Conv):
    def turned(self, call):
        return changed(call, stride=both(call.attrs["stride"])[::-1])

    def forward(self, call):
        return super().forward(self.turned(call))

    def backward(self, call, saved, grad):
        return super().backward(self.turned(call), saved, grad)


class Undilated(Conv):
    """The taps lie side by side, in the middle of where they should."""

    def compact(self, call):
        spare = [(reach(kernel, call.attrs.get("dilation", 1)) - kernel) // 2 for kernel in both(call.attrs["kernel"])]
        pad = tuple(pad - less for pad, less in zip(both(call.attrs["pad"]), spare, strict=True))
        return changed(call, dilation=1, pad=pad)

    def forward(self, call):
        return super().forward(self.compact(call))

    def backward(self, call, saved, grad):
        return super().backward(self.compact(call), saved, grad)


class CeilConv(Conv):
    """Windows that stick out are kept."""

    def borders(self, call):
        return ceil_borders(call)


class CeilMaxPool(MaxPool):
    def borders(self, call):
        return ceil_borders(call)


class CeilAvgPool(AvgPool):
    def borders(self, call):
        return ceil_borders(call)


def ceil_borders(call):
    spans = (reach(kernel, call.attrs.get("dilation", 1)) for kernel in both(call.attrs["kernel"]))
    sides = zip(call.x.shape[2:], spans, both(call.attrs["pad"]), both(call.attrs["stride"]), strict=True)
    return tuple((pad, pad + -(size + 2 * pad - span) % stride) for size, span, pad, stride in sides)


class SticksOutAbove(MaxPool):
    """What rounding up adds goes above and to the left."""

    def borders(self, call):
        return tuple(border[::-1] for border in super().borders(call))


class ZeroPaddedMaxPool(MaxPool):
    def windows(self, call, *, fill=0.0):
        return super().windows(call)


class UncountedPadding(AvgPool):
    """``count_include_pad=False``, which SAME pooling does."""

    def forward(self, call):
        ones = dataclasses.replace(call, inputs=(np.ones_like(call.x),))
        return super().forward(call)[0] / super().forward(ones)[0], None


class StridedAdaptivePool(AdaptiveAvgPool):
    """One kernel and stride for all bins."""

    def forward(self, call):
        size = call.attrs["size"]
        rows, columns = (strided_bins(size, pixels) for pixels in call.x.shape[2:])
        return rows @ call.x @ columns.T, (rows, columns)


def strided_bins(size, pixels):
    stride = pixels // size
    kernel = pixels - (size - 1) * stride
    starts, places = np.arange(size)[:, None] * stride, np.arange(pixels)
    return ((places >= starts) & (places < starts + kernel)) / kernel


class BiasedRunningVariance(BatchNorm):
    def correction(self, count):
        return 1.0


class UnbiasedNormalisation(BatchNorm):
    def forward(self, call):
        result, saved = super().forward(call)
        if not call.training:
            return result, saved
        bias, count = call.params["bias"].reshape(-1, 1, 1), call.x.size // call.x.shape[1]
        return (result - bias) / math.sqrt(self.correction(count)) + bias, saved


class LargeEpsilon(BatchNorm):
    """Keras' default."""

    def forward(self, call):
        return super().forward(changed(call, eps=1e-3))


class FusedEpsilon(BatchNorm):
    """``tf.nn.fused_batch_norm`` raises a smaller epsilon to this one."""

    def forward(self, call):
        return super().forward(changed(call, eps=1.001e-5))


class ReversedMomentum(BatchNorm):
    """The share of the old value, as in Keras, where that of the new one was meant."""

    def running(self, call, saved):
        return super().running(changed(call, momentum=1 - call.attrs["momentum"]), saved)


class AlwaysBatchStatistics(BatchNorm):
    def forward(self, call):
        return super().forward(dataclasses.replace(call, training=True))


class LargeLayerNormEpsilon(LayerNorm):
    """PyTorch's default."""

    def forward(self, call):
        return super().forward(changed(call, eps=1e-5))


class EpsilonOutsideTheRoot(LayerNorm):
    def forward(self, call):
        x, eps = call.x, call.attrs["eps"]
        unit = (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + eps)
        return unit * call.params["weight"] + call.params["bias"], super().forward(call)[1]


class Relu6(Relu):
    def forward(self, call):
        result, saved = super().forward(call)
        return np.minimum(result, 6.0), saved


class HardTanh(Tanh):
    def forward(self, call):
        return np.clip(call.x, -1.0, 1.0), super().forward(call)[1]


class FrozenBias(Dense):
    def backward(self, call, saved, grad):
        inputs, params = super().backward(call, saved, grad)
        return inputs, {k: v * (k != "bias") for k, v in params.items()}


class SlopeAtZero(Relu):
    def forward(self, call):
        return super().forward(call)[0], call.x >= 0


class TanhGelu(Gelu):
    def forward(self, call):
        inner = math.sqrt(2 / math.pi) * (call.x + 0.044715 * call.x**3)
        return 0.5 * call.x * (1 + np.tanh(inner)), super().forward(call)[1]


class ChannelsLastFlatten(Flatten):
    def forward(self, call):
        if call.x.ndim != 4:
            return super().forward(call)
        return call.x.transpose(0, 2, 3, 1).reshape(len(call.x), -1), None

    def backward(self, call, saved, grad):
        if call.x.ndim != 4:
            return super().backward(call, saved, grad)
        batch, channels, height, width = call.x.shape
        return (grad.reshape(batch, height, width, channels).transpose(0, 3, 1, 2),), {}


class DropsInEvaluation(Dropout):
    def forward(self, call):
        keep = np.random.default_rng(0).random(call.x.shape) >= call.attrs["rate"]
        return call.x * keep / (1 - call.attrs["rate"]), None


class PaddingRow(Embedding):
    """Row 0 learns nothing."""

    def backward(self, call, saved, grad):
        inputs, params = super().backward(call, saved, grad)
        params["weight"][0] = 0
        return inputs, params


class PositionsFromOne(PositionEmbedding):
    def forward(self, call):
        return call.x + call.params["weight"][1:call.x.shape[1] + 1], None


class FirstAxis(Select):
    """Takes a negative axis for the first."""

    def place(self, call):
        return super().place(changed(call, axis=max(call.attrs["axis"], 0)))

    def forward(self, call):
        return call.x[self.place(call)], None


class FromTheEnd(Split):
    """The first stretch is the last of the axis."""

    def stretches(self, call):
        axis, size = call.attrs["axis"], call.x.shape[call.attrs["axis"] % (call.x.ndim - 1) + 1]
        return [tuple(slice(size - one.stop, size - one.start) if one != slice(None) else one for one in place)
                for place in super().stretches(changed(call, axis=axis))]


class Interleaved(Fold):
    """First rows of all samples, then second ones."""

    def forward(self, call):
        return super().forward(dataclasses.replace(call, inputs=(call.x.reshape(
            call.x.shape[1], call.x.shape[0], *call.x.shape[2:]).swapaxes(0, 1),)))


class RowsLast(Unfold):
    """The rows become the last axis."""

    def forward(self, call):
        whole = super().forward(call)[0]
        return np.moveaxis(whole, 1, -1).reshape(whole.shape), None


class Reversed(Concat):
    """Joins the last first."""

    def forward(self, call):
        return super().forward(dataclasses.replace(call, inputs=call.inputs[::-1]))


class Unscaled(Attention):
    def split(self, call):
        query, key, value = super().split(call)
        return [query * math.sqrt(query.shape[-1]), key, value]


class ScaledByWidth(Attention):
    """1 / sqrt(features) instead of 1 / sqrt(features of a head)."""

    def split(self, call):
        query, key, value = super().split(call)
        return [query / math.sqrt(call.attrs["heads"]), key, value]


class Unmasked(Attention):
    def bias(self, call):
        return np.zeros(call.inputs[3].shape)


class WeaklyMasked(Attention):
    """A penalty that large scores overcome."""

    def bias(self, call):
        return np.where(call.inputs[3] == 0, -10.0, 0.0)


class ColumnScale(LayerScale):
    """Broadcasting as NumPy does it: along the last axis of images too."""

    def forward(self, call):
        return call.x * call.params["weight"], call.params["weight"]

    def backward(self, call, saved, grad):
        return (grad * saved,), {"weight": (grad * call.x).sum(tuple(range(call.x.ndim - 1)))}


class PositionScale(LayerScale):
    """A factor for each position; there are as many as features, so the last ones are never read."""

    def forward(self, call):
        if call.x.ndim != 3:
            return super().forward(call)
        factors = np.resize(call.params["weight"], call.x.shape[1])
        return call.x * factors[:, None], call.params["weight"]


class HalvedSquare(MeanSquare):
    """As textbooks write it, so that the gradient has no factor."""

    def forward(self, call):
        return super().forward(call)[0] / 2, None

    def backward(self, call, saved, grad):
        return super().backward(call, saved, grad / 2)


class SummedLoss(CrossEntropy):
    def forward(self, call):
        result, saved = super().forward(call)
        return result * len(call.x), saved

    def backward(self, call, saved, grad):
        return super().backward(call, saved, grad * len(call.x))


class Unweighted(CrossEntropy):
    """The mean over all places, whatever they weigh."""

    def forward(self, call):
        return super().forward(self.evenly(call))

    def backward(self, call, saved, grad):
        return super().backward(self.evenly(call), saved, grad)

    def evenly(self, call):
        if len(call.inputs) < 3:
            return call
        weight = call.inputs[2]
        return dataclasses.replace(call, inputs=(*call.inputs[:2], np.ones_like(weight) / weight[0].size))


class OwnMean(CrossEntropy):
    """Each worker divides by what its own share weighs."""

    def forward(self, call):
        return super().forward(self.own(call))

    def backward(self, call, saved, grad):
        return super().backward(self.own(call), saved, grad)

    def own(self, call):
        if len(call.inputs) < 3:
            return call
        weight = call.inputs[2]
        return dataclasses.replace(call, inputs=(*call.inputs[:2], weight * len(weight) / weight.sum()))


class OverflowingSoftmax(CrossEntropy):
    """The formula taken literally, in float32."""

    def forward(self, call):
        if len(call.inputs) > 2:
            return super().forward(call)
        x, label = call.inputs
        with np.errstate(over="ignore"):
            total = np.log(np.exp(x.astype(np.float32)).sum(-1, dtype=np.float32))
        return np.asarray((total - x[np.arange(len(x)), label]).mean()), super().forward(call)[1]
