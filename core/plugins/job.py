"""A job: one frozen cell of a matrix, and all that a worker is told. JSON in, JSON out."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from dlcompare.core.data.stream import NEUTRAL, PIPELINES
from dlcompare.core.errors import UsageError
from dlcompare.core.printable import file_name
from dlcompare.core.settings import check, repetition, setting
from dlcompare.core.typed_json import from_plain, to_plain

from .optimiser import SGD, parse
from .schedule import factor

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
DEVICES = ("cpu", "cuda", "tpu")
EXECUTIONS = ("eager", "graph", "compiled")
LAYOUTS = ("NCHW", "NHWC")
ALL, MATRICES = "all", "matrices"  # which trained parameters weight decay reaches
FAIL, SKIP = "fail", "skip"  # what may be done about a sample that cannot be read
LARGEST = "max"  # instead of a batch: the largest that fits, which is searched for before the job is run

COMPARED = "What is compared"
TRAINS = "How it trains"
MEASURED = "How it is measured"
PLACE = "Where it runs and what comes out"

J = TypeVar("J", bound="BaseJob")


@dataclass(frozen=True)
class BaseJob:
    """What a job of every kind has; a kind's own job is a frozen dataclass on top of it.

    ``kind`` is the kind of measurement whose worker does it; ``command`` what a user types to ask for one.
    """

    kind: ClassVar[str] = ""
    command: ClassVar[str] = "dlcompare"

    def __post_init__(self) -> None:
        check(self)

    @property
    def runtime(self) -> str:
        """Return the name of the framework or engine that runs it."""
        raise NotImplementedError

    @property
    def device(self) -> str:
        """Return the kind of accelerator it runs on."""
        return "cpu"

    @property
    def port(self) -> int | None:
        """Return the loopback port where its processes meet, None to let the launcher choose."""
        return None

    @functools.cached_property
    def id(self) -> str:
        """The folder name of this job: readable, and unique within a plan."""
        import hashlib  # late: OpenSSL takes a fiftieth of a start-up

        return "-".join([*map(file_name, self.parts()), hashlib.sha256(self.to_json().encode()).hexdigest()[:6]])

    def parts(self) -> tuple[str, ...]:
        """Return what a folder's name tells of the job."""
        return (self.runtime, self.kind)

    def called(self, side: str) -> str:
        """Return what a run's progress calls the job, whose side of the comparison tables call ``side``."""
        return " ".join(filter(None, (side, getattr(self, "model", ""))))

    def identity(self) -> dict[str, Any]:
        """Return what a record of the job says of it in fields of its own."""
        return {"framework": self.runtime}

    def to_plain(self) -> dict[str, Any]:
        """Return the job as JSON holds it, its kind included."""
        return {"kind": self.kind, **to_plain(self)}

    def to_json(self) -> str:
        """Return the job as JSON text with sorted keys."""
        return json.dumps(self.to_plain(), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls: type[J], text: str) -> J:
        """Read what :meth:`to_json` wrote; UsageError lists the known keys when there is one it does not know."""
        return cls.from_plain(json.loads(text))

    @classmethod
    def from_plain(cls: type[J], data: dict[str, Any]) -> J:
        """Return the job that :meth:`to_plain` was called on."""
        kind = data.get("kind", cls.kind)
        if kind != cls.kind:
            raise UsageError(f"this is a job of the kind {kind}, not {cls.kind}")
        return from_plain(cls, {key: value for key, value in data.items() if key != "kind"}, what="job")

    def reproduce(self, without: Collection[str] = ()) -> str:
        """Return the shell line that runs this one cell again; ``without`` are fields that its command refuses."""
        return repetition(self.command, self, without)


@dataclass(frozen=True)
class Trial:
    """One batch that was tried for size: whether a short job of it ran, or why it did not, and how long that took."""

    batch: int
    fits: bool
    seconds: float
    reason: str | None = None


