"""Judge what a backend showed on its cases against what the reference shows, whose work is done once for all alike."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core.conformance import certificate, expectation, oracle
from dlcompare.core.conformance.check import Check, Expected
from dlcompare.core.conformance.diagnosis import ANSWERS, Evidence, diagnose
from dlcompare.core.conformance.suspects import evidence, examine
from dlcompare.core.kinds.kind import Kind, Started
from dlcompare.core.records.choices import Choices

from .reference import reference_work
from .request import VerificationJob, alike
from .result import RankResult, VerificationRecord, case_file

if TYPE_CHECKING:
    from dlcompare.core.conformance.cases import Case


def fold(kind: Kind, job: VerificationJob, ranks: Sequence[RankResult], about: Started) -> VerificationRecord:
    """Return the record of a job whose backend was observed on its cases; of all cases, keep the certificate too."""
    raised = {case: reason for rank in reversed(ranks) for case, reason in rank.failures.items()}
    checks, known = judge_cases(job, about.folder, raised, lambda number, name: about.tell(
        job, {"phase": "judge", "case": name, "done": number}))
    first = ranks[0]
    if not all(one.raised for one in known.values()):  # else there was no trainer to ask
        checks = (*checks, *judge_answers(first))
    if job.cases_from:
        checks = (*(c for c in certificate.cases_of(job.cases_from) if c.case != ANSWERS), *checks)
    divergence = next((one.layer for one in known.values() if one.layer), None)
    path = keep(job, checks, first.versions, divergence, about.folder.parent) if len(known) == len(job.cases) else None
    record: VerificationRecord = kind.outline(
        job, about, status="ok", checks=checks, first_divergence=divergence, certificate=path,
        diagnosis=diagnose(checks, known), failures={name: one.raised for name, one in known.items() if one.raised},
        environment=first.versions, settings=Choices.of(first.settings))
    if record.passed:
        clear(job, about.folder)
    return record


def clear(job: VerificationJob, folder: Path) -> None:
    """Remove what was seen, hundreds of megabytes for a large network; where a check fails one may want to look."""
    for number in range(len(job.cases)):
        (folder / case_file(number)).unlink(missing_ok=True)
    for mark in folder.glob("*.seen-*"):
        mark.unlink()


def keep(job: VerificationJob, checks: Sequence[Check], versions: dict[str, str], divergence: str | None,
         folder: Path) -> str | None:
    """Write the certificate and return its path; None where a user chose cases, which prove too little."""
    if job.case or job.cases_only:
        return None
    made = certificate.make(job, checks, versions, divergence, cases_from=job.cases_from)
    return str(certificate.save(made, folder))


def judge_answers(rank: RankResult) -> list[Check]:
    """Return the checks that a trainer tells its settings and versions: a record without them proves nothing."""
    return [Check(ANSWERS, name, 0.0 if getattr(rank, name) else math.inf, 1.0) for name in ("settings", "versions")]


def judge_cases(job: VerificationJob, folder: Path, raised: Mapping[str, str],
                begin: Callable[..., None]) -> tuple[tuple[Check, ...], dict[str, Evidence]]:
    """Return all checks of a job, and what is known of each case; ``begin`` hears of each.

    With ``fail_fast`` the first case that fails is the last.
    """
    checks: list[Check] = []
    known: dict[str, Evidence] = {}
    for number, name in enumerate(job.cases):
        begin(number, name)
        case = oracle.case(name, job)
        found, known[case.name] = judge_case(name, case, job, folder / case_file(number), raised.get(name), begin)
        checks += found
        if job.fail_fast and not all(check.passed for check in found):
            break
    return tuple(checks), known


def judge_case(name: str, case: Case, job: VerificationJob, file: Path, raised: str | None,
               tell: Callable[..., None]) -> tuple[list[Check], Evidence]:
    """Return the checks of one case and what is known of it; ``file`` holds what was seen unless it ``raised``."""
    from safetensors.numpy import load_file

    if raised is not None:
        return [Check(case.name, "raised", math.inf, 1.0)], dataclasses.replace(evidence(case), raised=raised)
    return examine(case, oracle.case_job(case, job), seen=load_file(file), want=expect(name, alike(job), tell))


def expect(name: str, job: str, tell: Callable[..., None]) -> Expected:
    """Return what the reference shows on a case; jobs that differ only in framework share its work."""
    if name != oracle.MODEL:
        return tiny_expectation(name, job)
    wanted, work = VerificationJob.from_json(job), reference_work(name, job)
    moved = work.moved(lambda over, of: tell(over, f"the reference's trials, {over} of {of}"))
    case = oracle.case(name, wanted)
    return expectation.conclude(case, oracle.case_job(case, wanted), work.exact(), moved)


@functools.lru_cache(maxsize=1024)
def tiny_expectation(name: str, job: str) -> Expected:
    wanted = VerificationJob.from_json(job)
    case = oracle.case(name, wanted)
    return expectation.derive(case, oracle.case_job(case, wanted))
