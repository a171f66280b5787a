"""What a probe left, raw, and the record of it; the record that concludes a run holds all that was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dlcompare.core.machine.measured import Measured
from dlcompare.core.meters.meter import Metered
from dlcompare.core.records import doubts
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.disturbance import FOREIGN
from dlcompare.core.records.energy import ALL, spent
from dlcompare.core.records.record import Json, Record, Window, spans

from .request import IDLE


@dataclass(frozen=True, kw_only=True)
class RankResult:
    """Windows, raw; ``left_out``: how many more were taken, in which the machine was busy with something else.

    ``by`` is what did the work, ``version`` of what; ``size`` the bytes that it went over, again and again.
    ``state`` tells what the probe found of it. ``gpu`` is the UUID of the one that it used, if any.
    """

    windows: tuple[Window, ...]
    by: str
    version: str = ""
    size: int | None = None
    left_out: int = 0
    state: str = ""
    absent: str | None = None  # why there is no number although it ran
    meters: tuple[Metered, ...] = ()  # that were read while the machine was left alone
    gpu: str | None = None
    devices: tuple[str, ...] = ()  # whose energy is asked: of none, for a copy is no work to compare


@dataclass(frozen=True, kw_only=True)
class MachineRecord(Record):
    """One rate of the machine, in bytes a second, or all that was found; see :class:`RankResult`.

    ``watts`` are by what a meter covers, of a machine left alone. ``gpu_use``: for which share of the time others used
    the GPU before or after, None where nobody looked.
    """

    kind: str = "machine"
    by: str = ""
    version: str = ""
    size: int | None = None
    threads: int | None = None
    left_out: int = 0
    state: str = ""
    watts: dict[str, float] | None = None
    gpu_use: float | None = None
    measured: Measured | None = None

    unit = "B/s"

    @property
    def conditions(self) -> str:
        return ", ".join(filter(None, (f"{self.threads} threads" if self.threads else "", self.by, self.state)))

    def derived(self, windows: Sequence[Window]) -> Json:
        found = super().derived(windows)
        if self.measured:  # what is absent may be so since an earlier run
            return {**found, "disturbed": self.disturbed}
        disturbed = self.disturbed or (self.gpu_use or 0.0) > FOREIGN
        if self.framework != IDLE:
            return {**found, "disturbed": disturbed}
        return {**found, "throughput": None, "watts": at_rest(self.meters, windows) or None, "disturbed": disturbed}

    def doubts(self, windows: Sequence[Window]) -> tuple[Caveat, ...]:
        rates = [one.rate for one in windows]
        return tuple(one for one in (doubts.spread(rates), doubts.drift(rates)) if one) if rates else ()


def at_rest(meters: Sequence[Metered], windows: Sequence[Window]) -> dict[str, float]:
    """Return the watts of a machine left alone by what a meter covers: counted around windows, or sampled beside them.
    """
    everything = [tuple(one.devices) for one in meters]  # nothing computes on them
    return {one.scope: one.watts for one in spent(meters, everything, spans(windows)) if one.scope != ALL}


RANK, RECORD = RankResult, MachineRecord
