"""Judge what a backend showed on its cases against what the reference shows, whose work is done once for all alike."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dlcompare.core.conformance import certificate, oracle
from dlcompare.core.conformance.check import Check
from dlcompare.core.conformance.oracle import Expected
from dlcompare.core.kinds.kind import Kind, Started

from .request import VerificationJob, alike
from .result import RankResult, VerificationRecord, case_file
from .trials import trials


def fold(kind: Kind, job: VerificationJob, ranks: Sequence[RankResult], about: Started) -> VerificationRecord:
    """Return the record of a job whose backend was observed on all cases, and keep the certificate."""
    checks, divergence = judge_cases(job, about.folder, lambda number, name: about.tell(
        job, {"phase": "judge", "case": name, "done": number}))
    if job.cases_from:
        checks = (*certificate.cases_of(job.cases_from), *checks)
    versions = ranks[0].versions
    path = certificate.save(certificate.make(job, checks, versions, divergence, cases_from=job.cases_from),
                            about.folder.parent)
    record: VerificationRecord = kind.outline(job, about, status="ok", checks=checks, first_divergence=divergence,
                                              certificate=str(path), environment=versions)
    return record


def judge_cases(job: VerificationJob, folder: Path,
                begin: Callable[..., None]) -> tuple[tuple[Check, ...], str | None]:
    """Return all checks of a job, and the first layer of the first case that diverges; ``begin`` hears of each case."""
    from safetensors.numpy import load_file

    checks: list[Check] = []
    divergence = None
    for number, name in enumerate(job.cases):
        begin(number, name)
        case = oracle.case(name, job)
        found = oracle.judge(case, load_file(folder / case_file(number)), expectation(name, alike(job), begin))
        divergence = divergence or oracle.first_divergence(case, found)
        checks += found
    return tuple(checks), divergence


def expectation(name: str, job: str, tell: Callable[..., None]) -> Expected:
    """Return what the reference shows on a case; jobs that differ only in framework share its work."""
    if name != oracle.MODEL:
        return tiny_expectation(name, job)
    wanted, exact = exact_run(job)
    moved = trials(name, job).moved(lambda over, of: tell(over, f"the reference's trials, {over} of {of}"))
    case = oracle.case(name, wanted)
    return oracle.expected(case, oracle.case_job(case, wanted), exact, moved)


@functools.lru_cache(maxsize=1024)
def tiny_expectation(name: str, job: str) -> Expected:
    wanted = VerificationJob.from_json(job)
    case = oracle.case(name, wanted)
    return oracle.expectation(case, oracle.case_job(case, wanted))


@functools.lru_cache(maxsize=2)  # of a large network they take gigabytes
def exact_run(job: str) -> tuple[VerificationJob, dict[str, np.ndarray]]:
    """Return a job, and what the reference shows on its model."""
    wanted = VerificationJob.from_json(job)
    case = oracle.case(oracle.MODEL, wanted)
    return wanted, oracle.expect(case, oracle.case_job(case, wanted))
