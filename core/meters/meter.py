"""The contract of a meter: what it reads, on which scopes, in which units, and how what is not there is told.

A meter knows no framework. One of the sort ``WINDOW`` is opened in the worker processes and read just before and just
after each window, outside its clock. One of the sort ``SERIES`` is opened in a process of its own, beside the job, and
read every ``period`` seconds while the job runs; its counters and gauges are cut to windows afterwards, by a clock that
all processes of a machine share. Add one by the hook ``dlcompare_meters``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dlcompare.core.errors import DlcompareError

WINDOW, SERIES = "window", "series"
COUNTER, GAUGE = "counter", "gauge"
# Names of quantities that dlcompare itself reads: in J, W, W, W and degC. Of powers, the best that there is: as it is
# now; averaged by the driver; or one of which the driver does not say which it is.
ENERGY, POWER, AVERAGE_POWER, SOME_POWER, TEMPERATURE = "energy", "power", "power average", "power usage", "temperature"
UTILISATION = "utilisation"  # the share of time in which an accelerator worked for anybody
HELD_BACK = "clocks held back"  # NVML's bits for why
POWERS = (POWER, AVERAGE_POWER, SOME_POWER)


class Absent(DlcompareError):
    """A meter, or what it would read, is not here: says what is missing, and what would bring it."""


@dataclass(frozen=True)
class Quantity:
    """One thing that a meter reads.

    ``scope`` is what it covers, as tables call it ("cpu package-0", "gpu 0"); ``name`` what it is ("energy",
    "power"); ``unit`` in SI's letters ("J", "W", "B", "degC", "" for a share of 1 or a mere count). A ``COUNTER`` grows
    and a window has what it grew by; ``wraps`` is what it grows to before it begins anew at 0, None where a smaller
    value means that it was reset. A ``GAUGE`` is as it is now; only a ``SERIES`` meter has any. ``own``: it is of the
    reading process alone, so every rank reads it and they are summed, if all are there; else it is of the machine, and
    rank 0 reads it.
    """

    scope: str
    name: str
    unit: str
    sort: str = COUNTER
    wraps: float | None = None
    own: bool = False

    @property
    def key(self) -> str:
        """Return what records call it."""
        return f"{self.scope} {self.name}"


class Opened(ABC):
    """A meter that was found and is open in this process.

    ``absent`` says of each scope or quantity that one could expect and that is not here, why; ``about`` what there is
    to know of the hardware and its driver, as JSON; ``devices`` by scope the names under which a framework may know
    it (a GPU's UUID, its PCI address), none for what is no accelerator. What is lost or found out midway may be
    added to ``absent`` and ``about``.
    """

    quantities: Sequence[Quantity] = ()
    absent: Mapping[str, str] = {}
    about: Mapping[str, Any] = {}
    devices: Mapping[str, Sequence[str]] = {}

    @abstractmethod
    def read(self) -> Sequence[float | None]:
        """Return a value for each of ``quantities``, in that order; None for what cannot be read now, never 0.

        Quick, for it is called around every window: some milliseconds at most. What it raises costs this meter's
        further readings and a caveat, never the run.
        """

    def begin(self) -> None:
        """Begin to count: called just before the window of a meter that disturbs, which until then costs nothing."""

    def end(self) -> None:
        """Count no more: called just after that window, when it has been read."""

    def close(self) -> None:
        """Give back what :meth:`Meter.open` took."""


class Meter(ABC):
    """A meter seen from outside. Importing and asking it is quick and loads neither a framework nor NumPy."""

    name: ClassVar[str]
    title: ClassVar[str] = ""  # one line for `dlcompare list`
    sort: ClassVar[str] = WINDOW
    period: ClassVar[float] = 0.05  # seconds between readings of a SERIES meter
    disturbs: ClassVar[bool] = False  # a WINDOW meter that costs speed: it has a window of its own, in no statistic
    shortest: ClassVar[float] = 0.5  # seconds: a shorter window has no number of it, for its counters move in steps

    def wanted(self, device: str) -> bool:
        """Return whether it says anything of work on a device, "cpu", "cuda" or "tpu"."""
        return True

    @abstractmethod
    def open(self, device: str) -> Opened:
        """Open it in this process, for work on a device. A WINDOW meter's is called before a framework is imported.

        Raises:
            Absent: it is not here, or nobody may read it; the reason names the remedy.
        """


@dataclass(frozen=True)
class Series:
    """The readings of one quantity, compact: a value stands until the next one that differs.

    ``times`` are milliseconds after ``begin``, which like ``end`` is in seconds of the machine's monotonic clock;
    ``readings`` is how often it was read in all, ``missed`` how often that brought nothing.
    """

    key: str
    begin: float
    end: float
    readings: int
    missed: int
    times: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Metered:
    """What a record holds of one meter: what it is, what it read, and what of it was absent or lost, with the reasons.

    ``reason``: why the whole meter is absent, None if it is there; ``lost``: why it stopped midway; ``quantities``
    that it read; what WINDOW meters read is in the windows, or ``apart`` in one of their own, what SERIES meters read
    is in ``series``.
    """

    name: str
    sort: str
    reason: str | None = None
    lost: str | None = None
    shortest: float = 0.0
    apart: bool = False
    absent: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    quantities: tuple[Quantity, ...] = ()
    series: tuple[Series, ...] = ()


def difference(quantity: Quantity, before: float | None, after: float | None) -> float | None:
    """Return by how much a counter grew between two readings; None if it was reset meanwhile, or was not read.

    One that wraps is taken to have done so once.
    """
    if before is None or after is None:
        return None
    if after >= before:
        return after - before
    return None if quantity.wraps is None else after - before + quantity.wraps
