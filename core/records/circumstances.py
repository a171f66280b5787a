"""What is known of a job beside what its processes leave."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What is known of a job that was started, whatever its kind: seconds, unix time, the path of its log.

    ``launch``: seconds from the start of the launcher to that of the last worker.
    """

    run: str = ""
    started: float | None = None
    duration: float | None = None
    log: str | None = None
    system: dict[str, Any] = field(default_factory=dict)
    launch: float | None = None


def stamp(started: float | None) -> str:
    """Return a unix time, or now, as a record holds it."""
    begun = datetime.fromtimestamp(time.time() if started is None else started, tz=timezone.utc)
    return begun.isoformat(timespec="seconds")