@dataclass(frozen=True)
class Job(BaseJob):
    """One framework training one model on one dataset under one protocol.

    ``batch`` is per worker; ``steps`` is per window (None: as many as fill ``window_seconds``); ``threads`` is per
    worker. ``execution`` and ``layout`` are None where the backend chooses; a plan names the execution. ``loss_scale``
    is the first one in fp16. ``save``: keep the trained parameters. ``topology`` names devices to compile for that need
    not be here. ``skip`` are the names of samples to leave out. ``largest``: as it is planned, ``batch`` is the
    first to try, and the job is run with the largest that fits; ``tried`` is how that was found.
    """

    framework: str = setting(
        group=COMPARED, told=True, arithmetic=True, metavar="NAME[,NAME...]",
        help="Frameworks to compare, or 'all' that run on the device. NAME:SETTING=VALUE is one with a setting of its "
             "own.")
    model: str = setting(group=COMPARED, told=True, arithmetic=True, axis=True, metavar="NAME",
                         help="The network; see 'dlcompare list'.")
    data: str = setting("digits", group=COMPARED, machine=True, side=True, metavar="NAME[:ARG]",
                        help="digits, imagefolder:PATH or synthetic; default: digits for image networks, synthetic for "
                             "the others.")
    image_size: int | None = setting(None, group=COMPARED, least=1, axis=True, metavar="PIXELS",
                                     help="Side of the square image; default: the network's own.")
    classes: int | None = setting(None, group=COMPARED, machine=True, least=2, metavar="N",
                                  help="Classes that the last layer tells apart; default: those of the weights, else "
                                       "of the data, else as many as published.")
    weights: str | None = setting(None, group=COMPARED, metavar="FILE",
                                  help="Start from these parameters: .safetensors, a PyTorch checkpoint, or the "
                                       "*.index.json of several files.")
    workers: int = setting(1, group=TRAINS, least=1, told=True, axis=True, metavar="N",
                           help="Worker processes that all-reduce.")
    batch: int = setting(8, group=TRAINS, least=1, machine=True, side=True, axis=True, words=(LARGEST,), metavar="N",
                         per_device={"cuda": 64, "tpu": 64}, help="Samples per worker and step.")
    precision: str = setting("fp32", group=TRAINS, choices=PRECISIONS, told=True, side=True, arithmetic=True, gap=True,
                             axis=True, help="Arithmetic of the network.")
    execution: str | None = setting(None, group=TRAINS, choices=EXECUTIONS, side=True, arithmetic=True, gap=True,
                                    axis=True, help="How the network is run; default: as each framework's users do.")
    layout: str | None = setting(None, group=TRAINS, choices=LAYOUTS, side=True, arithmetic=True, gap=True,
                                 help="Of images in memory; default: each framework's choice.")
    device: str = setting("cpu", group=TRAINS, choices=DEVICES, machine=True, arithmetic=True,
                          help="Default: cuda where there is one, else cpu.")
    threads: int = setting(1, group=TRAINS, least=1, machine=True, side=True, gap=True, axis=True, metavar="N",
                           help="CPU threads per worker; default: cores / workers.")
    loaders: int = setting(2, group=TRAINS, least=1, side=True, metavar="N",
                           help="Image-decoding processes per worker.")
    pipeline: str = setting(NEUTRAL, group=TRAINS, choices=PIPELINES, side=True,
                            help="Where images come from: the neutral pipeline, the same for all, or each framework's "
                                 "own, in an order of its own.")
    on_bad_sample: str = setting(FAIL, group=TRAINS, choices=(FAIL, SKIP),
                                 help="What to do about samples that cannot be used; skip looks at all beforehand and "
                                      "leaves the same ones out of every job.")
    seed: int = setting(0, group=TRAINS, told=True, side=True,
                        help="Of the initial parameters and the order of the samples.")
    lr: float = setting(0.01, group=TRAINS, least=0, told=True, help="Learning rate.")
    schedule: str = setting("constant", group=TRAINS, metavar="NAME",
                            help="constant, warmup:STEPS, cosine:STEPS, warmup-cosine:WARMUP,STEPS, warmup-exp:STEPS, "
                                 "noam:WARMUP or step:STEP[,STEP...]:FACTOR; several joined by * are multiplied.")
    optimiser: str = setting(SGD, group=TRAINS, metavar="NAME[:B1,B2,EPS]",
                             help="sgd, nesterov, adam or adamw; the latter two take betas and epsilon, by themselves "
                                  "0.9,0.999,1e-8.")
    momentum: float = setting(0.9, group=TRAINS, help="Of sgd and nesterov.")
    weight_decay: float = setting(1e-4, group=TRAINS, help="Added to the gradient; with adamw to the step.")
    decay: str = setting(ALL, group=TRAINS, choices=(ALL, MATRICES),
                         help="What weight decay reaches: all trained parameters, or matrices, those of two axes or "
                              "more, sparing biases and scales.")
    clip: float | None = setting(None, group=TRAINS, above=0, metavar="NORM",
                                 help="Shorten the gradient of all parameters together, averaged over workers, to this "
                                      "norm where it is longer; default: never.")
    steps: int | None = setting(None, group=MEASURED, least=1, told=True, metavar="N",
                                help="Optimiser steps per window; default: as many as fill 2 seconds.")
    windows: int = setting(5, group=MEASURED, least=1, told=True, metavar="N", help="Windows to measure.")
    save: bool = setting(False, group=PLACE,
                         help="Keep the trained parameters in the run, for dlcompare infer --from-run.")
    port: int | None = setting(None, group=PLACE, least=1, most=65535, once=True, metavar="N",
                               help="Loopback port where workers meet, for backends that let one choose; default: a "
                                    "free one.")
    window_seconds: float = setting(2.0, above=0)
    warmup_steps: int = setting(3, least=1)
    loss_scale: float = setting(2.0**15)
    topology: str | None = setting(None)
    skip: tuple[str, ...] = ()
    largest: bool = False
    tried: tuple[Trial, ...] = ()
    kind: ClassVar[str] = "training"

    def __post_init__(self) -> None:
        super().__post_init__()
        learning_rate(self, step=0)  # raises on a schedule that does not parse
        parse(self.optimiser)

    @property
    def runtime(self) -> str:
        return self.framework

    def parts(self) -> tuple[str, ...]:
        return (self.framework, self.model, self.precision, f"w{self.workers}")

    def identity(self) -> dict[str, Any]:
        return {"framework": self.framework, "model": self.model, "dataset": self.data, "device": self.device,
                "precision": self.precision, "workers": self.workers, "batch_per_worker": self.batch,
                "global_batch": self.batch * self.workers, "image_size": self.image_size}


def decay_of(job: Job, shape: Sequence[int]) -> float:
    """Return the weight decay of a trained parameter of a shape; any layout will do, for only axes are counted."""
    return job.weight_decay if job.decay == ALL or len(shape) > 1 else 0.0


def learning_rate(job: Job, *, step: int) -> float:
    """Return the learning rate of optimiser step ``step``, counted from 0, under the job's schedule."""
    return job.lr * factor(job.schedule, step=step)
