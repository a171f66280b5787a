"""One job in this process: ``python -m dlcompare.core.worker job.json folder``.

What is done is the job's kind's matter; how a worker begins, ends and dies is the same for all.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dlcompare.core.errors import UsageError
from dlcompare.core.files import hold_room, room
from dlcompare.core.kinds.kind import kind
from dlcompare.core.launch.lifeline import Events, carry

# Bytes for each window that a job asks for, and in it for each worker: what a disk that fills meanwhile must hold.
ROOM_PER_WINDOW, ROOM_PER_WORKER = 1 << 10, 32


def run(text: str, folder: Path, events: Events) -> None:
    """Do the job that a text of JSON describes, in a folder."""
    said = json.loads(text)
    if not isinstance(said, dict) or "kind" not in said:
        raise UsageError("a job must name its kind, as in {\"kind\": \"training\", ...}")
    wanted = kind(said["kind"])
    job = wanted.job.from_plain(said)
    window = ROOM_PER_WINDOW + ROOM_PER_WORKER * getattr(job, "workers", 1)
    hold_room(folder, wanted.room + window * getattr(job, "windows", 0))
    wanted.part("worker").work(job, folder, events)
    room(folder).unlink(missing_ok=True)


if __name__ == "__main__":
    carry(sys.argv, run)
