"""What two ranks leave of a collective, and the record of it, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlcompare.core.kinds.comm import folding
from dlcompare.core.kinds.comm.result import CommRecord, RankPoint, RankResult
from dlcompare.core.kinds.kind import Started, kind
from dlcompare.core.plugins.collectives import CollectiveJob, Message
from dlcompare.core.records.choices import Choices

SYSTEM = {"cpu": {"model": "a CPU", "usable": 2, "quota": None}}


def ranks(*, foreign: float = 0.0, watched: float = 1.0, curve: float = 0.0) -> list[RankResult]:
    """Return what two ranks leave: 100 us and a byte a nanosecond, rank 1 a fifth slower in every second call."""
    points = [[RankPoint(size=size, asked=size, in_place=way, warmup=3, checked=7, ended="calls", started=1.7e9,
                         watched=watched, foreign_cores=foreign, throttled=0, paused=0.0,
                         seconds=tuple((1e-4 + size * 1e-9 + curve * (size > 1 << 20))
                                       * (1.2 if rank and call % 2 else 1.0) for call in range(10)))
               for size in (1024, 1 << 20, 1 << 24) for way in (False, True)] for rank in (0, 1)]
    return [RankResult(rank, 2, tuple(points[rank]), Choices(own={"engine": "gloo"}), {"torch": "2"}, 1 << 28,
                       {"import": 1.0 + rank}) for rank in (0, 1)]


def record(**how: Any) -> CommRecord:
    job = CollectiveJob("pytorch-ddp", messages={"net": (Message("all_reduce", 1 << 20, 3),
                                                         Message("all_reduce", 1024, 1))})
    about = Started(run="20261130-000000-0000", started=1.7e9, duration=1.0, system=SYSTEM, launch=0.5,
                    folder=Path(), tell=lambda job, event: None)
    return folding.fold(kind("comm"), job, ranks(**how), about)
