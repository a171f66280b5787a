"""Judge what a backend showed on its cases against what the reference shows, whose work is done once for all alike."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from dlcompare.core.conformance import certificate, oracle
from dlcompare.core.conformance.check import Check
from dlcompare.core.conformance.oracle import Expected
from dlcompare.core.kinds.kind import Kind, Started

from .request import VerificationJob
from .result import RankResult, VerificationRecord, case_file


def fold(kind: Kind, job: VerificationJob, ranks: Sequence[RankResult], about: Started) -> VerificationRecord:
    """Return the record of a job whose backend was observed on all cases, and keep the certificate."""
    checks, divergence = judge_cases(job, about.folder, lambda number, name: about.tell(
        job, {"phase": "judge", "case": name, "done": number}))
    versions = ranks[0].versions
    path = certificate.save(certificate.make(job, checks, versions, divergence), about.folder.parent)
    record: VerificationRecord = kind.outline(job, about, status="ok", checks=checks, first_divergence=divergence,
                                              certificate=str(path), environment=versions)
    return record


def judge_cases(job: VerificationJob, folder: Path,
           begin: Callable[[int, str], None]) -> tuple[tuple[Check, ...], str | None]:
    """Return all checks of a job, and the first layer of the first case that diverges; ``begin`` hears of each case."""
    from safetensors.numpy import load_file

    checks: list[Check] = []
    divergence = None
    for number, name in enumerate(job.cases):
        begin(number, name)
        case = oracle.case(name, job)
        found = oracle.judge(case, load_file(folder / case_file(number)), expectation(name, alike(job)))
        divergence = divergence or oracle.first_divergence(case, found)
        checks += found
    return tuple(checks), divergence


@functools.lru_cache(maxsize=1024)
def expectation(name: str, job: str) -> Expected:
    """Return what the reference shows on a case; jobs that differ only in framework share its work."""
    wanted = VerificationJob.from_json(job)
    case = oracle.case(name, wanted)
    return oracle.expectation(case, oracle.case_job(case, wanted))


def alike(job: VerificationJob) -> str:
    """Return a job as text, the same for all whose expectations are."""
    return dataclasses.replace(job, framework="", execution=None, layout=None, threads=1, port=None).to_json()
