"""What a cell of input pipelines measured, raw, and the record that it becomes. Times are seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlcompare.core.records.choices import Choices
from dlcompare.core.records.record import NONE, Record, Window

WARM = 0.95  # of the files' bytes, that memory must hold at the begin of a pass called warm
COLD = 0.01  # that it may hold at the begin of one called cold


@dataclass(frozen=True)
class Pass:
    """One pass through the training split.

    ``resident`` is the share of the files' bytes that memory held when it began, None if nobody can tell; ``read`` are
    the bytes that the job's processes had from the device meanwhile, ``cpu`` their processor seconds.
    """

    samples: int
    seconds: float
    cpu: float | None
    read: int | None
    resident: float | None

    @property
    def rate(self) -> float:
        """Return samples per second."""
        return self.samples / self.seconds

    @property
    def cores(self) -> float | None:
        """Return how many cores the pass kept busy, on average."""
        return None if self.cpu is None else self.cpu / self.seconds

    @property
    def cost(self) -> float | None:
        """Return the processor seconds of a sample, which say the same where others take part of the machine."""
        return None if self.cpu is None else self.cpu / self.samples


@dataclass(frozen=True)
class Ids:
    """Which samples the passes gave, held against the split: ``seen`` in the first, of ``samples`` that there are, none
    ``twice`` and none with a wrong label; ``sha256`` of the names and labels of those that it gave, in sorted order,
    whatever order they came in. ``order_sha256`` is of their places in the split in the order they came in, and of the
    split's names; ``neutral``: that is the neutral order. None in records of before.
    """

    samples: int
    seen: int
    twice: int
    mislabelled: int
    sha256: str
    order_sha256: str | None = None
    neutral: bool | None = None


@dataclass(frozen=True)
class Pixels:
    """How far a pipeline's evaluation view is from the neutral one, in levels of 0 to 255, over ``samples`` images."""

    samples: int
    mean: float
    most: float


@dataclass(frozen=True, kw_only=True)
class RankResult:
    """What one process measured: a cold pass and the first warm one, all warm ones as windows, or those of training.
    """

    first: Pass | None = None
    second: Pass | None = None
    windows: tuple[Window, ...] = ()
    bytes: int
    files: int
    hypervisor: bool
    ids: Ids | None = None
    pixels: Pixels | None = None
    settings: Choices = NONE
    versions: dict[str, str]
    rss_bytes: int


@dataclass(frozen=True, kw_only=True)
class IoRecord(Record):
    """One pipeline on one form of data. ``throughput`` is of the warm passes, or of training; ``stall`` the share of
    training's windows spent waiting for input; ``bytes`` are those of all files of the split.
    """

    kind: str = "io"
    pipeline: str = ""
    loaders: int = 1
    first: Pass | None = None
    second: Pass | None = None
    bytes: int | None = None
    files: int | None = None
    hypervisor: bool | None = None
    ids: Ids | None = None
    pixels: Pixels | None = None
    stall: float | None = None

    @property
    def name(self) -> str:
        return self.framework if self.pipeline == "native" or not self.model else f"{self.framework}, neutral"

    @property
    def form(self) -> str:
        """Return the form of data without its path."""
        return self.dataset.partition(":")[0]

    @property
    def conditions(self) -> str:
        return f"{self.form}, {self.loaders} loader{'s' * (self.loaders > 1)}, batch {self.batch_per_worker}"

    @property
    def group(self) -> tuple[Any, ...]:
        return (self.kind, self.model, self.image_size, self.dataset, self.loaders)

    @property
    def temperature(self) -> str:
        """Return what the first pass may be called: cold, lukewarm below a hypervisor, or else what it was."""
        if self.first is None or self.first.resident is None:
            return "unknown"
        if self.first.resident > COLD:
            return "warm" if self.first.resident >= WARM else "in part warm"
        return "lukewarm" if self.hypervisor else "cold"

    def shared(self) -> dict[str, str | None]:
        return {"samples": self.ids.sha256} if self.ids else {}


RANK, RECORD = RankResult, IoRecord
