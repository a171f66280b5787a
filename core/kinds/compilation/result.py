"""``--compile-only``: have a backend compile the train step for devices that are not here, and estimate its speed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcompare.core.errors import JobError, UsageError
from dlcompare.core.machine import peaks
from dlcompare.core.plan.matrix import Plan
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.run.runner import Options, Progress, each_started

COMPILED = "compiled.json"


@dataclass(frozen=True)
class Compiled:
    """What the compiler said of one job, or the reason why it said nothing."""

    job: Job
    said: dict[str, Any] | None
    reason: str | None

    @property
    def peak(self) -> peaks.Peak | None:
        return peaks.peak(self.said["device_kind"]) if self.said else None

    @property
    def global_batch(self) -> int:
        return self.job.batch * (self.said["workers"] if self.said else self.job.workers)

    @property
    def estimate(self) -> peaks.Estimate | None:
        """Return the roofline of a step; None where no peaks are published or the compiler counted nothing."""
        if self.said is None or self.peak is None or None in self.said["cost"].values():
            return None
        cost = self.said["cost"]
        return peaks.estimate(self.peak, flops=cost["flops"], traffic=cost["bytes"], global_batch=self.global_batch)

    def as_plain(self) -> dict[str, Any]:
        """Return all of it for ``--format json``; what is estimated says so in its name."""
        found = self.estimate
        return {
            "job": json.loads(self.job.to_json()), "compiled": self.said, "reason": self.reason,
            "capacity_bytes": self.peak.memory if self.peak else None,
            "estimated": found and {**dataclasses.asdict(found), "seconds": found.seconds, "bound": found.bound},
            "published": self.peak and {"accelerator": self.peak.accelerator, "source": peaks.SOURCE,
                                        "samples_per_second": peaks.measured(self.peak.accelerator,
                                                                                self.job.model)},
        }


def compilation_plan(plan: Plan, topology: str | None) -> Plan:
    """Turn a training plan into one that compiles for a topology; UsageError if none is named."""
    if not topology:
        raise UsageError("--compile-only needs --topology, such as --topology v3:2x2 for the 8 cores of a TPU v3-8")
    jobs = tuple(dataclasses.replace(job, task="compile", topology=topology) for job in plan.jobs)
    reasons = {job.id: reason for job in jobs if (reason := plugins().backend(job.framework).refuse(job))}
    return Plan(jobs, reasons)


def compile_all(plan: Plan, options: Options, progress: Progress) -> Iterator[Compiled]:
    """Compile every job of a plan, each as it is done."""
    for job, folder, reason in each_started(plan, options, progress):
        yield Compiled(job, None, reason) if reason else said(job, folder)


def said(job: Job, folder: Path) -> Compiled:
    """Read what the compiler said of a job."""
    try:
        return Compiled(job, json.loads((folder / COMPILED).read_text()), None)
    except OSError as error:
        raise JobError(f"the compiler left no {COMPILED} in {folder}; see its log.txt") from error
