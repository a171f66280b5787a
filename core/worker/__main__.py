"""One job in this process: ``python -m dlcompare.core.worker job.json folder``.

What is done is the job's kind's matter; how a worker begins, ends and dies is the same for all.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import kind
from dlcompare.core.launch.lifeline import Events, carry


def run(text: str, folder: Path, events: Events) -> None:
    """Do the job that a text of JSON describes, in a folder."""
    said = json.loads(text)
    if not isinstance(said, dict) or "kind" not in said:
        raise UsageError("a job must name its kind, as in {\"kind\": \"training\", ...}")
    wanted = kind(said["kind"])
    wanted.part("worker").work(wanted.job.from_plain(said), folder, events)


if __name__ == "__main__":
    carry(sys.argv, run)
