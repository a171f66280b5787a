"""Workers that drop in training: a right one, and those that are wrong in one way each."""

from __future__ import annotations

import numpy as np
from broken import Mistake
from group import Worker
from masks import Masks

from dlcompare.core.conformance.dropout import NAME


def dropping(make: type[Masks]) -> type[Worker]:
    """Return a backend whose ranks draw masks of that kind, each with a stream of its own."""

    class Dropping(Worker):
        def __init__(self, *args):
            super().__init__(*args)
            self.table = {**self.table, "dropout": make(self.rank)}

    return Dropping


class NeverDrops(Masks):
    def draw(self, call):
        return np.ones_like(call.x)

    def scale(self, call):
        return 1.0


class RateOfKeeping(Masks):
    """Takes the rate for the share to keep, as TensorFlow once had it."""

    def draw(self, call):
        return ~super().draw(call)

    def scale(self, call):
        return 1 / call.attrs["rate"]


class Unscaled(Masks):
    """Scales in evaluation instead, as the first paper has it."""

    def scale(self, call):
        return 1.0


class OneMask(Masks):
    """The mask was compiled in, with a seed for each rank."""

    def draw(self, call):
        self.rng = np.random.default_rng(int(self.rng.integers(1)) + 7)
        return super().draw(call)


class OneMaskForAllSamples(Masks):
    def draw(self, call):
        return np.broadcast_to(self.rng.random(call.x.shape[1:]) >= call.attrs["rate"], call.x.shape)


class WholeFeatures(Masks):
    """Drops a feature at all positions at once."""

    def draw(self, call):
        return np.broadcast_to(self.rng.random((len(call.x), 1, call.x.shape[2])) >= call.attrs["rate"], call.x.shape)


class OneStreamForAllRanks(Masks):
    def __init__(self, seed: int) -> None:
        super().__init__(0)


class AnotherMaskBackwards(Masks):
    """Draws anew when it differentiates, as a layer that is computed again does without the state of its stream."""

    def backward(self, call, saved, grad):
        return (grad * self.draw(call) * self.scale(call),), {}


class AlsoInEvaluation(Masks):
    def forward(self, call):
        kept = self.draw(call) * self.scale(call)
        return call.x * kept, kept


class OnlyWhenLookedAt(dropping(Masks)):  # type: ignore[misc]
    """Drops where its results are asked for, not where it trains."""

    def step(self, placed, lr):
        table = self.table
        self.table = {**table, "dropout": NeverDrops(self.rank)}
        super().step(placed, lr)
        self.table = table


def mistake(make: type[Masks] | type[Worker], *, when: str = "training", workers: int = 1) -> Mistake:
    worker = make if issubclass(make, Worker) else dropping(make)
    return Mistake(worker, NAME, f"dropout 'dropout' ({when})", workers=workers)


MISTAKES = {
    "never drops": mistake(NeverDrops),
    "drops only when looked at": mistake(OnlyWhenLookedAt),
    "rate is the share kept": mistake(RateOfKeeping),
    "survivors not scaled": mistake(Unscaled),
    "one mask for ever": mistake(OneMask),
    "one mask for all samples": mistake(OneMaskForAllSamples),
    "whole features dropped": mistake(WholeFeatures),
    "one mask on all ranks": mistake(OneStreamForAllRanks, workers=2),
    "another mask backwards": mistake(AnotherMaskBackwards),
    "dropout never off": mistake(AlsoInEvaluation, when="evaluation"),
}
