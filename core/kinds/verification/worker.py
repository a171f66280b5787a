"""What one process of a verification does: run the backend on every case and leave what was seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core.conformance import oracle
from dlcompare.core.graph.params import write_params
from dlcompare.core.plugins.backend import Trainer
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.worker.ranks import known_rank, leave

from .attempt import Attempts
from .request import VerificationJob
from .result import RankResult, case_file

if TYPE_CHECKING:
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plugins.backend import Backend


def work(job: VerificationJob, folder: Path, events: Events) -> None:
    """Observe the backend on every case of the job and write what rank 0 saw; what a case raises fails it alone."""
    backend = plugins().backend(job.framework)
    known = known_rank(backend)
    events("import", **known)
    backend.load()
    events("build", **known)
    observer, attempts = Observer(job, folder, events, backend), Attempts(folder, backend.processes(job))
    for number, name in enumerate(job.cases):
        if not observer.run(number, name, attempts) and job.fail_fast:
            break
    result = RankResult(**{"rank": 0, **known, **observer.told}, failures=attempts.failures)
    leave(result, folder, rank=result.rank)


@dataclass
class Observer:
    """Runs cases on a backend, and keeps what its trainers say of themselves: rank, versions, settings."""

    job: VerificationJob
    folder: Path
    events: Events
    backend: Backend
    told: dict[str, Any] = field(default_factory=dict)

    def run(self, number: int, name: str, attempts: Attempts) -> bool:
        """Run a case and return whether no rank failed in it."""
        case = oracle.case(name, self.job)
        wanted = oracle.case_job(case, self.job)

        def observe(trainer: Trainer) -> None:
            self.events("verify", case=name, done=number, rank=trainer.rank)
            seen = oracle.observe(trainer, case, job=wanted)
            self.told = {"rank": trainer.rank, "versions": trainer.versions(), "settings": trainer.settings()}
            if trainer.rank == 0:
                write_params(self.folder / case_file(number), seen)

        return attempts.attempt(name, lambda: self.backend.trainer(case.graph, case.params, wanted), observe)
