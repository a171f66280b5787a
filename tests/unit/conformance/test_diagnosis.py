"""The one line that says what a failed verification comes from: right for every wrong backend."""

from __future__ import annotations

import dataclasses
import functools
import math

import pytest
from broken import MISTAKES as OTHERS
from broken import Mistake
from broken_dropout import MISTAKES as MASKS
from broken_dropout import Masks
from group import Worker, observed

from dlcompare.core.conformance import expectation, oracle
from dlcompare.core.conformance.cases import Case
from dlcompare.core.conformance.check import Check, Expected
from dlcompare.core.conformance.diagnosis import Evidence, compare_workers, diagnose
from dlcompare.core.conformance.suspects import RULES, examine
from dlcompare.core.plugins.job import Job, decay_of
from dlcompare.frameworks.reference.ops import TABLE

MISTAKES = {**OTHERS, **MASKS}
OPTIMISER = {
    "decoupled weight decay": "weight decay is decoupled, as AdamW's",
    "weight decay spares biases": "weight decay spares biases and scales",
    "weight decay reaches biases": "weight decay reaches biases and scales too",
    "Nesterov momentum": "momentum is Nesterov's",
    "learning rate inside the velocity": "the learning rate is inside the velocity, as Keras has it",
    "dampened momentum": "momentum is dampened",
    "learning rate frozen": "the learning rate is frozen at the first step",
    "no weight decay": "weight decay is left out",
    "no momentum": "momentum is left out",
    "learning rate a step early": "the learning rate is the next step's",
    "dampened from the second step on": "momentum is dampened from the second step on, as PyTorch's dampening does",
}
TOLD = {
    **{name: f"the optimiser: {which} (results and gradients are right, parameters wrong after the steps in "
       for name, which in OPTIMISER.items()},
    **dict.fromkeys((
        "each parameter clipped alone", "clipped before the all-reduce", "Nesterov forgotten",
        "Adam's moments uncorrected", "AdamW's decay coupled", "Adam's epsilon folded"),
        "the optimiser, in none of the usual ways"),
    "weight decay of unreached parameters": "the optimiser, in none of the usual ways (results and gradients are "
                                            "right, parameters wrong after the steps in 1 of the 52 cases that train); "
                                            "unreached-parameters: what the loss does not reach stays put",
    "gradients summed over workers": "the all-reduce: it sums the workers' gradients instead of averaging them (",
    "no all-reduce": "the all-reduce: there is none, each worker trains alone (results are right, gradients wrong in",
    "batch statistics in evaluation": "op batch_norm: wrong in evaluation alone",
    "dropout in evaluation": "op dropout in training: it never drops where it trains; op dropout: wrong in evaluation",
    "dropout never off": "op dropout: wrong in evaluation alone",
    "bias not learned": "a gradient, first that of dense 'fc' or of what follows it (results are right",
    "ReLU has a slope at zero": "a gradient, first that of dense 'zero' or of what follows it (results are right, "
                                "gradients wrong in 1 of the 52 cases that train); relu-at-zero: the gradient at 0",
    "state afresh at every step": "what a step carries on to the next (results and gradients are right, parameters",
    "second bias learns nothing": "op lstm: its gradient (results are right, gradients wrong in",
    "padding row in the embedding": "a gradient, first that of embedding 'words' or of what follows it",
    "one use of a table counts": "a gradient, first that of dense 'logits' or of what follows it",
    "layers untied": "a gradient, first that of dense 'logits' or of what follows it",
    "gradients overwritten": "a gradient, first that of conv 'before' or of what follows it",
    "never drops": "op dropout in training: it never drops where it trains",
    "drops only when looked at": "op dropout in training: it never drops where it trains",
    "rate is the share kept": "op dropout in training: the share of zeros is not the rate",
    "survivors not scaled": "op dropout in training: the survivors are not times 1 / (1 - rate)",
    "one mask for ever": "op dropout in training: every step has the same mask",
    "one mask for all samples": "op dropout in training: all samples share a mask",
    "whole features dropped": "op dropout in training: the share of zeros is not the rate",
    "one mask on all ranks": "op dropout in training: all workers draw the same mask",
    "another mask backwards": "op dropout in training: the backward pass does not take the forward pass's mask",
}
STATISTICS = ("biased running variance", "batch-norm momentum reversed", "looking moves the statistics",
              "statistics of the last rank", "statistics averaged over workers")


def decay(worker: Worker):
    """Return what weight decay adds to each gradient."""
    return {k: decay_of(worker.job, v.shape) * worker.weights[k] for k, v in worker.velocity.items()}


class WithoutDecay(Worker):
    def update(self, gradients, lr):
        added = decay(self)
        super().update({k: g - added[k] for k, g in gradients.items()}, lr)


class WithoutMomentum(Worker):
    def update(self, gradients, lr):
        for velocity in self.velocity.values():
            velocity *= 0
        super().update(gradients, lr)


class Early(Worker):
    taken = 0

    def step(self, placed, lr):
        self.taken += 1
        super().step(placed, oracle.learning_rate(self.job, step=self.taken))


