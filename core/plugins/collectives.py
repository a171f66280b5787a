"""The contract of a framework's collectives: what moves gradients between its processes, with no network around it.

As everywhere a backend says from outside which it offers (``Backend.offered_collectives``), and :class:`Collectives` is
the inside, in one worker process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from dlcompare.core.settings import setting

from .job import COMPARED, DEVICES, MEASURED, PLACE, TRAINS, BaseJob, Job
from .runtime import Loaded

if TYPE_CHECKING:
    import numpy as np

ALL_REDUCE, BROADCAST, ALL_GATHER, REDUCE_SCATTER = COLLECTIVES = (
    "all_reduce", "broadcast", "all_gather", "reduce_scatter")
MODEL = "model:"  # begins a part of sizes that names a network
DTYPE = "float32"  # of payloads: what gradients are exchanged in


@dataclass(frozen=True)
class Message:
    """One message of a training step: which collective, bytes of its buffer, and how many gradients it carries."""

    collective: str
    size: int
    gradients: int


@dataclass(frozen=True)
class CollectiveJob(BaseJob):
    """One collective through one framework's own engine, over sizes as ``core.kinds.comm.sizes`` reads them.

    ``messages`` are those of each model that ``sizes`` names, once they are known; ``task`` "observe" finds them out.
    ``iterations`` and ``size_seconds`` bound what is measured of each size, whichever comes first; ``batch`` and
    ``image_size`` are of the training step whose messages ``model:NAME`` observes.
    """

    framework: str = setting(group=COMPARED, told=True, metavar="NAME[,NAME...]",
                             help="Frameworks whose engines are compared, or 'all' that have one.")
    collective: str = setting(ALL_REDUCE, group=COMPARED, told=True, metavar="NAME[,NAME...]",
                              help=f"{', '.join(COLLECTIVES)}, or 'all'.")
    sizes: str = setting("1K..16M*4", group=COMPARED, told=True, metavar="LIST",
                         help="Bytes: 1K..1G doubles, 1K..1G*4 takes every second of those, 1M,3M are two, "
                              "model:resnet50 the gradients of a step as the framework sends them.")
    workers: int = setting(2, group=TRAINS, least=2, told=True, axis=True, metavar="N",
                           help="Processes that take part.")
    batch: int = setting(8, group=TRAINS, least=1, metavar="N",
                         help="Samples per worker of the step that model:NAME observes.")
    image_size: int | None = setting(None, group=TRAINS, least=1, metavar="PIXELS",
                                     help="Side of its images; default: the network's own.")
    device: str = setting("cpu", group=TRAINS, choices=DEVICES, machine=True,
                          help="Default: cuda where there is one, else cpu.")
    threads: int = setting(1, group=TRAINS, least=1, machine=True, axis=True, metavar="N",
                           help="CPU threads per worker; default: cores / workers.")
    iterations: int = setting(500, group=MEASURED, least=5, told=True, metavar="N",
                              help="Calls of each size, at most.")
    size_seconds: float = setting(2.0, group=MEASURED, above=0, told=True, metavar="SECONDS",
                                  help="And about so long at most; five calls at least, and half as long for checks.")
    port: int | None = setting(None, group=PLACE, least=1, most=65535, once=True, metavar="N",
                               help="Loopback port where workers meet; default: a free one.")
    task: str = setting("measure", choices=("measure", "observe"))
    messages: dict[str, tuple[Message, ...]] = field(default_factory=dict)
    kind: ClassVar[str] = "comm"
    command: ClassVar[str] = "dlcompare comm"
    # What backends ask of a job before they start its processes, as a training in float32 has it.
    precision: ClassVar[str] = "fp32"
    execution: ClassVar[str | None] = None
    layout: ClassVar[str | None] = None
    topology: ClassVar[str | None] = None

    @property
    def runtime(self) -> str:
        return self.framework

    def parts(self) -> tuple[str, ...]:
        return (self.framework, self.collective, f"w{self.workers}")

    def identity(self) -> dict[str, Any]:
        return {"framework": self.framework, "collective": self.collective, "workers": self.workers,
                "device": self.device}

    def training(self, model: str, execution: str) -> Job:
        """Return the training whose messages ``model:NAME`` observes."""
        return Job(self.framework, model, data="synthetic", workers=self.workers, batch=self.batch,
                   image_size=self.image_size, device=self.device, threads=self.threads, execution=execution,
                   port=self.port)


class Call(ABC):
    """One collective on buffers of one size, to be run again and again.

    Its payloads take turns, so that a result left by the call before is not taken for this one's.
    """

    def ready(self, turn: int) -> None:
        """Lay out what this rank gives in a turn, where a call before has overwritten it; outside the clock.

        Not before every call: those whose result nobody checks may run on what the one before has left.
        """

    @abstractmethod
    def run(self, turn: int) -> None:
        """Run the collective on this rank's payload of that turn; return when this rank holds its result."""

    @abstractmethod
    def result(self) -> np.ndarray:
        """Return what the last run left on this rank, one-dimensional; outside the clock."""


class Collectives(Loaded):
    """A framework's own engine of collectives in one worker process, its group joined.

    ``in_place`` are those whose result takes the place of what was given, as the engine itself does it. Any other way
    asked of it, "out of place", copies first, within the clock. ``copies``: how many times a size each process and its
    share of helpers hold at most, as measured, payloads included.
    """

    rank: int = 0
    world: int = 1
    in_place: ClassVar[tuple[str, ...]] = ()
    copies: ClassVar[float] = 4.0

    @abstractmethod
    def barrier(self) -> None:
        """Return when every rank has come here: the nearest that the engine has to one."""

    @abstractmethod
    def gather(self, value: float) -> list[float]:
        """Return every rank's value in rank order, at least as exact as float32."""

    @abstractmethod
    def call(self, collective: str, payloads: Sequence[np.ndarray], *, in_place: bool) -> Call:
        """Return a collective ready to run on what this rank gives: float32 vectors of one length, one for each turn.

        all_reduce and reduce_scatter add up; broadcast is from rank 0; all_gather's payload is this rank's part, and
        reduce_scatter's a whole vector of which rank r gets the r-th part.
        """
