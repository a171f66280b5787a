"""How long a job may report nothing: less in phases whose healthy length is known than in those that may be long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST = 900.0  # unless --timeout says otherwise: compilation, joining, reading the data, whatever is not named here
FEWEST = 120.0  # where a measured time tells what comes next
FACTOR = 20.0  # times what was measured: more than a machine slows down that others use as well
LEAST_FACTOR = 3.0  # times that, whatever --timeout says: a long window that goes well is not given up
BOUNDS: Mapping[str, float] = {
    "": 120.0,  # no worker has started: a launcher takes 1 to 5 s; 64 workers have all started after 10 s, on two cores
    "import": 300.0,  # a framework takes 0.3 to 15 s, busy machines included; from a cold network file system, minutes
}
DONE = 60.0  # since all workers were: frameworks part within seconds


class Silence:
    """When a job was heard of last and what it said it does; ``now`` is any clock that moves on, in seconds.

    A ``longest`` above LONGEST holds in every phase, for it was asked for; a lesser one holds where a phase has more.
    """

    def __init__(self, longest: float, now: float) -> None:
        self.longest, self.last = longest, now
        self.event: Mapping[str, Any] = {"phase": ""}
        self.workers: dict[int, tuple[str, float]] = {}  # by pid: what each does, and since when

    def hear(self, event: Mapping[str, Any], now: float) -> None:
        """Take in that a worker has reported something."""
        self.event, self.last = event, now
        self.workers[event["pid"]] = (event["phase"], now)

    def too_long(self, now: float) -> float | None:
        """Return how many seconds were too many, or None as long as they are not."""
        importing = [since for phase, since in self.workers.values() if phase == "import"]
        waits = [(self.last, self.bound()), *((since, self.limit(BOUNDS["import"])) for since in importing)]
        return next((bound for since, bound in waits if now - since > bound), None)

    def bound(self) -> float:
        """Return how long nothing may come after the last event."""
        phases = [phase for phase, _ in self.workers.values()]
        if phases and all(phase == "done" for phase in phases):
            return self.limit(DONE)
        expected = self.event.get("expected")
        if isinstance(expected, (int, float)):
            return max(self.limit(max(FEWEST, FACTOR * expected)), LEAST_FACTOR * expected)
        return self.limit(BOUNDS.get(self.event["phase"], self.longest))

    def limit(self, seconds: float) -> float:
        return self.longest if self.longest > LONGEST else min(seconds, self.longest)
