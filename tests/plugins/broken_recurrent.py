"""Recurrent layers that are wrong in one way each: their gates, their biases, what they do with states and padding."""

from __future__ import annotations

import dataclasses

import numpy as np
from broken_ops import changed

from dlcompare.core.graph.ops.recurrent import parts
from dlcompare.frameworks.reference.recurrent import Gru, Lstm, sigmoid


def read(call):
    return parts(call.inputs, [array.shape[1:] for array in call.inputs])


def reading(call, *inputs):
    return dataclasses.replace(call, inputs=tuple(one for one in inputs if one is not None))


class ExchangedGates(Lstm):
    """The forget gate first."""

    def gates(self, z):
        i, f, g, o = super().gates(z)
        return f, i, g, o


class OnnxOrder(Lstm):
    """The quarters are i, o, f, g."""

    def gates(self, z):
        i, o, f, g = np.split(z, 4, axis=-1)
        return super().gates(np.concatenate([i, f, g, o], axis=-1))


class ForgetBias(Lstm):
    """Adds 1 to the forget gate, as some layers do."""

    def gates(self, z):
        quarter = z.shape[-1] // 4
        return super().gates(z + (np.arange(4 * quarter) // quarter == 1))


class OneBiasLearns(Lstm):
    """The second was added to the first when the weights were loaded."""

    def backward(self, call, saved, grad):
        inputs, params = super().backward(call, saved, grad)
        return inputs, {**params, "bias_hh": 0 * params["bias_hh"]}


class OneBias(Lstm):
    """There is no second."""

    def forward(self, call):
        return super().forward(dataclasses.replace(call, params={**call.params, "bias_hh": np.zeros(1)}))


class FromZeros(Lstm):
    """Begins with zeros, whatever it is given."""

    def forward(self, call):
        x, _, lengths = read(call)
        return super().forward(reading(call, x, lengths))


class WithoutLengths(Lstm):
    """Takes the lengths and ignores them."""

    def forward(self, call):
        x, state, lengths = read(call)
        found, saved = super().forward(reading(call, x, *state))
        return (found if lengths is None else found[:2]), saved


class Repeated(Lstm):
    """Beyond the length the last output goes on, as Keras has it by default."""

    def forward(self, call):
        (y, *last), saved = super().forward(call)
        x, _, lengths = read(call)
        if lengths is not None and not call.attrs["reverse"]:
            y = np.where((np.arange(x.shape[1]) < lengths[:, None])[..., None], y, last[0][:, None])
        return (y, *last), saved


class PaddingFirst(Lstm):
    """Turns a sample around with its padding, and then takes the first steps for the sample."""

    def forward(self, call):
        x, state, lengths = read(call)
        if not call.attrs["reverse"] or lengths is None:
            return super().forward(call)
        turned = changed(reading(call, x[:, ::-1], *state, lengths), reverse=False)
        (y, *last), saved = super().forward(turned)
        return (y[:, ::-1], *last), saved


class KerasGates(Gru):
    """The gate z first."""

    def cell(self, call, given, own, before):
        return super().cell(call, *(np.concatenate([z, r, n], axis=-1) for r, z, n in (
            np.split(one, 3, axis=-1) for one in (given, own))), before)


class ResetBefore(Gru):
    """The reset gate is on the state before the product, as it was first written."""

    def cell(self, call, given, own, before):
        r, z, n = np.split(given, 3, axis=-1)
        own_r, own_z, _ = np.split(own, 3, axis=-1)
        weight, bias = (np.split(call.params[local], 3)[2] for local in ("weight_hh", "bias_hh"))
        reset = (sigmoid(r + own_r) * before[0]) @ weight.T + bias
        (made,), saved = super().cell(call, np.concatenate([r, z, n + reset], axis=-1),
                                      np.concatenate([own_r, own_z, 0 * reset], axis=-1), before)
        return (made,), saved


class UpdateReversed(Gru):
    """The gate z says what is new."""

    def cell(self, call, given, own, before):
        z = slice(given.shape[-1] // 3, given.shape[-1] // 3 * 2)
        turned = [one.copy() for one in (given, own)]
        for one in turned:
            one[:, z] *= -1
        return super().cell(call, *turned, before)


class GruWithoutLengths(Gru):
    """Takes the lengths and ignores them."""

    def forward(self, call):
        x, state, _ = read(call)
        return super().forward(reading(call, x, *state))


class OwnOrder(Lstm):
    """A reversed layer hands out the last step first."""

    def forward(self, call):
        (y, *last), saved = super().forward(call)
        return (y[:, ::-1] if call.attrs["reverse"] else y, *last), saved