class DampenedLater(Worker):
    """As ``torch.optim.SGD(dampening=momentum)`` has it."""

    taken = 0

    def update(self, gradients, lr):
        self.taken += 1
        fresh = 1.0 if self.taken == 1 else 1 - self.job.momentum
        added = decay(self)
        super().update({k: fresh * (g + added[k]) - added[k] for k, g in gradients.items()}, lr)


MISTAKES |= {name: Mistake(make, "sgd", "") for name, make in {
    "no weight decay": WithoutDecay, "no momentum": WithoutMomentum, "learning rate a step early": Early,
    "dampened from the second step on": DampenedLater}.items()}


def complete(make: type[Worker]) -> type[Worker]:
    """Return a backend that draws masks, if it is not dropout that it gets wrong."""

    class Complete(make):
        def __init__(self, *args):
            super().__init__(*args)
            if self.table["dropout"] is TABLE["dropout"]:
                self.table = {**self.table, "dropout": Masks(self.rank)}

    return Complete


@functools.cache
def wanted(name: str, workers: int) -> tuple[Case, Job, Expected]:
    job = Job("pytorch-ddp", "resnet18", workers=workers)
    case = oracle.case(name, job)
    return case, oracle.case_job(case, job), expectation.derive(case, oracle.case_job(case, job))


def told(make: type[Worker], workers: int = 1) -> str | None:
    checks, known = [], {}
    for name in oracle.names(Job("pytorch-ddp", "resnet18"))[:-1]:
        case, job, want = wanted(name, workers)
        found, known[name] = examine(case, job, seen=observed(case, job, complete(make)), want=want)
        checks += found
    return diagnose(checks, known)


@pytest.mark.parametrize("workers", [1, 2])
def test_of_a_right_backend_nothing_is_said(workers: int) -> None:
    assert told(Worker, workers) is None


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_line(name: str) -> None:
    mistake = MISTAKES[name]
    rest = "only its running statistics are wrong" if name in STATISTICS else "its result in training is wrong in "
    expected = TOLD.get(name, f"op {mistake.layer.partition(' ')[0]}: {rest}")
    found = told(mistake.make, mistake.workers) or ""
    assert found.startswith(expected) and "\n" not in found
    assert not {"; op", "; th", "; a "} & {found[n:n + 4] for n in range(len(expected), len(found))}, "one cause"


def test_every_rule_of_an_optimiser_has_a_mistake() -> None:
    assert set(OPTIMISER.values()) == RULES.keys() and TOLD.keys() <= MISTAKES.keys()


WRONG, RIGHT = math.inf, 0.0
KNOWN = {"gelu": Evidence("pins", frozenset({"conv", "gelu"})), "bert": Evidence("all", frozenset({"dense", "gelu"})),
         "relu": Evidence("pins", frozenset({"conv", "relu"}), layer="relu 'relu' (forward)")}


def raised(*cases: str, by: str = "KeyError: 'gelu'") -> dict[str, Evidence]:
    return {name: dataclasses.replace(one, raised=by) if name in cases else one for name, one in KNOWN.items()}


@pytest.mark.parametrize(("checks", "known", "words"), [
    ([Check(name, "raised", WRONG, 1.0) for name in ("gelu", "bert")], raised("gelu", "bert"),
     "op gelu cannot be run (KeyError: 'gelu') in gelu, bert"),
    ([Check("gelu", "raised", WRONG, 1.0)], raised("gelu"),
     "the backend raised an exception (KeyError: 'gelu') in gelu"),
    ([Check(name, "raised", WRONG, 1.0) for name in KNOWN], raised(*KNOWN), "no case could be run: KeyError: 'gelu'"),
    ([Check(name, what, WRONG, 1e-6) for name in KNOWN for what in ("activation/x", "loss")], KNOWN,
     "in every case all that was shown is missing or misshapen, from activation/x on"),
    ([Check("relu", "loss", 1.0, 1e-6), Check("relu", "activation/relu", 0.0, 1e-6)], KNOWN,
     "the loss that wait() returns is wrong in relu, not what the network computes"),
    ([Check("bert", "clock", 0.9, 0.5)], KNOWN, "the clock: wait() returns before the step's work is over"),
    ([Check("answers", "versions", WRONG, 1.0), Check("answers", "settings", RIGHT, 1.0)], KNOWN,
     "versions() of the trainer tells nothing"),
    ([Check("relu", "activation/relu", 1.0, 1e-6), Check("bert", "clock", 0.9, 0.5)], KNOWN,
     "op relu: its result in training is wrong in the one case that has it; relu: pins; the clock: wait()"),
])
def test_what_is_not_of_numbers_is_told_too(checks: list[Check], known: dict[str, Evidence], words: str) -> None:
    assert (diagnose(checks, known) or "").startswith(words)


@pytest.mark.parametrize(("outcomes", "words"), [
    ([(1, None), (2, "x"), (4, "x")],
     "right with 1 worker, wrong with 2, 4 workers: look at what the workers exchange"),
    ([(1, "x"), (2, None)], "right with 2 workers, wrong with 1 worker"),
    ([(1, None), (2, None)], None), ([(1, "x"), (2, "x")], None), ([], None),
])
def test_numbers_of_workers_are_held_against_one_another(outcomes: list[tuple[int, str | None]],
                                                         words: str | None) -> None:
    assert compare_workers(outcomes) == words
