"""What is asked of input pipelines: forms of data, numbers of loaders, frameworks with pipelines of their own, a model.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlcompare.core.data.stream import FOLDER, NATIVE, NEUTRAL, PIPELINES
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input
from dlcompare.core.kinds.kind import Request
from dlcompare.core.plan.bad_samples import bad_samples
from dlcompare.core.plan.matrix import make_absolute
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.backend import Backend
from dlcompare.core.plugins.job import COMPARED, MEASURED, TRAINS, BaseJob, Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.plugins.runtime import EnvironmentSpec, Runtime
from dlcompare.core.settings import setting

FORMS = (FOLDER, "tfrecord", "recordio", "webdataset")
LOADING = "resnet18"  # a network that stands for any where a backend wants to hear of one, and none is trained
EXAMPLE = "dlcompare io --data imagefolder:PATH,tfrecord:PATH --loaders 1,2,4"


@dataclass(frozen=True)
class IoJob(BaseJob):
    """One form of data read by one pipeline; ``framework`` whose own it is, or in which ``model`` is trained.

    ``data`` and ``loaders`` have one element each: a request names several.
    """

    data: tuple[str, ...] = setting((), group=COMPARED, told=True, metavar="NAME:PATH[,...]",
                                    help="Forms of the same images: imagefolder:, tfrecord:, recordio:, webdataset:.")
    framework: str = setting("", group=COMPARED, metavar="NAME[,NAME...]",
                             help="Also measure these frameworks' own pipelines, on the forms that they read.")
    model: str | None = setting(None, group=COMPARED, metavar="NAME",
                                help="Also train this network under each framework, and tell how long it waits.")
    pipeline: str = setting(NEUTRAL, group=COMPARED, choices=PIPELINES)
    loaders: tuple[int, ...] = setting((1, 2), group=MEASURED, told=True, metavar="N[,N...]",
                                       help="Loader processes, or threads where a pipeline has those; 1 to 16 are "
                                            "usual.")
    image_size: int = setting(224, group=COMPARED, least=1, told=True, metavar="PIXELS",
                              help="Side of the square images.")
    batch: int = setting(32, group=TRAINS, least=1, told=True, metavar="N", help="Samples of a batch.")
    threads: int = setting(1, group=TRAINS, least=1, machine=True, metavar="N",
                           help="CPU threads of training; default: all cores.")
    windows: int = setting(3, group=MEASURED, least=1, metavar="N", told=True,
                           help="Warm passes, and windows of training of 2 seconds each.")
    on_bad_sample: str = setting("fail", group=TRAINS, choices=("fail", "skip"),
                                 help="What to do about samples that cannot be read.")
    seed: int = setting(0, group=TRAINS, help="Of the order of the samples.")
    classes: int = setting(2, least=1)
    skip: tuple[str, ...] = ()
    kind: ClassVar[str] = "io"
    command: ClassVar[str] = "dlcompare io"

    @property
    def runtime(self) -> str:
        return self.framework or NEUTRAL

    @property
    def source(self) -> str:
        """Return the one form of data."""
        return self.data[0]

    @property
    def inputs(self) -> dict[str, Input]:
        """Return what a batch holds."""
        side = self.image_size
        return {"image": Input((3, side, side)), "label": Input((), "int64", "label", self.classes)}

    def parts(self) -> tuple[str, ...]:
        return (self.runtime, self.source.partition(":")[0], self.pipeline, f"l{self.loaders[0]}", self.model or "io")

    def called(self, side: str) -> str:
        """Return form, pipeline and loaders, which is what tells cells apart, and what is trained on them."""
        form, trained = self.source.partition(":")[0], f"{self.framework} {self.model} on " if self.model else ""
        own = self.pipeline == NATIVE and plugins().backend(self.framework).pipelines.get(form)
        which = f"{self.framework}'s {own}" if own else "the neutral pipeline"
        return f"{trained}{form} by {which}, {self.loaders[0]} loader{'s' * (self.loaders[0] > 1)}"

    def identity(self) -> dict[str, Any]:
        return {"framework": self.runtime, "model": self.model or "", "dataset": self.source,
                "batch_per_worker": self.batch, "global_batch": self.batch, "image_size": self.image_size,
                "pipeline": self.pipeline, "loaders": self.loaders[0]}

    def training(self) -> Job:
        """Return the training that the job stands for, as a backend hears of it."""
        return Job(self.framework, self.model or LOADING, data=self.source, image_size=self.image_size,
                   classes=max(2, self.classes), batch=self.batch, threads=self.threads, loaders=self.loaders[0],
                   pipeline=self.pipeline, seed=self.seed, windows=self.windows, skip=self.skip,
                   execution=next(iter(plugins().backend(self.framework).executions)))


class Interpreter(Runtime):
    """Runs the neutral pipeline in the interpreter that runs dlcompare."""

    name = NEUTRAL


class OfBackend(Runtime):
    """A framework's environment: one plain process for its pipeline alone, its launcher for training."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.name = backend, backend.name  # type: ignore[misc]  # an instance for each backend
        self.rank_variable = backend.rank_variable  # type: ignore[misc]

    def environment(self, device: str) -> EnvironmentSpec | None:
        return self.backend.environment(device)

    def command(self, job: IoJob, python: str) -> list[str]:
        return self.backend.command(job.training(), python) if job.model else [python]

    def variables(self, job: IoJob) -> dict[str, str]:
        return self.backend.variables(job.training())


