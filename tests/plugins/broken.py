"""Backends that are wrong in one way each, and the conformance case that must catch each of them."""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import dataclass

import broken_ops as ops
import broken_recurrent as recurrent
import numpy as np
from group import Worker

from dlcompare.core.plugins.job import decay_of
from dlcompare.frameworks.reference import optimisers
from dlcompare.frameworks.reference.optimisers import shortened
from dlcompare.frameworks.reference.unit import Op


def with_op(name: str, op: Op) -> type[Worker]:
    """Return a backend whose op of that name is another one."""

    class Broken(Worker):
        def __init__(self, *args):
            super().__init__(*args)
            self.table = {**self.table, name: op}

    return Broken


class SummedGradients(Worker):
    def average(self, shares):
        return {name: grad * self.world for name, grad in super().average(shares).items()}


class NoAllReduce(Worker):
    """Every rank trains on its own."""

    def average(self, shares):
        return shares[0]


class OverwrittenGradients(Worker):
    """Of a tensor that is used twice only the last use counts."""

    def add_up(self, total, gradients):
        total.update(gradients)


class OneUseAlone(Worker):
    """Of a parameter that is used twice only one use counts."""

    def add_up(self, total, gradients):
        for name, grad in gradients:
            super().add_up(total, [(name, grad)])
            if name in self.weights:
                total[name] = grad


class Untied(Worker):
    """Layers that share parameters begin with the same, and then each goes its own way."""

    def __init__(self, case, *args):
        nodes = case.graph.nodes
        graph = dataclasses.replace(case.graph, nodes=tuple(dataclasses.replace(n, shared={}) for n in nodes))
        copies = {f"{node.name}.{local}": case.params[name] for node in nodes for local, name in node.shared.items()}
        super().__init__(dataclasses.replace(case, graph=graph, params=case.params | copies), *args)


class StartsAfresh(Worker):
    """Every step begins with zeros."""

    def carry(self, tape, *, rank):
        pass


class LookingCarriesOn(Worker):
    """Whoever asks for activations moves the state."""

    def activations(self, batch):
        for rank, tape in enumerate(self.passes(self.place(batch), self.graph.needed("loss"))):
            self.carry(tape, rank=rank)
        return super().activations(batch)


class TakesTheBatch(Worker):
    """The state is what the batch holds, as it is in evaluation."""

    def place(self, batch):
        return self.widened(batch, self.graph.inputs)


class DecoupledDecay(Worker):
    """AdamW's kind of weight decay."""

    def update(self, gradients, lr):
        for name, velocity in self.velocity.items():
            velocity *= self.job.momentum
            velocity += gradients[name]
            self.weights[name] -= lr * (velocity + decay_of(self.job, velocity.shape) * self.weights[name])


class DecayOfMatricesAlone(Worker):
    """Spares biases and the scales of normalisations, as many recipes do, whatever was asked for."""

    asked = "matrices"

    def __init__(self, *args):
        super().__init__(*args)
        self.job = dataclasses.replace(self.job, decay=self.asked)


class DecayOfAll(DecayOfMatricesAlone):
    """Reaches biases and scales too, whatever was asked for."""

    asked = "all"


class DecayOfEverything(Worker):
    """Weight decay reaches what the loss does not."""

    def update(self, gradients, lr):
        super().update(gradients, lr)
        for name in self.weights.keys() - self.velocity.keys():
            self.weights[name] -= lr * self.job.weight_decay * self.weights[name]


class Nesterov(Worker):
    def update(self, gradients, lr):
        for name, velocity in self.velocity.items():
            gradient = gradients[name] + decay_of(self.job, velocity.shape) * self.weights[name]
            velocity *= self.job.momentum
            velocity += gradient
            self.weights[name] -= lr * (gradient + self.job.momentum * velocity)


class ClippedAlone(Worker):
    """Each parameter's gradient is shortened by itself."""

    def update(self, gradients, lr):
        most = self.job.clip
        if most is not None:
            gradients = {k: shortened({k: g}, most)[k] for k, g in gradients.items()}
        super().update(gradients, lr)


class ClippedEarly(Worker):
    """Each worker shortens its own gradient, before the all-reduce."""

    def average(self, shares):
        return super().average([shortened(shares[0], self.job.clip if self.stepping else None)])

    stepping = False

    def step(self, placed, lr):
        self.stepping = True
        super().step(placed, lr)
        self.stepping = False


