"""Horovod, for the backends that exchange gradients by it: how it is compiled, and what starts its workers.

No plug-in by itself: a backend gives :func:`build` to its environment, and has :func:`command` start its processes.
"""

from __future__ import annotations

from dlcompare.core.machine.ports import LOOPBACK
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.runtime import Build

RANK = "HOROVOD_RANK"  # where horovodrun tells a worker its rank
FRAMEWORKS = ("TENSORFLOW", "PYTORCH", "MXNET")


def build(framework: str, *, device: str) -> Build:
    """Return how Horovod is compiled for one of ``FRAMEWORKS``: Gloo between CPU processes, NCCL between GPUs."""
    wanted = {f"{'WITH' if name == framework else 'WITHOUT'}_{name}": "1" for name in FRAMEWORKS}
    wanted |= {"WITH_GLOO": "1", "WITHOUT_MPI": "1", **({"GPU_OPERATIONS": "NCCL"} if device == "cuda" else {})}
    return Build("horovod==0.28.1", {f"HOROVOD_{k}": v for k, v in wanted.items()}, tools=("g++", "cmake", "make"),
                 minutes=2.0)


def command(job: Job, python: str) -> list[str]:
    """Return the argv that starts the job's workers, through our own door to horovodrun: see ``run``."""
    # Without the cache it writes nothing into the user's home; its own name for this host need not be known.
    return [python, "-m", f"{__name__}.run", str(job.port or 0), "--gloo", "--disable-cache", "-np", str(job.workers),
            "-H", f"{LOOPBACK}:{job.workers}", python]
