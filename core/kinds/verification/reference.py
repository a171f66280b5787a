"""The reference's work on a whole model: an exact run and trials, side by side in processes of their own.

It takes longer than all else, and every framework is held against the same: so it begins when the first worker does.
What the trials showed is kept in the cache folder under a hash of all that it depends on; the exact run, half a
gigabyte for ResNet-50 and a tenth of the work, is not.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from dlcompare.core.conformance import expectation, oracle
from dlcompare.core.conformance.expectation import TRIALS, worst
from dlcompare.core.conformance.source import source_sha256
from dlcompare.core.environments.sources import linked_sources
from dlcompare.core.errors import JobError
from dlcompare.core.files import cache_root, read_cached, whole, write, write_cached
from dlcompare.core.graph.cost import cost
from dlcompare.core.graph.params import params_sha256
from dlcompare.core.launch.lifeline import leave_when_told
from dlcompare.core.machine.inherited import for_workers
from dlcompare.core.machine.memory import free_memory
from dlcompare.core.plugins.backend import ORACLE
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.scratch import Scratch
from dlcompare.core.variables import PARENT, PLUGINS

from .request import VerificationJob

Moved = dict[str, float]  # how far the trials moved each quantity at most
# One thread each; and what arrays leave free is kept for the next, for the kernel takes longer to clear fresh pages for
# a large one than NumPy to fill it.
SETTINGS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
            "MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**40)}
POLL_SECONDS = 0.2
KEPT = "trials"  # the folder of the cache that holds what they showed
EXACT, JOB = "exact.safetensors", "job.json"
Arrays = dict[str, np.ndarray]


class ReferenceWork:
    """The reference's work on one model and job, under way or done."""

    def __init__(self, name: str, job: VerificationJob) -> None:
        self.name, self.job, self.place = name, job, kept(name, job)
        scratch = Scratch("dlcompare-reference-")
        self.folder = scratch.path
        self.processes: list[subprocess.Popen[bytes]] = []
        self.logs = self.folder  # of the processes, which the first of several works holds
        weakref.finalize(self, stop, self.processes, scratch)
        self.known = read_cached(self.place, as_moved, instead="the reference's trials are run again")
        trials = 0 if self.known else TRIALS
        write(self.folder / JOB, json.dumps({"name": name, "job": job.to_json(), "trials": trials}))

    def exact(self) -> Arrays:
        """Wait for the exact run and return what the reference shows, by quantity, in float64.

        Raises:
            JobError: a process failed.
        """
        while not (self.folder / EXACT).exists():
            self.check()
            time.sleep(POLL_SECONDS)
        return read_exact(self.folder)

    def moved(self, tell: Callable[[int, int], None]) -> Moved:
        """Wait for the trials and return how far they moved each quantity; ``tell`` hears how many are over, and of how
        many.

        Raises:
            JobError: a process failed.
        """
        while self.known is None:
            self.check()
            over = list(self.folder.glob("trial-*.json"))
            tell(len(over), TRIALS)
            if len(over) < TRIALS:
                time.sleep(POLL_SECONDS)
                continue
            self.known = worst(json.loads(path.read_text()) for path in over)
            write_cached(self.place, json.dumps(self.known))
        return self.known

    def check(self) -> None:
        """Raise JobError if a process failed, with the last it said."""
        for number, process in enumerate(self.processes):
            if process.poll():
                said = (self.logs / f"log-{number}.txt").read_text(errors="replace").strip().splitlines()
                raise JobError(f"the reference's work ended with exit code {process.returncode}: "
                               f"{said[-1] if said else 'without a word, as when memory runs out'}")


def stop(processes: list[subprocess.Popen[bytes]], scratch: Scratch) -> None:
    """End what is still running and remove what it left."""
    for process in processes:
        process.kill()
        process.wait()
    scratch.remove()


_begun: dict[tuple[str, str], ReferenceWork] = {}


def reference_work(name: str, job: str) -> ReferenceWork:
    """Return the reference's work on a case under a job (as text, the same for all that share it), begun by the first
    call.
    """
    if (name, job) not in _begun:
        begin([(name, job)])
    return _begun[name, job]


