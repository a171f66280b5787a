"""Processor seconds of resnet18's train step by image size: ``python image_size.py FRAMEWORK SIZE BATCH``, one thread.

To be run by a framework's own interpreter, with dlcompare's sources on the import path (``build/view``). Processor time
of the whole process, so that other programs on the machine matter little. Prints a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time

STEPS = 5
ALONE = {**dict.fromkeys(("NPROC", "PJRT_NPROC", "OMP_NUM_THREADS", "WORLD_SIZE"), "1"), "JAX_PLATFORMS": "cpu",
         "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29621"}


def main() -> None:
    """Take single steps on one placed batch; the first two, which compile, are not told."""
    framework, size, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.environ.update(ALONE)
    import numpy as np

    from dlcompare.core.graph.params import initial_params
    from dlcompare.core.plugins.job import Job
    from dlcompare.core.plugins.registry import plugins

    graph = plugins().model("resnet18").graph(size, 10)
    job = Job(framework, "resnet18", batch=batch, image_size=size, classes=10, data="synthetic")
    trainer = plugins().backend(framework).trainer(graph, initial_params(graph, 0), job)
    rng = np.random.default_rng(0)
    placed = trainer.place({"image": rng.standard_normal((batch, 3, size, size)).astype(np.float32),
                            "label": rng.integers(0, 10, batch)})

    def step() -> float:
        begin = time.process_time()
        trainer.step(placed, 0.0)
        trainer.wait()
        return time.process_time() - begin

    seconds = [step() for _ in range(STEPS + 2)][2:]
    print(json.dumps({"framework": framework, "image_size": size, "batch": batch, "processor_seconds": seconds,
                      "xla_flags": os.environ.get("XLA_FLAGS", ""), "versions": trainer.versions()}), flush=True)


if __name__ == "__main__":
    main()
