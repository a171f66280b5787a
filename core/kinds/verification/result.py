"""``dlcompare verify``: run backends on the conformance cases, judge them here, and write certificates."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcompare.core.conformance import cases, certificate, oracle
from dlcompare.core.conformance.oracle import Check, Expected
from dlcompare.core.errors import UsageError
from dlcompare.core.plan.matrix import Plan
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.run.runner import Options, Progress, each_started


@dataclass(frozen=True)
class Verified:
    """The outcome for one job: its checks, or the reason there are none."""

    job: Job
    checks: tuple[Check, ...]
    reason: str | None
    divergence: str | None  # the first layer that differs
    certificate: Path | None

    @property
    def passed(self) -> bool:
        return self.reason is None and bool(self.checks) and all(c.passed for c in self.checks)


def verify(plan: Plan, options: Options, progress: Progress) -> Iterator[Verified]:
    """Verify every job of a plan, each as it is done; jobs that differ only in framework share the reference's work."""
    wanted: dict[tuple[str, int], Expected] = {}
    for job, folder, reason in each_started(plan, options, progress):
        if reason:
            yield Verified(job, (), reason, None, None)
        else:
            yield judged(job, folder, wanted, progress)


def judged(job: Job, folder: Path, wanted: dict[tuple[str, int], Expected], progress: Progress) -> Verified:
    """Judge what one backend showed on all cases of the job, and keep the certificate."""
    checks, divergence = judge_all(job, folder, wanted, progress)
    versions = json.loads((folder / "versions.json").read_text())
    path = certificate.save(certificate.make(job, checks, versions, divergence), folder.parent)
    return Verified(job, tuple(checks), None, divergence, path)


def judge_all(job: Job, folder: Path, wanted: dict[tuple[str, int], Expected],
              progress: Progress) -> tuple[list[Check], str | None]:
    """Return all checks of a job, and the first layer of the first case that diverges."""
    from safetensors.numpy import load_file

    checks: list[Check] = []
    divergence = None
    for number, name in enumerate(job.cases):
        progress(job, {"phase": "judge", "case": name, "done": number})
        case = oracle.case(name, job)
        if (name, job.workers) not in wanted:
            wanted[name, job.workers] = oracle.expected(case, oracle.case_job(case, job))
        found = oracle.judge(case, load_file(folder / f"case-{number}.safetensors"), wanted[name, job.workers])
        divergence = divergence or oracle.first_divergence(case, found)
        checks += found
    return checks, divergence


def verification_plan(plan: Plan, workers: Sequence[int]) -> Plan:
    """Turn a training plan into one that verifies every framework with each number of workers."""
    jobs = [dataclasses.replace(job, task="verify", workers=n, cases=oracle.names(job))
            for n in workers for job in plan.jobs]
    reasons = {new.id: plan.refusals[old.id] for new, old in zip(jobs, plan.jobs * len(workers), strict=True)
               if old.id in plan.refusals}
    for job in jobs:
        if cases.BATCH % job.workers:
            raise UsageError(f"verification divides {cases.BATCH} samples among the workers: 1, 2 or 4, "
                             f"not {job.workers}")
        reason = plugins().backend(job.framework).refuse(job)
        if reason:
            reasons[job.id] = reason
    return Plan(tuple(jobs), reasons)


def by_case(checks: Sequence[Check]) -> dict[str, list[Check]]:
    """Return the checks grouped by case, in order."""
    found: dict[str, list[Check]] = defaultdict(list)
    for check in checks:
        found[check.case].append(check)
    return dict(found)


def as_plain(outcome: Verified) -> dict[str, Any]:
    """Return an outcome for ``--format json``."""
    worst = [c for c in outcome.checks if not c.passed]
    return {
        "framework": outcome.job.framework, "model": outcome.job.model, "image_size": outcome.job.image_size,
        "precision": outcome.job.precision, "execution": outcome.job.execution, "layout": outcome.job.layout,
        "device": outcome.job.device, "workers": outcome.job.workers,
        "passed": outcome.passed, "reason": outcome.reason, "first_divergence": outcome.divergence,
        "checks": len(outcome.checks), "failed": [dataclasses.asdict(c) for c in worst],
        "certificate": str(outcome.certificate) if outcome.certificate else None,
    }
