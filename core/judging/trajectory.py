"""Whether losses of several sides stay together, judged by what rounding alone does to this network at this rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlcompare.core.records.record import Record

BOUND = 0.05  # of the first loss: losses that are never further apart are the same, whatever moves them
# Rounding is drawn anew at each step and in each kernel; it was tried on parameters alone, and a few times.
SLACK = 8.0


@dataclass(frozen=True)
class Trajectory:
    """Losses side by side; shares are of the first loss, for late losses come near 0.

    ``apart`` is how far they are apart at each step that all recorded; ``rounding`` how far changing the initial
    parameters by some roundings moved the loss up to each step, where that was tried.
    """

    apart: Mapping[int, float]
    rounding: Mapping[int, float]

    @property
    def worst(self) -> int:
        """Return the step at which they are furthest apart."""
        return max(self.apart, key=lambda step: self.apart[step])

    @property
    def parted(self) -> int | None:
        """Return the first step at which they are further apart than the bound; None if there is none."""
        return next((step for step, share in self.apart.items() if share > BOUND), None)

    @property
    def unexplained(self) -> int | None:
        """Return the first step at which more than rounding set them apart; None if there is none.

        What rounding alone has set apart by more than the bound tells nothing of later steps.
        """
        for step, share in self.apart.items():
            moved = self.rounding.get(step)
            if share > max(BOUND, SLACK * (moved or 0.0)):
                return step
            if moved is not None and SLACK * moved > BOUND:
                return None
        return None


def trajectory(records: Sequence[Record]) -> Trajectory | None:
    """Return how far the losses are apart at all steps that every side recorded; None if that is one step."""
    by_side: dict[tuple[str, str], dict[int, list[float]]] = {}
    for record in records:
        series = by_side.setdefault((record.run, record.id.partition(".")[0]), {})  # of all rounds of a job
        for step, loss in record.losses().items():
            if loss is not None:
                series.setdefault(step, []).append(loss)
    steps = sorted(set.intersection(*map(set, by_side.values()))) if by_side else []
    if len(steps) < 2:
        return None
    seen = {step: [loss for series in by_side.values() for loss in series[step]] for step in steps}
    first = max(map(abs, seen[steps[0]])) or 1.0
    return Trajectory({step: (max(losses) - min(losses)) / first for step, losses in seen.items()},
                      envelope([record.moved_by_rounding() for record in records], first))


def envelope(moved: Sequence[Mapping[int, float]], first: float) -> dict[int, float]:
    """Return how far rounding moved a loss up to each step, as a share of the first loss."""
    most, found = 0.0, {}
    for step in sorted({step for one in moved for step in one}):
        most = max([most, *(one[step] / first for one in moved if step in one)])
        found[step] = most
    return found