def begin(wanted: Iterable[tuple[str, str]]) -> None:
    """Begin the work on some cases and jobs, one after the other, that nobody began."""
    new = [key for key in dict.fromkeys(wanted) if key not in _begun]
    works = [ReferenceWork(name, VerificationJob.from_json(job)) for name, job in new]
    processes = [start(number, works) for number in range(min(map(side_by_side, works), default=0))]
    for work in works:
        work.processes += processes
        work.logs = works[0].folder
    _begun.update(zip(new, works, strict=True))


def start(number: int, works: Sequence[ReferenceWork]) -> subprocess.Popen[bytes]:
    """Start one of the processes that take part in some works."""
    words = [sys.executable, "-m", __name__, str(number), *(str(work.folder) for work in works)]
    environment = {**for_workers(), **SETTINGS, PARENT: str(os.getpid()), PLUGINS: ",".join(plugins().external()),
                   "PYTHONPATH": str(linked_sources(plugins().roots()))}  # a model may be a plug-in's
    with (works[0].folder / f"log-{number}.txt").open("wb") as log:
        return subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def kept(name: str, job: VerificationJob) -> Path:
    """Return where the outcome of trials is kept: under a hash of the job, the case, the source and NumPy's version."""
    speaks = source_sha256(dataclasses.replace(job, framework=ORACLE))
    weights = params_sha256(oracle.case(name, job).params) if job.weights else ""
    digest = hashlib.sha256("\0".join([job.to_json(), name, speaks, weights, np.__version__]).encode()).hexdigest()
    return cache_root() / KEPT / f"{digest[:16]}.json"


def as_moved(text: bytes) -> Moved:
    """Return the outcome of trials as it was kept; ValueError if it is none."""
    moved: Moved = {str(name): float(value) for name, value in json.loads(text).items()}
    if not moved or not all(map(math.isfinite, moved.values())):
        raise ValueError("it holds no numbers by quantity")
    return moved


def side_by_side(work: ReferenceWork) -> int:
    """Return how many processes may do a work at once: one for each core, as far as memory goes."""
    total = cost(oracle.case(work.name, work.job).graph)
    need = 8 * (8 * total.parameters + 6 * total.activations * work.job.batch * work.job.workers)
    return max(1, min(TRIALS, len(os.sched_getaffinity(0)), free_memory() // need))


def main(number: int, folders: Sequence[Path]) -> None:
    """Take part in the works of some folders, one after the other."""
    leave_when_told(folders[0])
    for folder in folders:
        take_part(number, folder)


def take_part(number: int, folder: Path) -> None:
    """Run trials while some are left, and write down what each showed; process number 0 first runs exactly.

    The others have a trial to run meanwhile, and want the exact run only when that is over.
    """
    wanted = json.loads((folder / JOB).read_text())
    job = VerificationJob.from_json(wanted["job"])
    case = oracle.case(wanted["name"], job)
    plain = oracle.case_job(case, job)
    if number == 0:
        write_exact(folder, expectation.expect(case, plain))
    for trial in range(wanted["trials"]):
        if claim(folder, trial):
            seen = expectation.disturbed(case, plain, trial)
            while not (folder / EXACT).exists():
                time.sleep(POLL_SECONDS)
            write(folder / f"trial-{trial}.json", json.dumps(expectation.moved(seen, read_exact(folder))))


def claim(folder: Path, trial: int) -> bool:
    """Return whether a trial is this process's own: nobody began it."""
    try:
        (folder / f"begun-{trial}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def write_exact(folder: Path, exact: Arrays) -> None:
    from safetensors.numpy import save_file

    with whole(folder / EXACT) as part:
        save_file({name: np.asarray(array, order="C") for name, array in exact.items()}, part)


def read_exact(folder: Path) -> Arrays:
    from safetensors.numpy import load_file

    return load_file(folder / EXACT)


if __name__ == "__main__":
    main(int(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
