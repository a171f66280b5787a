"""The messages that Horovod really makes of gradients, seen in its own timeline: which of them it fused into one."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from dlcompare.core.errors import JobError
from dlcompare.core.plugins.collectives import ALL_REDUCE, Message

STEPS = 2  # before the one that is watched: the first negotiates every name, later ones find the answers cached
WRITTEN_SECONDS = 20.0  # in which the timeline must have been written
SENDING = "GLOO_ALLREDUCE", "NCCL_ALLREDUCE"


def fused(step: Callable[[], object]) -> list[Message]:
    """Return the messages of a step, in the order in which they were sent; Horovod tells rank 0 alone.

    Raises:
        JobError: Horovod wrote no timeline.
    """
    for _ in range(STEPS):
        step()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "timeline.json"
        hvd.start_timeline(str(file))
        hvd.allreduce(tf.zeros(1))  # it begins with Horovod's next cycle
        step()
        hvd.allreduce(tf.zeros(1))
        hvd.stop_timeline()
        if hvd.rank() != 0:
            return []
        found = messages(written(file))
    if len(found) < 2 or found[0] != found[-1]:
        raise JobError("Horovod's timeline is not of the whole step that was watched; give --sizes in bytes")
    return found[1:-1]


def written(file: Path) -> list[dict[str, Any]]:
    """Return the events of a timeline once Horovod's thread has written it whole."""
    deadline = time.monotonic() + WRITTEN_SECONDS
    while time.monotonic() < deadline:
        try:
            found: list[dict[str, Any]] = json.loads(file.read_text())
            return found
        except (OSError, ValueError):
            time.sleep(0.05)
    raise JobError(f"Horovod wrote no whole timeline in {WRITTEN_SECONDS:g} s, which shows what it sends; give --sizes "
                   "in bytes")


def messages(events: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Return the messages of a timeline, in which each tensor has a line, its ``pid``: tensors in one message begin to
    be sent before the first of them ends.
    """
    sizes: dict[int, int] = {}
    found: list[list[int]] = [[]]
    for event in events:
        told, line = event.get("args", {}), event["pid"]
        if event["ph"] == "B" and event["name"] in SENDING:
            found[-1].append(line)
        elif event["ph"] == "E" and line in found[-1]:
            found.append([])
        if event["ph"] == "E" and "shape" in told:
            sizes[line] = math.prod(json.loads(told["shape"])) * np.dtype(told["dtype"]).itemsize
    return [Message(ALL_REDUCE, sum(sizes[line] for line in lines), len(lines)) for lines in found if lines]
