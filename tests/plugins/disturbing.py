"""A meter that disturbs: it counts in a window of its own, by a clock that runs only then."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dlcompare.core import hookimpl
from dlcompare.core.meters.meter import Meter, Opened, Quantity


class Counting(Opened):
    quantities = [Quantity("workers", "cycles", "", own=True)]

    def __init__(self) -> None:
        self.total, self.since = 0.0, 0.0

    def begin(self) -> None:
        self.since = time.monotonic()

    def end(self) -> None:
        self.total, self.since = self.total + time.monotonic() - self.since, 0.0

    def read(self) -> Sequence[float | None]:
        return [self.total + (time.monotonic() - self.since if self.since else 0.0)]


class Disturbing(Meter):
    """Seconds, called cycles."""

    name = "disturbing"
    disturbs = True

    def open(self, device: str) -> Opened:
        return Counting()


@hookimpl
def dlcompare_meters() -> list[Meter]:
    return [Disturbing()]
