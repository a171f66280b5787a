"""What is asked of ``ops``: frameworks, and operators by name or the layers of a network."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Graph
from dlcompare.core.graph.alone import LAYER, Layer, frame, layers
from dlcompare.core.graph.alone import sides as sides_of
from dlcompare.core.graph.cost import cost, least_training_flops, remaining, training_bytes
from dlcompare.core.graph.named import operator
from dlcompare.core.kinds.kind import Request
from dlcompare.core.kinds.training.request import Swept, settle
from dlcompare.core.machine.memory import free_memory
from dlcompare.core.plan.feasibility import check_batch_norm, default_device, refusal
from dlcompare.core.plan.matrix import distinct, sides
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plan.sweep import swept
from dlcompare.core.plugins.job import COMPARED, MEASURED, TRAINS, Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.settings import default_of, setting

from .published import in_words, operators

PASSES = FORWARD, STEP = "forward", "step"
WHOLE, FRAME = "whole step", "frame"  # what is timed of a network besides its layers
OF_NETWORKS = ("batch", "image_size")  # settings that an operator by name has in its name


@dataclass(frozen=True)
class OpsJob(Job):
    """One framework timed on operators, one after another in one process.

    ``ops`` are their names, or with ``model`` the distinct layers of a network (all if none is named). The batch is
    part of an operator's name; ``batch`` is that of a network. Of each of the ``passes`` an operator has ``windows``,
    in alternation, each about ``window_seconds`` long. ``measures_peak``: no peak that is known holds for it.
    """

    model: str = setting("", group=COMPARED, arithmetic=True, axis=True, flag="--from-model", metavar="NAME",
                         help="Time the distinct layers of this network, and its whole step.")
    ops: tuple[str, ...] = setting((), group=COMPARED, flag="--op", metavar="NAME[,NAME...]",
                                   help="matmul:N, matmul:MxKxN, conv2d:BxHxWxC:HxWxCxF:STRIDE[:PAD], the published "
                                        "matmul-I to conv2d-III, or all of these as 'published'; with --from-model the "
                                        "names of layers.")
    batch: int = setting(8, group=TRAINS, least=1, machine=True, side=True, axis=True, metavar="N",
                         per_device={"cuda": 64, "tpu": 64}, help="Samples of a step of --from-model.")
    passes: tuple[str, ...] = PASSES
    measures_peak: bool = False
    window_seconds: float = setting(0.25, group=MEASURED, above=0, metavar="SECONDS", help="Length of a window.")
    kind: ClassVar[str] = "ops"
    command: ClassVar[str] = "dlcompare ops"

    def parts(self) -> tuple[str, ...]:
        what = self.model or (self.ops[0] if len(self.ops) == 1 else f"{len(self.ops)}ops")
        return (self.framework, what, self.precision, f"t{self.threads}")

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "dataset": "", "model": self.model or ",".join(self.ops),
                "batch_per_worker": self.batch if self.model else 1, "global_batch": self.batch if self.model else 1}

    def reproduce(self, without: Collection[str] = ()) -> str:
        return super().reproduce({*without, "batch"} if self.ops and not self.model else without)


@dataclass(frozen=True)
class Own(Swept):
    """What ``ops`` offers beside the fields of its job."""


@dataclass(frozen=True)
class Cell:
    """One thing that is timed: a graph and its batch. ``flops`` are of a forward pass, ``products`` how many times that
    a training step takes; ``count`` how often a step of the network has it; ``of`` is the layer's op, FRAME or WHOLE;
    ``framed`` names the frames that stand around it, each of which counts by half; ``least`` is the share of ``flops``
    that no algorithm in use can spare.
    """

    name: str
    about: str
    of: str
    count: int
    batch: int
    graph: Graph
    flops: int
    products: float
    framed: tuple[str, ...] = ()
    least: float = 1.0

    @property
    def step_flops(self) -> int:
        """Return the floating-point operations of a training step."""
        return round(self.products * self.flops)


def cells(job: OpsJob) -> list[Cell]:
    """Return what a job times, in order; of a network its whole step first, then layers, then frames.

    Raises:
        UsageError: an operator or a layer does not exist.
    """
    if not job.model:
        return [_of_layer(name, one.layer, one.batch) for name in job.ops for one in [operator(in_words(name))]]
    graph = plugins().model(job.model).graph(job.image_size, job.classes)
    found = layers(graph)
    unknown = set(job.ops) - {one.name for one in found}
    if unknown:
        raise UsageError(f"{job.model} has no layer {', '.join(sorted(unknown))} of its own work; it has: "
                         f"{', '.join(one.name for one in found)}")
    chosen = [one for one in found if one.name in job.ops or not job.ops]
    shapes = dict.fromkeys(shape for one in chosen for shape in one.framed)
    flops = 2 * job.batch * cost(graph).multiply_adds
    least = least_training_flops(graph) / cost(graph).training_flops if flops else 1.0
    return [Cell(WHOLE, f"{job.model}, all of it", WHOLE, 1, job.batch, graph, flops, 3, least=least),
            *(_of_layer(one.name, one, job.batch) for one in chosen),
            *(Cell(sides_of(shape), "what stands around a layer", FRAME, 0, job.batch, frame(shape), 0, 0)
              for shape in shapes)]


def _of_layer(name: str, one: Layer, batch: int) -> Cell:
    return Cell(name, one.about, one.op, one.count, batch, one.graph, 2 * batch * one.multiply_adds, one.products,
                tuple(map(sides_of, one.framed)), remaining(one.graph.node(LAYER)))


def plan(request: Request) -> Plan:
    """Return a job for each framework at each point of a sweep; UsageError if something does not exist or fit."""
    check_swept(request.settings)
    return swept(request.settings, lambda one: plan_point(dataclasses.replace(request, settings=one)), request.tell)


def check_swept(settings: Mapping[str, Any]) -> None:
    """Raise UsageError if several values are given of what operators by name do not heed."""
    several = [name for name in OF_NETWORKS if isinstance(settings.get(name), tuple)]
    if several and not settings.get("model"):
        raise UsageError(f"--{several[0].replace('_', '-')} is that of --from-model; operators have theirs in their "
                         "names, as in --op conv2d:8x32x32x64:3x3x64x64:1,conv2d:16x32x32x64:3x3x64x64:1")


def plan_point(request: Request) -> Plan:
    """Return a job for each framework; UsageError if something does not exist or fit, or nothing was named."""
    given = settle(request)
    check_named(given)
    asked = sides(plugins(), [name.strip() for name in given["framework"].split(",") if name.strip()],
                  device=given.get("device"))
    device = given.get("device") or default_device(plugins(), [side.framework for side in asked])
    usual = {"data": "synthetic", "device": device, "batch": default_of(OpsJob, "batch", device=device),
             "threads": len(os.sched_getaffinity(0))}
    jobs = [OpsJob(**{"execution": next(iter(plugins().backend(side.framework).executions)), **usual, **given,
                      **side.settings, "framework": side.framework}) for side in asked]
    distinct(asked, jobs)
    request.judging.check(side.name for side in asked)
    reasons = {job.id: reason for job in jobs if (reason := _refusal(job))}
    named = {job.id: side.text for job, side in zip(jobs, asked, strict=True) if side.text}
    return Plan("ops", tuple(jobs), reasons, named, rounds=request.repetition.least,
                until=request.repetition.until_decided, judging=request.judging, seed=jobs[0].seed,
                asked={"verify": request.own.verify})


def check_named(given: dict[str, Any]) -> None:
    """Put the published operators in for their common name; UsageError if nothing to time was named."""
    if not given.get("framework") or not (given.get("ops") or given.get("model")):
        raise UsageError("--framework and either --op or --from-model must be given, as in: dlcompare ops --framework "
                         "pytorch-ddp,jax --op matmul:1024, or --from-model resnet50")
    given["ops"] = tuple(_expanded(given.get("ops") or ()))


def _expanded(names: Collection[str]) -> Iterator[str]:
    for name in names:
        yield from operators() if name == "published" else (name,)


def _refusal(job: OpsJob) -> str | None:
    """Return why a job cannot run here: too little memory for an operator, or what refuses any training."""
    found = cells(job)
    for cell in found:
        check_batch_norm(cell.graph, cell.batch)
    needs = {cell.name: training_bytes(cell.graph, cell.batch) for cell in found}
    largest = max(needs, key=lambda name: needs[name])
    free = free_memory()
    if job.device == "cpu" and needs[largest] > free:
        remedy = "use a smaller --batch" if job.model else "leave it out, or name a smaller one"
        return (f"a training step of {largest} needs at least {needs[largest] / 2**30:.1f} GiB and {free / 2**30:.1f} "
                f"GiB are free; {remedy}")
    return refusal(plugins(), dataclasses.replace(job, batch=1), found[0].graph)


JOB, OWN = OpsJob, Own
