"""What is asked of compilation: a train step for devices that need not be here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import Request
from dlcompare.core.kinds.training.request import Compiled, ask_matrix
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.job import MEASURED, Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.settings import setting


@dataclass(frozen=True)
class CompilationJob(Job):
    """A train step that is compiled for the devices of ``topology`` and not run."""

    topology: str | None = setting(None, group=MEASURED, told=True, metavar="NAME",
                                   help="The devices to compile for, such as v3:2x2, a TPU v3-8.")
    kind: ClassVar[str] = "compilation"

    def parts(self) -> tuple[str, ...]:
        return (*super().parts(), "compile")


@dataclass(frozen=True)
class Own(Compiled):
    """What compilation offers beside the fields of its job."""

    compile_only: bool = setting(False, group=MEASURED,
                                 help="Compile the train step for devices that need not be here, and tell what the "
                                      "compiler says.")


def plan(request: Request) -> Plan:
    """Return the plan that compiles for a topology; UsageError if none is named."""
    if not request.settings.get("topology"):
        raise UsageError("--compile-only needs --topology, such as --topology v3:2x2 for the 8 cores of a TPU v3-8")
    asked = {"data": "synthetic", **request.settings}  # none are read, so the network is the published one
    found = ask_matrix(CompilationJob, dataclasses.replace(request, settings=asked))
    return found.plan({job.id: plugins().backend(job.framework).refuse(job) for job in found.jobs})


JOB, OWN = CompilationJob, Own
