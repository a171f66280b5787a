"""Cycles, instructions and cache misses of the workers, in user mode, by the processor's own counters (perf)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlcompare.core.meters.meter import Absent, Meter, Opened, Quantity

from .perf import Count, Event, Perf, refusal

SCOPE = "workers"
HARDWARE = [Event(name, 0, number) for number, name in enumerate(
    ["cycles", "instructions", "cache references", "cache misses"])]  # PERF_TYPE_HARDWARE and its numbers
UNCOUNTED = "uncounted"
OWN_CORES = "sys/bus/event_source/devices/*/cpus"  # only where a processor has cores of several kinds, or on Arm


class Events(Meter):
    """Hardware events of each worker with the threads and processes that it starts. The kernel's part is left out, so
    that machines which forbid counting it give the same number. What counting costs depends on the machine, and most of
    all on a hypervisor, so it is done apart."""

    name = "perf"
    title = "cycles, instructions, cache misses of the workers (perf)"
    disturbs = True

    def __init__(self, root: Path = Path("/"), perf: Perf | None = None) -> None:
        self.root, self.perf = root, perf or Perf()

    def open(self, device: str) -> Opened:
        kinds = sorted(self.root.glob(OWN_CORES))
        if len(kinds) > 1:
            raise Absent(f"this processor has cores of {len(kinds)} kinds ({', '.join(f.parent.name for f in kinds)}), "
                         "each with counters of its own, and an event counts on one kind alone")
        counting: list[Counting] = []
        absent: dict[str, str] = {}
        for event in HARDWARE:
            try:
                counting.append(Counting(event, self.perf))
            except OSError as error:
                absent[f"{SCOPE} {event.name}"] = refusal(error, self.root, level=2)
        work(counting)
        for one in counting:
            if one.read() == 0 and one.event.name in ("cycles", "instructions"):
                absent[f"{SCOPE} {one.event.name}"] = "the counter opens but stands still, as in some virtual machines"
                one.close()
        there = [one for one in counting if f"{SCOPE} {one.event.name}" not in absent]
        if not there:
            raise Absent(next(iter(absent.values())))
        return Counted(there, absent)


def work(counting: Sequence[Counting]) -> None:
    """Work for a millisecond, which a counter that counts must have seen."""
    for one in counting:
        one.perf.start(one.handle)
    sum(range(100_000))
    for one in counting:
        one.perf.stop(one.handle)


class Counting:
    """One event as it is counted. Where it had to share a counter its value is scaled, and the gap is added up."""

    def __init__(self, event: Event, perf: Perf) -> None:
        self.event, self.perf, self.handle = event, perf, perf.open(event)
        self.last, self.total, self.uncounted = Count(0, 0, 0), 0.0, 0.0

    def read(self) -> float | None:
        """Return how many there were so far; None when not one was counted although the process ran."""
        now, last = self.perf.read(self.handle), self.last
        self.last = now
        enabled, running = now.enabled - last.enabled, now.running - last.running
        self.uncounted += (enabled - running) / 1e9
        if running <= 0:
            return None if enabled > 0 else self.total
        self.total += (now.value - last.value) * (enabled / running)
        return self.total

    def close(self) -> None:
        self.perf.close(self.handle)


class Counted(Opened):
    """The events that are counted, and for how many seconds the worst of them was not although a worker ran."""

    def __init__(self, counting: Sequence[Counting], absent: dict[str, str]) -> None:
        self.counting, self.absent = counting, absent
        self.quantities = [*(Quantity(SCOPE, one.event.name, "", own=True) for one in counting),
                           Quantity(SCOPE, UNCOUNTED, "s", own=True)]
        self.about = {"mode": "user"}

    def read(self) -> Sequence[float | None]:
        return [*[one.read() for one in self.counting], max(one.uncounted for one in self.counting)]

    def begin(self) -> None:
        for one in self.counting:
            one.perf.start(one.handle)

    def end(self) -> None:
        for one in self.counting:
            one.perf.stop(one.handle)

    def close(self) -> None:
        for one in self.counting:
            one.close()
