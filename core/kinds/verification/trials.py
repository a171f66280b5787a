"""The reference's trials of a whole model: side by side in processes of their own, and kept for later verifications.

They take minutes where everything else takes seconds, and all frameworks are held against the same ones: so they begin
when the first worker does, and what they showed is in the cache folder under a hash of all that it depends on.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from dlcompare.core.conformance.source import source_sha256
from dlcompare.core.errors import JobError
from dlcompare.core.files import cache_root, write
from dlcompare.core.launch.lifeline import leave_when_told
from dlcompare.core.machine.memory import free_memory
from dlcompare.core.plugins.backend import ORACLE
from dlcompare.core.variables import PARENT

from .request import VerificationJob, alike

Moved = dict[str, float]  # how far the trials moved each quantity at most
THREADS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"
POLL_SECONDS = 0.2
KEPT = "trials"  # the folder of the cache that holds them


class Trials:
    """The trials of one model and job, under way or done."""

    def __init__(self, name: str, job: VerificationJob) -> None:
        self.place = kept(name, job)
        self.processes: list[subprocess.Popen[bytes]] = []
        if not self.place.exists():
            self.begin(name, job)

    def begin(self, name: str, job: VerificationJob) -> None:
        """Start the processes, each with its share of the trials."""
        from dlcompare.core.conformance.oracle import TRIALS

        self.folder = Path(tempfile.mkdtemp(prefix="dlcompare-trials-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        write(self.folder / "job.json", job.to_json())
        count = side_by_side(name, job)
        environment = {**os.environ, **dict.fromkeys(THREADS, "1"), PARENT: str(os.getpid())}
        for first in range(count):
            numbers = ",".join(map(str, range(first, TRIALS, count)))
            words = [sys.executable, "-m", __name__, str(self.folder), name, numbers]
            with (self.folder / f"log-{first}.txt").open("wb") as log:
                self.processes.append(subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                                                       stderr=log))

    def moved(self, tell: Callable[[int, int], None]) -> Moved:
        """Wait for the trials and return how far they moved each quantity; ``tell`` hears how many are over, and of how
        many.

        Raises:
            JobError: a process of theirs failed.
        """
        from dlcompare.core.conformance.oracle import TRIALS, worst

        while any(process.poll() is None for process in self.processes):
            tell(len(list(self.folder.glob("trial-*.json"))), TRIALS)
            time.sleep(POLL_SECONDS)
        if not self.place.exists():
            self.check()
            found = [json.loads(path.read_text()) for path in self.folder.glob("trial-*.json")]
            self.place.parent.mkdir(parents=True, exist_ok=True)
            write(self.place, json.dumps(worst(found)))
        moved: Moved = json.loads(self.place.read_text())
        return moved

    def check(self) -> None:
        """Raise JobError if a process failed, with the last it said."""
        for number, process in enumerate(self.processes):
            if process.returncode:
                said = (self.folder / f"log-{number}.txt").read_text(errors="replace").strip().splitlines()
                raise JobError(f"the reference's trials ended with exit code {process.returncode}: "
                               f"{said[-1] if said else 'without a word, as when memory runs out'}")


def begin(job: VerificationJob) -> None:
    """Begin the trials that a job will be judged by, if it has the model among its cases."""
    from dlcompare.core.conformance.oracle import MODEL

    if MODEL in job.cases:
        trials(MODEL, alike(job))


@functools.lru_cache(maxsize=1024)
def trials(name: str, job: str) -> Trials:
    """Return the trials of a case under a job (as text, the same for all that share them), begun by the first call."""
    return Trials(name, VerificationJob.from_json(job))


def kept(name: str, job: VerificationJob) -> Path:
    """Return where the outcome of trials is kept: under a hash of the job, the case, the source and NumPy's version."""
    import numpy as np

    from dlcompare.core.conformance.oracle import case
    from dlcompare.core.graph.params import params_sha256

    speaks = source_sha256(dataclasses.replace(job, framework=ORACLE))
    weights = params_sha256(case(name, job).params) if job.weights else ""
    digest = hashlib.sha256("\0".join([job.to_json(), name, speaks, weights, np.__version__]).encode()).hexdigest()
    return cache_root() / KEPT / f"{digest[:16]}.json"


def side_by_side(name: str, job: VerificationJob) -> int:
    """Return how many processes may run trials at once: one for each core, as far as memory goes."""
    from dlcompare.core.conformance.oracle import TRIALS, case
    from dlcompare.core.graph.cost import cost

    total = cost(case(name, job).graph)
    need = 8 * (8 * total.parameters + 6 * total.activations * job.batch * job.workers)
    return max(1, min(TRIALS, len(os.sched_getaffinity(0)), free_memory() // need))


def main(folder: Path, name: str, numbers: str) -> None:
    """Run the trials of the numbers given and write down what each showed."""
    from dlcompare.core.conformance import oracle

    leave_when_told(folder)
    job = VerificationJob.from_json((folder / "job.json").read_text())
    case = oracle.case(name, job)
    wanted = oracle.case_job(case, job)
    exact = oracle.expect(case, wanted)
    for number in map(int, numbers.split(",")):
        write(folder / f"trial-{number}.json", json.dumps(oracle.trial(case, wanted, exact, number)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
