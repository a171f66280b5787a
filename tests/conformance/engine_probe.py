"""What a session does with threads: ``engine_probe.py job.json folder`` prints it as JSON. Runs in an engine's
environment."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from dlcompare.core.inference_job import InferenceJob
from dlcompare.core.plugins import plugins

SECONDS = 1.0


def busy(seconds: float) -> tuple[float, float]:
    """Return processor seconds and wall seconds used so far; ``seconds`` are slept first."""
    time.sleep(seconds)
    used = os.times()
    return used.user + used.system, time.perf_counter()


def main() -> None:
    job, folder = InferenceJob.from_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    engine = plugins().engine(job.engine)
    engine.load()
    engine.build(job, folder)
    before = len(list(Path("/proc/self/task").iterdir()))
    session = engine.open(job, folder)
    placed = session.place({"image": np.ones((job.batch, *job.inputs["image"].shape), np.float32)})
    session.run(placed)
    used, begin = busy(0)
    while time.perf_counter() < begin + SECONDS:
        session.run(placed)
        session.wait()
    running, end = busy(0)
    threads = len(list(Path("/proc/self/task").iterdir())) - before
    session.close()
    del session, placed
    closed, begun = busy(0.1)  # until threads have ended
    idle, ended = busy(0.5)
    print(json.dumps({"cores": (running - used) / (end - begin), "threads": threads,
                      "after_close": (idle - closed) / (ended - begun)}))


if __name__ == "__main__":
    main()
