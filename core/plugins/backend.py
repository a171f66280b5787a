"""The contract between dlcompare and a deep-learning framework.

A backend has an outside (:class:`Backend`: importing and asking it never imports the framework; the parent uses it)
and an inside (:class:`Trainer`: lives in one worker process, in the framework's own environment).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dlcompare.core.data.stream import NATIVE, Source, Stream
from dlcompare.core.errors import JobError
from dlcompare.core.graph import Graph

from .job import Job
from .runtime import Loaded, Runtime

if TYPE_CHECKING:
    import numpy as np

    from .collectives import CollectiveJob, Collectives, Message

    Arrays = dict[str, np.ndarray]
else:
    Arrays = dict  # so that insides may import the name without this module importing NumPy


class Backend(Runtime):
    """A framework, seen from outside."""

    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    executions: ClassVar[Mapping[str, str]] = {"eager": "op by op"}  # what it does with each; its users' own first
    layouts: ClassVar[tuple[str, ...]] = ()  # of images in memory, that a job may ask for
    offered_collectives: ClassVar[Mapping[str, str]] = {}  # by name, and what of its own does each
    pipelines: ClassVar[Mapping[str, str]] = {}  # the forms of data its own input pipeline reads, and by what

    def refuse(self, job: Job) -> str | None:
        """Return why this job cannot run here, for people to read; None if it can."""
        if job.device not in self.devices:
            return f"{self.name} runs on {', '.join(self.devices)}, not on {job.device}"
        if job.precision == "tf32" and job.device != "cuda":
            return (f"{self.name}: tf32 is a mode of the matrix units in NVIDIA's GPUs since Ampere; a "
                    f"{job.device.upper()} has none. Use --precision fp32")
        if job.pipeline == NATIVE and (reason := self.refuse_pipeline(job.data, workers=job.workers, skip=job.skip)):
            return reason
        offered = {"precision": self.precisions, "execution": tuple(self.executions), "layout": self.layouts}
        for setting, values in offered.items():
            wanted = getattr(job, setting)
            if wanted is not None and wanted not in values:
                choice = f"offers {', '.join(values)}" if values else f"leaves no choice of {setting}"
                return f"{self.name} {choice}, not {setting} {wanted}"
        return None

    def refuse_pipeline(self, data: str, *, workers: int = 1, skip: Collection[str] = ()) -> str | None:
        """Return why its own input pipeline cannot read data of such a name, so that many workers share; None if it
        can.
        """
        if data.partition(":")[0] not in self.pipelines:
            reads = ", ".join(f"{form}: ({words})" for form, words in self.pipelines.items())
            has = f"its own pipeline for --data {reads}" if reads else "no pipeline of its own"
            return f"{self.name} has {has}, not for {data.partition(':')[0]}; use --pipeline neutral, which reads all"
        if skip:
            return (f"{self.name}'s own pipeline cannot leave single samples out, and {len(skip)} cannot be read; "
                    "remove them and prepare the data again, or use --pipeline neutral")
        return None

    def pipeline(self, source: Source) -> Stream:
        """Return its own input pipeline on what :attr:`pipelines` names. Called inside a worker.

        Raises:
            JobError: what it needs is not in this environment.
        """
        raise JobError(f"{self.name} has no input pipeline of its own")

    def processes(self, job: Job) -> int:
        """Return how many processes carry the job's workers; fewer than those where one drives several devices.

        Each process feeds its share of the global batch, in rank order, and divides it among its devices.
        """
        return job.workers

    def load(self) -> None:
        """Import the framework, in a worker; timed, as part of a cold start."""

    @abstractmethod
    def trainer(self, graph: Graph, params: Arrays, job: Job) -> Trainer:
        """Translate the graph to native layers holding ``params``. Called inside a worker.

        A process may build several trainers, one after another: joining the process group must be idempotent.
        """

    def refuse_collective(self, job: CollectiveJob, *, size: int | None = None) -> str | None:
        """Return why a collective cannot run here with so many bytes (None: with any), for people to read, else None.
        """
        if job.device not in self.devices:
            return f"{self.name} runs on {', '.join(self.devices)}, not on {job.device}"
        if job.collective not in self.offered_collectives:
            return (f"{self.name} has no {job.collective}; its engine offers {', '.join(self.offered_collectives)}"
                    if self.offered_collectives else f"{self.name} has no collectives of its own to measure")
        return None

    def collectives(self, job: CollectiveJob) -> Collectives:
        """Join the job's processes and return the engine of collectives. Called inside a worker.

        Joining is idempotent, and shared with trainers.
        """
        raise JobError(f"{self.name} has no collectives of its own to measure")

    def compile_only(self, graph: Graph, params: Arrays, job: Job) -> dict[str, Any]:
        """Compile the train step for ``job.topology``, a set of devices that need not be here, and return what the
        compiler says of it, as JSON: docs/compile.md has the keys. Called inside a worker.

        Raises:
            JobError: there is no such topology, or the compiler refuses.
        """
        raise JobError(f"{self.name} cannot compile for devices that are not here")


class Trainer(Loaded):
    """A native model being trained by one process.

    A *batch* is this rank's share: input name -> array, first axis the batch, canonical layout and declared dtype.
    """

    rank: int = 0
    world: int = 1

    @abstractmethod
    def place(self, batch: Arrays) -> Any:
        """Return the batch on the device in native layout; may return before the copy ends.

        Inputs that the graph carries from step to step (``Graph.carried``) are left out, whether or not the batch has
        them. Called from a feeding thread while ``step`` runs in the main one.
        """

    @abstractmethod
    def step(self, placed: Any, lr: float) -> None:
        """Start one optimiser step on a placed batch with this learning rate; may return early.

        Carried inputs are what the step before has left, zeros at the first: each rank keeps its own rows. To
        ``forward``, ``activations`` and ``gradients`` they are what the next step would begin with.

        g = mean gradient over all ranks + decay * w;  v = momentum * v + g;  w = w - lr * v, where ``decay_of`` says
        what decays.
        """

    def forward(self, placed: Any) -> None:
        """Start the forward pass of a step on a placed batch, and nothing of the rest; may return early.

        In training mode, to the loss, which :meth:`wait` then returns; nothing is kept for a backward pass. Changes no
        state but running statistics. A backend without it is measured by whole steps alone.
        """
        raise NotImplementedError

    @abstractmethod
    def wait(self) -> float:
        """Block until all that was started has finished; return the last step's loss on this rank's share."""

    @abstractmethod
    def gather(self, value: float) -> list[float]:
        """Return every rank's value in rank order, by the framework's own all-reduce; also a barrier."""

    @abstractmethod
    def predict(self, batch: Arrays) -> Arrays:
        """Return the graph's outputs by name in evaluation mode, float32; the batch may have any length.

        It holds carried inputs too, and the outputs what follows them: nothing is kept here.
        """

    @abstractmethod
    def activations(self, batch: Arrays) -> Arrays:
        """Return every node's results by name in training mode, canonical layout, and change no state.

        The loss node holds the mean over this rank's share. Nodes the loss does not need may be left out.
        """

    @abstractmethod
    def gradients(self, batch: Arrays) -> Arrays:
        """Return the loss's gradient by parameter name, averaged over ranks, without weight decay; change no state."""

    @abstractmethod
    def params(self) -> Arrays:
        """Return all parameters, running statistics included, under neutral names and layouts, float32."""

    def messages(self, placed: Any) -> list[Message]:
        """Take optimiser steps on a placed batch; return in which messages one sends its gradients, in that order.

        As seen by hooks or told by the framework of this very step, never worked out from its documented limits. Rank
        0's answer counts. Several steps may be taken until they are alike; the trainer serves nothing else afterwards.

        Raises:
            JobError: it cannot be seen.
        """
        raise JobError("this backend cannot tell which messages its steps send; give --sizes in bytes")


ORACLE = "reference"  # the backend that all others are held against
AMPERE = (8, 0)  # compute capability of the first NVIDIA GPUs with TensorFloat-32 and bfloat16


def cpu_has(*features: str) -> bool:
    """Return whether Linux lists one of the features for this CPU; True where it lists none, so that the job decides.
    """
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    return not set(next((line.split() for line in lines if line.startswith("flags")), features)).isdisjoint(features)


def need_ampere(job: Job | CollectiveJob, card: str, capability: tuple[int, int]) -> None:
    """Raise JobError if the GPU that a worker got is too old for the job's precision."""
    if job.precision in ("tf32", "bf16") and capability < AMPERE:
        raise JobError(f"{card} has no {job.precision}, which NVIDIA GPUs have from Ampere on (compute capability "
                       "8.0); use --precision fp16 or fp32")
