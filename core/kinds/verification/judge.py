"""Judge what a backend showed on its cases against what the reference shows, whose work is done once for all alike."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

from dlcompare.core.conformance import oracle
from dlcompare.core.conformance.check import Check
from dlcompare.core.conformance.oracle import Expected

from .request import VerificationJob


def case_file(folder: Path, number: int) -> Path:
    """Return where rank 0 leaves what it saw of a case."""
    return folder / f"case-{number}.safetensors"


def judged(job: VerificationJob, folder: Path,
           begin: Callable[[int, str], None]) -> tuple[tuple[Check, ...], str | None]:
    """Return all checks of a job, and the first layer of the first case that diverges; ``begin`` hears of each case."""
    from safetensors.numpy import load_file

    checks: list[Check] = []
    divergence = None
    for number, name in enumerate(job.cases):
        begin(number, name)
        case = oracle.case(name, job)
        found = oracle.judge(case, load_file(case_file(folder, number)), expected(name, alike(job)))
        divergence = divergence or oracle.first_divergence(case, found)
        checks += found
    return tuple(checks), divergence


@functools.lru_cache(maxsize=1024)
def expected(name: str, job: str) -> Expected:
    """Return what the reference shows on a case; jobs that differ only in framework share its work."""
    wanted = VerificationJob.from_json(job)
    case = oracle.case(name, wanted)
    return oracle.expected(case, oracle.case_job(case, wanted))


def alike(job: VerificationJob) -> str:
    """Return a job as text, the same for all whose expectations are."""
    return dataclasses.replace(job, framework="", execution=None, layout=None, threads=1, port=None).to_json()
