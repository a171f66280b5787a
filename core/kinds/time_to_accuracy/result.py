"""How training to an accuracy went: of a rank, and in the record."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dlcompare.core.kinds.training.result import RankResult, TrainingRecord
from dlcompare.core.records.energy import Span, Spent, spent
from dlcompare.core.records.record import Json, Window


@dataclass(frozen=True)
class Examination:
    """One point of the curve: after an epoch, at an optimiser step, after so many seconds; accuracies are shares."""

    epoch: int
    step: int
    seconds: float
    loss: float | None
    top1: float
    top5: float


@dataclass(frozen=True)
class Target:
    """What was reached of what was wanted, and the curve, with a point for each epoch that ended after the warm-up.

    ``seconds`` run from the first warm-up step to the end of the last examination, ``evaluation_seconds`` of which went
    into examining. They began at ``clock`` of the machine's monotonic one, and took ``joules`` by what counters cover.
    """

    quantity: str
    wanted: float
    reached: bool
    value: float
    seconds: float
    evaluation_seconds: float
    epochs: int
    steps: int
    samples: int
    test_samples: int
    curve: tuple[Examination, ...]
    clock: float | None = None
    joules: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TargetRankResult(RankResult):
    """What one rank of a job with a target measured."""

    target: Target


@dataclass(frozen=True, kw_only=True)
class TargetRecord(TrainingRecord):
    """One framework's training of one model to an accuracy; ``energy_to_target`` is of all of it, examinations too, so
    what it tells of a sample is the whole.
    """

    kind: str = "time_to_accuracy"
    target: Target | None = None
    energy_to_target: tuple[Spent, ...] = ()

    def derived(self, windows: Sequence[Window]) -> Json:
        found = super().derived(windows)
        target = self.target and concluded(self.target, wanted=wanted_by(self.job), global_batch=found["global_batch"])
        reached = target if target and target.reached else None
        return {**found, "target": target, "energy_to_target": spent(
            self.meters, self.devices, [Span(reached.clock, reached.seconds, 1, reached.joules)]) if reached else ()}


def wanted_by(job: Mapping[str, Any]) -> float | None:
    """Return the accuracy that a record's job asks for; None if it does not say."""
    with contextlib.suppress(ValueError):
        return float(str(job.get("target")).partition("=")[2])
    return None


def concluded(target: Target, *, wanted: float | None, global_batch: int) -> Target:
    """Return a target with what its job and its curve say of it; ``wanted`` is None where the job says nothing."""
    wanted = target.wanted if wanted is None else wanted
    if not target.curve:
        return dataclasses.replace(target, wanted=wanted, reached=False)
    last = target.curve[-1]
    return dataclasses.replace(target, wanted=wanted, value=last.top1, reached=last.top1 >= wanted,
                               seconds=last.seconds, epochs=last.epoch, steps=last.step,
                               samples=last.step * global_batch)


def shortfall(target: Target) -> str | None:
    """Return why training to an accuracy failed; None if it did not."""
    if target.reached:
        return None
    return (f"{target.quantity} came to {target.value:.4f} in {target.epochs} epochs "
            f"({target.seconds:.0f} s), short of {target.wanted:g}; give it more --max-epochs, or another --lr "
            "or --schedule")


RANK, RECORD = TargetRankResult, TargetRecord