def runtime_of(job: IoJob) -> Runtime:
    """Return what runs a job."""
    return OfBackend(plugins().backend(job.framework)) if job.framework else Interpreter()


def plan(request: Request) -> Plan:
    """Return a cell for each form of data, number of loaders and pipeline; UsageError if something does not fit."""
    asked = dict(request.settings)
    forms, loaders = asked.pop("data", ()), asked.pop("loaders", (1, 2))
    if not forms:
        raise UsageError(f"--data must be given, as in: {EXAMPLE}")
    if min(loaders) < 1:
        raise UsageError(f"--loaders takes numbers from 1, not {min(loaders)}")
    frameworks = [name.strip() for name in asked.pop("framework", "").split(",") if name.strip()]
    model = asked.pop("model", None)
    if model and not frameworks:
        raise UsageError(f"--model {model} is trained under frameworks; name some, as in --framework pytorch-ddp")
    backends = [plugins().backend(name) for name in frameworks]
    asked.setdefault("threads", len(os.sched_getaffinity(0)))
    jobs = [job for form in forms for base in [with_data(IoJob(**asked), form, request)] for count in loaders
            for job in cells(dataclasses.replace(base, loaders=(count,)), backends, model)]
    return Plan("io", tuple(jobs), {job.id: reason for job in jobs if (reason := refusal(job))})


def with_data(job: IoJob, form: str, request: Request) -> IoJob:
    """Return a job on a form of data, with the samples that it leaves out; UsageError if it cannot be read."""
    name = form.partition(":")[0]
    if name not in FORMS:
        raise UsageError(f"dlcompare io reads images from storage, as {', '.join(FORMS)}, not {form!r}")
    kind, argument = plugins().dataset(form)
    known = dataclasses.replace(job, classes=(kind.classes(argument) if kind.classes else None) or 1)
    kind.check(argument, known.inputs)
    skip = bad_samples(plugins(), form, known.inputs, policy=job.on_bad_sample, tell=request.tell)
    return dataclasses.replace(known, data=(make_absolute(form),), skip=skip)


def cells(job: IoJob, backends: list[Backend], model: str | None) -> list[IoJob]:
    """Return the neutral pipeline, each framework's own where it reads this form, and with a model trainings of both.
    """
    own = [backend.name for backend in backends if job.source.partition(":")[0] in backend.pipelines]
    found = [job, *(dataclasses.replace(job, framework=name, pipeline=NATIVE) for name in own)]
    if model:
        found += [dataclasses.replace(job, framework=backend.name, model=model, pipeline=pipeline)
                  for backend in backends for pipeline in PIPELINES if pipeline == NEUTRAL or backend.name in own]
    return found


def refusal(job: IoJob) -> str | None:
    """Return why a cell cannot be, None if it can."""
    from dlcompare.core.data.order import Sampler  # late: it needs NumPy
    from dlcompare.core.plan.feasibility import refusal as refused

    kind, argument = plugins().dataset(job.source)
    if kind.size:
        Sampler(kind.size(argument, without=job.skip), seed=0, rank=0, world=1, batch=job.batch)
    if not job.framework:
        return None
    if not job.model:
        return plugins().backend(job.framework).refuse_pipeline(job.source, skip=job.skip)
    training = job.training()
    return refused(plugins(), training, plugins().model(job.model).graph(job.image_size, training.classes))


def asked_of(job: Mapping[str, Any]) -> str:
    """Return the form of data of a job, as JSON has it, without its path."""
    return str(next(iter(job["data"]), "")).partition(":")[0]


JOB = IoJob
