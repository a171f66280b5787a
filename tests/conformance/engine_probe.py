"""What a session does with threads: ``engine_probe.py job.json folder`` prints it as JSON. Runs in an engine's
environment."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins

SECONDS = 1.0


def ticks() -> dict[str, int]:
    """Return the processor time that each thread of this process has used, in the kernel's units."""
    used = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        used[task.name] = int(fields[11]) + int(fields[12])  # utime and stime; see proc(5)
    return used


def main() -> None:
    job, folder = InferenceJob.from_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    engine = plugins().engine(job.engine)
    engine.load()
    engine.build(job, folder)
    session = engine.open(job, folder)
    placed = session.place({"image": np.ones((job.batch, *job.inputs["image"].shape), np.float32)})
    session.run(placed)
    session.wait()
    before, begin = ticks(), time.perf_counter()
    while time.perf_counter() < begin + SECONDS:
        session.run(placed)
        session.wait()
    used = [count - before.get(task, 0) for task, count in ticks().items()]
    session.close()  # and the session itself stays: closing must be enough
    time.sleep(0.1)
    closed = sum(ticks().values())
    time.sleep(0.5)
    print(json.dumps({"busy": sum(count > max(used) / 10 for count in used),
                      "after_close": sum(ticks().values()) - closed}))


if __name__ == "__main__":
    main()