class PlainMomentum(Worker):
    """Momentum as usual, whatever optimiser was asked for."""

    def __init__(self, *args):
        super().__init__(*args)
        self.directions = {**self.directions, "nesterov": optimisers.sgd}


class CoupledAdamW(Worker):
    """Weight decay goes into the gradient, as Adam's does."""

    def __init__(self, *args):
        super().__init__(*args)
        self.directions = {**self.directions, "adamw": optimisers.adam}


class UncorrectedAdam(Worker):
    """The moments are taken as they are, though they begin at 0."""

    def __init__(self, *args):
        super().__init__(*args)
        self.directions = {**self.directions, "adam": uncorrected}


def uncorrected(asked, weight, gradient, first, second):
    late = dataclasses.replace(asked, taken=10**6)
    return optimisers.adam(late, weight, gradient, first, second)


class FoldedEpsilon(Worker):
    """Epsilon stands beside the uncorrected root, as Keras and MXNet have it."""

    def __init__(self, *args):
        super().__init__(*args)
        self.directions = {**self.directions, "adamw": folded}


def folded(asked, weight, gradient, first, second):
    wanted = asked.optimiser
    wider = dataclasses.replace(wanted, eps=wanted.eps / wanted.correction(asked.taken)[1] ** 0.5)
    return optimisers.adamw(dataclasses.replace(asked, optimiser=wider), weight, gradient, first, second)


class RateInsideVelocity(Worker):
    """v = m v - lr g; w = w + v, as Keras has it: the same until the learning rate changes."""

    def update(self, gradients, lr):
        for name, velocity in self.velocity.items():
            velocity *= self.job.momentum
            velocity -= lr * (gradients[name] + decay_of(self.job, velocity.shape) * self.weights[name])
            self.weights[name] += velocity


class Dampened(Worker):
    """v = m v + (1 - m) g."""

    def update(self, gradients, lr):
        for name, velocity in self.velocity.items():
            fresh = gradients[name] + decay_of(self.job, velocity.shape) * self.weights[name]
            velocity *= self.job.momentum
            velocity += (1 - self.job.momentum) * fresh
            self.weights[name] -= lr * velocity


class FrozenRate(Worker):
    """The first learning rate was compiled in."""

    first = None

    def step(self, placed, lr):
        self.first = self.first or lr
        super().step(placed, self.first)


class LastRanksStatistics(Worker):
    def params(self):
        return super().params() | self.group.exchange(self.rank, self.statistics[0])[-1]


class AveragedStatistics(Worker):
    """Running statistics are all-reduced after each step."""

    def follow(self, tape, *, rank):
        super().follow(tape, rank=rank)
        ranks = self.group.exchange(self.rank, dict(self.statistics[0]))
        self.statistics[0].update({k: np.mean([r[k] for r in ranks], axis=0) for k in ranks[0]})


