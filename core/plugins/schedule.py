"""Learning-rate schedules: what each makes of the rate of a job at a step, the same for every framework."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from dlcompare.core.errors import UsageError

FORMS = ("constant, warmup:STEPS, cosine:STEPS, warmup-cosine:WARMUP,STEPS, warmup-exp:STEPS, noam:WARMUP, "
         "step:STEP[,STEP...]:FACTOR; several joined by * are multiplied")
START = 0.01  # of the rate, where an exponential warm-up begins

Factor = Callable[[int], float]  # of the rate at a step, counted from 0


def factor(text: str, *, step: int) -> float:
    """Return what a schedule multiplies the learning rate by at a step, counted from 0.

    ``warmup:N`` rises linearly over N steps, ``warmup-exp:N`` from a hundredth by equal ratios; ``cosine:N`` falls to 0
    over N steps, ``warmup-cosine:W,N`` rises over W and falls until step N; ``noam:W`` rises over W and then falls with
    the root of the step (Vaswani et al. 2017, whose peak is d^-0.5 W^-0.5); ``step:N,M:F``: F from step N, F^2 from M.

    Raises:
        UsageError: there is no such schedule.
    """
    return math.prod(one(step) for one in parse(text))


@functools.cache
def parse(text: str) -> tuple[Factor, ...]:
    return tuple(single(part, text) for part in text.split("*"))


def single(part: str, text: str) -> Factor:
    name, given, numbers = part.partition(":")
    try:
        if name == "step" and given:
            marks, _, share = numbers.rpartition(":")
            return steps(tuple(map(count, marks.split(","))), float(share))
        return KINDS[name](*(count(number) for number in (numbers.split(",") if given else ())))
    except (KeyError, ValueError, TypeError):
        raise UsageError(f"unknown schedule {text!r}; there is: {FORMS}") from None


def count(text: str) -> int:
    """Return a whole number above 0; ValueError of any other text."""
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(text)
    return int(text)


def constant() -> Factor:
    return lambda step: 1.0


def warmup(over: int) -> Factor:
    return lambda step: min(1.0, (step + 1) / over)


def warmup_exp(over: int) -> Factor:
    return lambda step: START ** (max(0, over - step) / over)


def cosine(over: int) -> Factor:
    return lambda step: 0.5 * (1 + math.cos(math.pi * min(step, over) / over))


def warmup_cosine(rise: int, over: int) -> Factor:
    if over <= rise:
        raise ValueError(over)
    up, down = warmup(rise), cosine(over - rise)
    return lambda step: up(step) if step < rise else down(step - rise)


def noam(rise: int) -> Factor:
    return lambda step: min((step + 1) / rise, math.sqrt(rise / (step + 1)))


def steps(marks: tuple[int, ...], share: float) -> Factor:
    if list(marks) != sorted(set(marks)) or not 0 <= share < math.inf:
        raise ValueError(marks)
    return lambda step: share ** sum(step >= mark for mark in marks)


KINDS: dict[str, Callable[..., Factor]] = {
    "constant": constant, "warmup": warmup, "cosine": cosine, "warmup-cosine": warmup_cosine, "warmup-exp": warmup_exp,
    "noam": noam}
