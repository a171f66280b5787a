"""What one process of a verification does: run the backend on every case and leave what was seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core.conformance import oracle
from dlcompare.core.graph.params import write_params
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.worker.ranks import known_rank, leave

from .request import VerificationJob
from .result import RankResult, case_file

if TYPE_CHECKING:
    from dlcompare.core.launch.lifeline import Events


def work(job: VerificationJob, folder: Path, events: Events) -> None:
    """Observe the backend on every case of the job and write what rank 0 saw."""
    backend = plugins().backend(job.framework)
    events("import", **known_rank(backend))
    backend.load()
    result = RankResult(0, {})
    for number, name in enumerate(job.cases):
        case = oracle.case(name, job)
        wanted = oracle.case_job(case, job)
        trainer = backend.trainer(case.graph, case.params, wanted)
        events("verify", case=name, done=number, rank=trainer.rank)
        seen = oracle.observe(trainer, case, job=wanted)
        result = RankResult(trainer.rank, trainer.versions())
        if trainer.rank == 0:
            write_params(folder / case_file(number), seen)
        trainer.gather(0.0)
        trainer.close()
    leave(result, folder, rank=result.rank)
