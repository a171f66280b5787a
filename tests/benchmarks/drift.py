"""Simulated rounds on a machine whose speed drifts: what an interval over rounds covers, and how wide it is.

    python tests/benchmarks/drift.py [--trials 1500]

Two sides that are alike have five windows a round, one after another or in turn. A window has noise of 2 % and, now and
then, is 30 % slow on average; a process has an offset of its own. Printed are coverage of the true ratio and half the
median width of Student's 95 % interval over rounds, for several ways to make one ratio of a round's windows.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dlcompare.core.records.stats import student_half_width

WINDOWS, START = 5, 10  # START: how many windows' time it takes to start the jobs of a round
Ratio = Callable[[Sequence[float], Sequence[float]], float]


@dataclass(frozen=True)
class Machine:
    """How its speed goes: by ``step`` from window to window, pulled back by ``memory`` (1: never); spikes; processes'
    offsets; ``modes``: half of all processes are so much faster."""

    name: str
    step: float
    memory: float = 1.0
    spikes: float = 0.05
    process: float = 0.02
    modes: float = 0.0


MACHINES = (
    Machine("random walk, 3 %", 0.03),
    Machine("autoregressive, 5 %", 0.05, 0.9),
    Machine("the same, processes of two kinds, 8 % apart", 0.05, 0.9, modes=0.08),
    Machine("autoregressive, 10 %, processes alike, more spikes", 0.1, 0.9, spikes=0.1, process=0.005),
)


def differences(one: Sequence[float], two: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(one, two, strict=True)]


def hodges_lehmann(one: Sequence[float], two: Sequence[float]) -> float:
    found = differences(one, two)
    return statistics.median((a + b) / 2 for n, a in enumerate(found) for b in found[n:])


WAYS: dict[str, Ratio] = {
    "medians": lambda one, two: statistics.median(one) - statistics.median(two),
    "mean of pairs": lambda one, two: statistics.fmean(differences(one, two)),
    "median of pairs": lambda one, two: statistics.median(differences(one, two)),
    "Hodges-Lehmann of pairs": hodges_lehmann,
}


def speeds(draw: random.Random, machine: Machine) -> Iterator[float]:
    """Yield the logarithm of the machine's speed from window to window."""
    now = 0.0
    while True:
        now = machine.memory * now + draw.gauss(0, machine.step)
        yield now


def rounds(draw: random.Random, machine: Machine, count: int, *, in_turn: bool) -> Iterator[tuple[list[float], ...]]:
    """Yield the logarithms of the rates of both sides' windows, round by round."""
    speed = speeds(draw, machine)
    first = 0
    for number in range(count):
        first = 1 - first if number % 2 else draw.randrange(2)
        for _ in range(START):
            next(speed)
        own = [draw.gauss(0, machine.process) + machine.modes * draw.randrange(2) for _ in range(2)]
        pairs = [[first, 1 - first] if n % 2 == 0 else [1 - first, first] for n in range(WINDOWS)]
        order = [side for pair in pairs for side in pair] if in_turn else [first] * WINDOWS + [1 - first] * WINDOWS
        found: tuple[list[float], ...] = ([], [])
        for side in order:
            spike = draw.expovariate(1 / 0.3) if draw.random() < machine.spikes else 0.0
            found[side].append(next(speed) + own[side] + draw.gauss(0, 0.02) - spike)
        yield found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1500)
    trials = parser.parse_args().trials
    for machine in MACHINES:
        for count in (3, 6, 8):
            for in_turn in (False, True):
                draw = random.Random(f"{machine.name} {count} {in_turn}")
                tries = [list(rounds(draw, machine, count, in_turn=in_turn)) for _ in range(trials)]
                for name, ratio in WAYS.items() if in_turn else [("medians", WAYS["medians"])]:
                    covered, half = judge([[ratio(*one) for one in found] for found in tries])
                    print(f"{machine.name:<52} {count} rounds, {'in turn' if in_turn else 'one after another'}, "
                          f"{name}: covers {100 * covered:.1f} %, half width {100 * half:.1f} %", flush=True)


def judge(tries: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the share of intervals that hold 0, and half their median width."""
    width = student_half_width(len(tries[0]))
    halves = [width * statistics.stdev(logs) for logs in tries]
    covered = [abs(statistics.fmean(logs)) <= half for logs, half in zip(tries, halves, strict=True)]
    return statistics.fmean(covered), math.expm1(statistics.median(halves))


if __name__ == "__main__":
    main()
