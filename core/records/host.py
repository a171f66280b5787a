"""What a host did during windows, as rates: from what meters counted around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dlcompare.core.meters.meter import Metered

WATCHED = "cores watched"
SHORTEST = 0.5  # seconds in all: processor time is counted in hundredths


class Counted(Protocol):
    """A window, as far as this asks."""

    @property
    def counted(self) -> Mapping[str, float]: ...


@dataclass(frozen=True)
class Host:
    """What a host did over ``seconds`` of windows that count. What no meter told of all of them is None.

    ``cores_busy``: of ``cores``, on average, whoever they worked for; ``cores_stolen``: what a hypervisor took;
    ``job_cores``: what the job's own processes used. Bytes per second: ``storage_read`` and ``storage_written`` by the
    job, ``received`` and ``sent`` by interface or RDMA port, whoever's. Of the workers, in user mode, apart:
    ``instructions_per_cycle``, ``clock_hz``, ``cache_misses`` as a share of references, ``uncounted`` as a share of
    processor time that the counters missed, so that the others are estimates. ``faults_from_disk``: page faults of the
    workers that waited for a disk, per second.
    """

    seconds: float
    cores: int | None = None
    cores_busy: float | None = None
    cores_stolen: float | None = None
    job_cores: float | None = None
    storage_read: float | None = None
    storage_written: float | None = None
    received: dict[str, float] = field(default_factory=dict)
    sent: dict[str, float] = field(default_factory=dict)
    instructions_per_cycle: float | None = None
    clock_hz: float | None = None
    cache_misses: float | None = None
    uncounted: float | None = None
    faults_from_disk: float | None = None


def host(meters: Sequence[Metered], windows: Sequence[Counted], apart: Sequence[Counted] = ()) -> Host | None:
    """Return what the host did over windows, and in those ``apart`` in which meters that disturb were read; None if
    nobody looked, or not for long enough to tell."""
    events = Sums([window.counted for window in apart])
    sums = Sums([window.counted for window in windows])
    seconds = sums(WATCHED)
    if seconds is None or seconds < SHORTEST:
        return None
    cores = next((one.about["cores"] for one in meters if "cores" in one.about), None)
    return Host(
        seconds, cores, cores_busy=sums.ratio("cores busy", WATCHED), cores_stolen=sums.ratio("cores stolen", WATCHED),
        job_cores=sums.ratio("job busy", WATCHED), storage_read=sums.ratio("job read from storage", WATCHED),
        storage_written=sums.ratio("job written to storage", WATCHED),
        received=sums.rates(" received"), sent=sums.rates(" sent"),
        instructions_per_cycle=events.ratio("workers instructions", "workers cycles"),
        clock_hz=events.ratio("workers cycles", "workers user time"),
        cache_misses=events.ratio("workers cache misses", "workers cache references"),
        uncounted=events.ratio("workers uncounted", "workers user time"),
        faults_from_disk=sums.ratio("workers page faults from disk", WATCHED))


class Sums:
    """Counters summed over windows, by key; None for one that a window lacks: a part would look like the whole."""

    def __init__(self, windows: Sequence[Mapping[str, float]]) -> None:
        self.windows = windows

    def __call__(self, key: str) -> float | None:
        """Return a counter's sum."""
        known = [window[key] for window in self.windows if key in window]
        return sum(known) if known and len(known) == len(self.windows) else None

    def ratio(self, key: str, to: str) -> float | None:
        """Return the ratio of two sums."""
        over, under = self(key), self(to)
        return over / under if over is not None and under else None

    def rates(self, name: str) -> dict[str, float]:
        """Return the rates per second of all counters of a name, by scope; those of 0 are left out."""
        found = {key: self.ratio(key, WATCHED) for key in self.windows[0] if key.endswith(name)}
        return {key.removesuffix(name): rate for key, rate in found.items() if rate}