class SynchronisedBatchNorm(ops.BatchNorm):
    """The mean and variance are those of the global batch."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def forward(self, call):
        if not call.training:
            return super().forward(call)
        whole = np.concatenate(self.worker.group.exchange(self.worker.rank, call.x))
        result, saved = super().forward(ops.dataclasses.replace(call, inputs=(whole,)))
        mine = slice(self.worker.rank * len(call.x), (self.worker.rank + 1) * len(call.x))
        return result[mine], (saved[0][mine], *saved[1:])


class Synchronised(Worker):
    def __init__(self, *args):
        super().__init__(*args)
        self.table = {**self.table, "batch_norm": SynchronisedBatchNorm(self)}


class LookingMovesStatistics(Worker):
    """Asking for activations is taken for a training step."""

    def activations(self, batch):
        self.follow(self.run(self.place(batch), nodes=self.graph.needed("loss")), rank=0)
        return super().activations(batch)


class Asynchronous(Worker):
    """A right one: the forward pass runs at once, all else of a step on a device that ``wait`` waits for."""

    rest = threading.Thread()

    def step(self, placed, lr):
        tape = self.run(placed, nodes=self.graph.needed("loss"))
        self.loss = float(tape.values[self.graph.outputs["loss"]])
        self.follow(tape, rank=0)
        self.rest = threading.Thread(target=self.finish, args=(tape, lr))
        self.rest.start()

    def finish(self, tape, lr):
        time.sleep(0.15)
        self.update(self.average([self.backward(tape)]), lr)

    def wait(self):
        self.join()
        return self.loss

    def params(self):
        self.join()
        return super().params()

    def join(self):
        if self.rest.ident is not None:
            self.rest.join()


class NoSynchronisation(Asynchronous):
    """``wait`` returns as soon as the loss is known, so the clock stops before the work does."""

    def step(self, placed, lr):
        self.join()
        super().step(placed, lr)

    def predict(self, batch):
        self.join()
        return super().predict(batch)

    def gather(self, value):
        self.join()
        return super().gather(value)

    def wait(self):
        return self.loss


@dataclass(frozen=True)
class Mistake:
    """A wrong backend, the case that must catch it, and the layer that must be named.

    ``op`` is the op that is wrong, if it is one; ``workers`` is how many it takes to show.
    """

    make: type[Worker]
    case: str
    layer: str
    op: str | None = None
    workers: int = 1


def mistake(name: str, op: Op, case: str, layer: str) -> Mistake:
    return Mistake(with_op(name, op), case, f"{name} {layer}", name)


STATISTICS = "batch-norm-statistics"

MISTAKES = {
    "SAME padding at stride 2": mistake("conv", ops.SamePadding(), "conv-symmetric-padding", "'conv' (forward)"),
    "SAME padding of 7 x 7": mistake("conv", ops.SamePadding(), "conv-wide-stride", "'conv' (forward)"),
    "kernel flipped": mistake("conv", ops.FlippedKernel(), "conv-wide-stride", "'conv' (forward)"),
    "width before height": mistake("conv", ops.WidthFirst(), "conv-rectangular", "'wide' (forward)"),
    "stride along the width first": mistake("conv", ops.StrideWidthFirst(), "conv-stride-pair", "'conv' (forward)"),
    "taps side by side": mistake("conv", ops.Undilated(), "conv-dilation", "'conv' (forward)"),
    "convolution rounds up": mistake("conv", ops.CeilConv(), "conv-floor", "'conv' (forward)"),
    "max-pool rounds up": mistake("max_pool", ops.CeilMaxPool(), "max-pool-padding", "'pool' (forward)"),
    "max-pool pads with zero": mistake("max_pool", ops.ZeroPaddedMaxPool(), "max-pool-padding", "'pool' (forward)"),
    "max-pool sticks out above": mistake("max_pool", ops.SticksOutAbove(), "max-pool-ceil", "'pool' (forward)"),
    "max-pool sticks out over zeros": mistake("max_pool", ops.ZeroPaddedMaxPool(), "max-pool-ceil",
                                              "'pool' (forward)"),
    "avg-pool rounds up": mistake("avg_pool", ops.CeilAvgPool(), "avg-pool-padding", "'pool' (forward)"),
    "padding not counted": mistake("avg_pool", ops.UncountedPadding(), "avg-pool-padding", "'pool' (forward)"),
    "one stride for all bins": mistake("adaptive_avg_pool", ops.StridedAdaptivePool(), "adaptive-avg-pool",
                                       "'pool' (forward)"),
    "biased running variance": mistake("batch_norm", ops.BiasedRunningVariance(), STATISTICS, "'bn' (after 4 steps)"),
    "batch-norm momentum reversed": mistake("batch_norm", ops.ReversedMomentum(), STATISTICS, "'bn' (after 4 steps)"),
    "normalises with the unbiased variance": mistake("batch_norm", ops.UnbiasedNormalisation(), STATISTICS,
                                                     "'bn' (forward)"),
    "batch statistics in evaluation": mistake("batch_norm", ops.AlwaysBatchStatistics(), STATISTICS,
                                              "'bn' (evaluation)"),
    "batch-norm epsilon 1e-3": mistake("batch_norm", ops.LargeEpsilon(), "batch-norm-epsilon", "'bn' (forward)"),
    "batch-norm epsilon 1.001e-5": mistake("batch_norm", ops.FusedEpsilon(), "batch-norm-epsilon", "'bn' (forward)"),
    "layer scale along columns": mistake("layer_scale", ops.ColumnScale(), "layer-scale-channels", "'ls' (forward)"),
    "layer scale by position": mistake("layer_scale", ops.PositionScale(), "layer-scale-features", "'ls' (forward)"),
    "half the mean square": mistake("mean_square", ops.HalvedSquare(), "mean-square", "'loss' (forward)"),
    "layer-norm epsilon 1e-5": mistake("layer_norm", ops.LargeLayerNormEpsilon(), "layer-norm-epsilon",
                                       "'ln' (forward)"),
    "layer-norm epsilon outside the root": mistake("layer_norm", ops.EpsilonOutsideTheRoot(), "layer-norm-epsilon",
                                                   "'ln' (forward)"),
    "ReLU capped at 6": mistake("relu", ops.Relu6(), "relu", "'relu' (forward)"),
    "tanh by a clipped line": mistake("tanh", ops.HardTanh(), "tanh", "'tanh' (forward)"),
    "bias not learned": mistake("dense", ops.FrozenBias(), "dense", "'fc' (gradient)"),
    "ReLU has a slope at zero": Mistake(with_op("relu", ops.SlopeAtZero()), "relu-at-zero", "dense 'zero' (gradient)",
                                        "relu"),
    "GELU by tanh": mistake("gelu", ops.TanhGelu(), "gelu", "'gelu' (forward)"),
    "channels last when flattened": mistake("flatten", ops.ChannelsLastFlatten(), "flatten-order", "'flat' (forward)"),
    "padding row in the embedding": Mistake(with_op("embedding", ops.PaddingRow()), "embedding",
                                            "embedding 'words' (gradient)", "embedding"),
    "positions counted from 1": mistake("position_embedding", ops.PositionsFromOne(), "position-embedding",
                                        "'positions' (forward)"),
    "joined in reverse": mistake("concat", ops.Reversed(), "concat-order", "'concat' (forward)"),
    "stretches from the end": mistake("split", ops.FromTheEnd(), "split", "'channels' (forward)"),
    "rows interleaved": mistake("fold", ops.Interleaved(), "fold", "'fold' (forward)"),
    "rows made the last axis": mistake("unfold", ops.RowsLast(), "fold-images", "'unfold' (forward)"),
    "negative axis misread": mistake("select", ops.FirstAxis(), "select", "'column' (forward)"),
    "attention without scale": mistake("attention", ops.Unscaled(), "attention-mask", "'attention' (forward)"),
    "attention scaled by the width": mistake("attention", ops.ScaledByWidth(), "attention-mask",
                                             "'attention' (forward)"),
    "mask ignored": mistake("attention", ops.Unmasked(), "attention-mask", "'attention' (forward)"),
    "mask too weak": mistake("attention", ops.WeaklyMasked(), "attention-mask", "'attention' (forward)"),
    "gates f and i exchanged": mistake("lstm", recurrent.ExchangedGates(), "lstm", "'lstm' (forward)"),
    "gates in ONNX's order": mistake("lstm", recurrent.OnnxOrder(), "lstm", "'lstm' (forward)"),
    "forget gate plus one": mistake("lstm", recurrent.ForgetBias(), "lstm", "'lstm' (forward)"),
    "second bias missing": mistake("lstm", recurrent.OneBias(), "lstm", "'lstm' (forward)"),
    "second bias learns nothing": mistake("lstm", recurrent.OneBiasLearns(), "lstm", "'lstm' (gradient)"),
    "state not taken": mistake("lstm", recurrent.FromZeros(), "lstm-state", "'again' (forward)"),
    "lengths ignored": mistake("lstm", recurrent.WithoutLengths(), "lstm-lengths", "'lstm' (forward)"),
    "last output repeated": mistake("lstm", recurrent.Repeated(), "lstm-lengths", "'lstm' (forward)"),
    "padding turned to the front": mistake("lstm", recurrent.PaddingFirst(), "lstm-reverse", "'lstm' (forward)"),
    "outputs in reverse": mistake("lstm", recurrent.OwnOrder(), "lstm-reverse", "'lstm' (forward)"),
    "gates r and z exchanged": mistake("gru", recurrent.KerasGates(), "gru", "'gru' (forward)"),
    "reset before the product": mistake("gru", recurrent.ResetBefore(), "gru", "'gru' (forward)"),
    "update gate reversed": mistake("gru", recurrent.UpdateReversed(), "gru", "'gru' (forward)"),
    "lengths of a GRU ignored": mistake("gru", recurrent.GruWithoutLengths(), "gru-lengths", "'gru' (forward)"),
    "state afresh at every step": Mistake(StartsAfresh, "carried-state", "lstm 'lstm' (after 4 steps)"),
    "looking carries the state on": Mistake(LookingCarriesOn, "carried-state", "lstm 'lstm' (forward)"),
    "state taken from the batch": Mistake(TakesTheBatch, "carried-state", "lstm 'lstm' (forward)"),
    "dropout in evaluation": mistake("dropout", ops.DropsInEvaluation(), "dropout-evaluation",
                                     "'dropout' (evaluation)"),
    "loss summed over the batch": mistake("cross_entropy", ops.SummedLoss(), "cross-entropy", "'loss' (forward)"),
    "weights left out": mistake("cross_entropy", ops.Unweighted(), "weighted-cross-entropy", "'loss' (forward)"),
    "weights divided by a share's own": dataclasses.replace(
        mistake("cross_entropy", ops.OwnMean(), "weighted-cross-entropy", "'loss' (forward)"), workers=2),
    "softmax overflows": mistake("cross_entropy", ops.OverflowingSoftmax(), "cross-entropy-large-logits",
                                 "'loss' (forward)"),
    "gradients overwritten": Mistake(OverwrittenGradients, "residual", "conv 'conv' (gradient)"),
    "one use of a table counts": Mistake(OneUseAlone, "shared-table", "dense 'logits' (gradient)"),
    "layers untied": Mistake(Untied, "shared-layer", "conv 'again' (gradient)"),
    "decoupled weight decay": Mistake(DecoupledDecay, "sgd", "dense 'fc2' (after 4 steps)"),
    "weight decay spares biases": Mistake(DecayOfMatricesAlone, "sgd", "dense 'fc1' (after 4 steps)"),
    "weight decay reaches biases": Mistake(DecayOfAll, "decay-of-matrices", "dense 'fc1' (after 4 steps)"),
    "each parameter clipped alone": Mistake(ClippedAlone, "clip", "dense 'fc2' (after 4 steps)"),
    "clipped before the all-reduce": Mistake(ClippedEarly, "clip", "dense 'fc2' (after 4 steps)", workers=2),
    "Nesterov forgotten": Mistake(PlainMomentum, "nesterov", "dense 'fc2' (after 4 steps)"),
    "Adam's moments uncorrected": Mistake(UncorrectedAdam, "adam", "embedding 'words' (after 4 steps)"),
    "AdamW's decay coupled": Mistake(CoupledAdamW, "adamw", "dense 'fc1' (after 4 steps)"),
    "Adam's epsilon folded": Mistake(FoldedEpsilon, "adamw-small-gradients", "dense 'fc2' (after 4 steps)"),
    "Nesterov momentum": Mistake(Nesterov, "sgd", "dense 'fc2' (after 4 steps)"),
    "learning rate inside the velocity": Mistake(RateInsideVelocity, "sgd", "dense 'fc2' (after 4 steps)"),
    "dampened momentum": Mistake(Dampened, "sgd", "dense 'fc2' (after 4 steps)"),
    "learning rate frozen": Mistake(FrozenRate, "sgd", "dense 'fc2' (after 4 steps)"),
    "weight decay of unreached parameters": Mistake(DecayOfEverything, "unreached-parameters",
                                                    "dense 'aside' (after 4 steps)"),
    "looking moves the statistics": Mistake(LookingMovesStatistics, STATISTICS, "batch_norm 'bn' (after 4 steps)"),
    "gradients summed over workers": Mistake(SummedGradients, "gradient-average", "dense 'fc2' (gradient)", workers=2),
    "no all-reduce": Mistake(NoAllReduce, "gradient-average", "dense 'fc2' (gradient)", workers=2),
    "statistics of the last rank": Mistake(LastRanksStatistics, STATISTICS, "batch_norm 'bn' (after 4 steps)",
                                           workers=2),
    "statistics averaged over workers": Mistake(AveragedStatistics, STATISTICS, "batch_norm 'bn' (after 4 steps)",
                                                workers=2),
    "batch norm synchronised": Mistake(Synchronised, STATISTICS, "batch_norm 'bn' (forward)", workers=2),
}
