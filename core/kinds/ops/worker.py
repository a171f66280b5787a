"""What the process of an ``ops`` job does: build each operator's trainer, warm it up, take windows in alternation."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.errors import JobError
from dlcompare.core.graph.params import initial_params
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.record import Window
from dlcompare.core.worker.metering import Metering, metering
from dlcompare.core.worker.ranks import known_rank, leave, resident_bytes
from dlcompare.core.worker.windows import warm_up, watch

from .request import FORWARD, STEP, Cell, OpsJob, cells
from .result import RankResult, Timed

if TYPE_CHECKING:
    from dlcompare.core.graph import Input
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plugins.backend import Arrays, Backend, Trainer

MOST_WARMUP = 8  # steps of each kind
RATE = 0.0  # of learning: the update is made, and the numbers stay as they were drawn


def work(job: OpsJob, folder: Path, events: Events) -> None:
    """Time every cell of the job and leave what was timed."""
    begin, meters = time.perf_counter(), metering(job.device)
    backend = plugins().backend(job.framework)
    events("import", **known_rank(backend))
    backend.load()
    imported = time.perf_counter() - begin
    bench = Bench(job, backend, events, meters)
    timed = bench.network(cells(job)) if job.model else [bench.timed(cell) for cell in cells(job)]
    if not bench.said:
        raise JobError(f"no operator could be timed: {timed[0].reason}")
    leave(RankResult(timed=tuple(timed), startup={"import": imported, "build": sum(one.build_seconds for one in timed)},
                     rss_bytes=resident_bytes(), meters=meters.metered(), **bench.said), folder)


@dataclass
class Ready:
    """A cell whose trainer is built and warm."""

    cell: Cell
    trainer: Trainer
    placed: Any
    calls: dict[str, Callable[[], None]]
    steps: dict[str, int] = field(default_factory=dict)  # of a window
    settled: bool = True
    build_seconds: float = 0.0

    def window(self, call: Callable[[], None], steps: int) -> dict[str, Any]:
        """Take a window of so many calls, and return when it began, by both clocks, and its seconds."""
        return {"started": time.time(), "clock": time.monotonic(), "seconds": (self.seconds(call, steps),)}

    def seconds(self, call: Callable[[], None], steps: int) -> float:
        """Return what so many calls take, from a trainer at rest to a trainer at rest."""
        self.trainer.wait()
        begin = time.perf_counter()
        for _ in range(steps):
            call()
        self.trainer.wait()
        return time.perf_counter() - begin


class Bench:
    """Times cells on one backend; ``said`` is what the last trainer said of itself."""

    def __init__(self, job: OpsJob, backend: Backend, events: Events, meters: Metering) -> None:
        self.job, self.backend, self.events, self.meters = job, backend, events, meters
        self.said: dict[str, Any] = {}

    def network(self, found: Sequence[Cell]) -> list[Timed]:
        """Time the cells of a network; windows of its whole step are spread over the time that the others take."""
        whole, *others = found
        ready = self.ready(whole)
        taken: dict[str, list[Window]] = {FORWARD: [], STEP: []}
        timed = []
        every = max(1, len(others) // max(1, self.job.windows - 1))
        for number, cell in enumerate(others):
            if number % every == 0:
                self.take(ready, taken)
            timed.append(self.timed(cell))
        self.take(ready, taken)
        ready.trainer.close()
        return [told(ready, taken), *timed]

    def timed(self, cell: Cell) -> Timed:
        """Time one cell; what it raises fails it alone."""
        self.events("build", case=cell.name)
        try:
            return self.measured(cell)
        except Exception as error:  # whatever a framework, or its plug-in, raises of an operator, others go on
            what = "" if isinstance(error, JobError) else f"{type(error).__name__}: "
            return Timed(**known(cell), reason=f"{what}{' '.join(str(error).split())[:300]}")
        finally:
            gc.collect()  # its memory is the next one's

    def measured(self, cell: Cell) -> Timed:
        """Time one cell, from its making to its end."""
        ready = self.ready(cell)
        taken: dict[str, list[Window]] = {what: [] for what in ready.calls}
        for _ in range(self.job.windows):
            self.take(ready, taken)
        self.said = {"versions": ready.trainer.versions(), "settings": Choices.of(ready.trainer.settings()),
                     "peak_bytes": ready.trainer.peak_bytes(), "devices": ready.trainer.device_ids()}
        found = told(ready, taken)
        if not self.job.model:  # else another trainer is at work, and closing one may clear what all of them share
            ready.trainer.close()
        return found

    def ready(self, cell: Cell) -> Ready:
        """Build the trainer of a cell and warm it up."""
        begin = time.perf_counter()
        job = dataclasses.replace(self.job, batch=cell.batch)
        trainer = self.backend.trainer(cell.graph, initial_params(cell.graph, job.seed), job)
        placed = trainer.place(invented(cell.graph.inputs, cell.batch, seed=job.seed))
        calls: dict[str, Callable[[], None]] = {STEP: lambda: trainer.step(placed, RATE)}
        if FORWARD in job.passes and type(trainer).forward is not _base().forward:
            calls = {FORWARD: lambda: trainer.forward(placed), **calls}
        ready = Ready(cell, trainer, placed, calls, build_seconds=time.perf_counter() - begin)
        for what, call in ready.calls.items():
            *_, (seconds, settled) = warm_up(partial(ready.seconds, call, 1), least=2, most=MOST_WARMUP)
            ready.steps[what] = max(1, round(self.job.window_seconds / seconds))
            ready.settled &= settled
        return ready

    def take(self, ready: Ready, taken: Mapping[str, list[Window]]) -> None:
        """Take one window of each kind."""
        for what, call in ready.calls.items():
            steps = ready.steps[what]
            flops = ready.cell.flops if what == FORWARD else ready.cell.step_flops
            timed, around = watch(partial(ready.window, call, steps), meters=self.meters)
            taken[what].append(Window(steps=steps, samples=max(1, steps * flops), **timed, **vars(around)))
            self.events("window", case=ready.cell.name, expected=timed["seconds"][0])


def _base() -> type[Trainer]:
    from dlcompare.core.plugins.backend import Trainer

    return Trainer


def told(ready: Ready, taken: Mapping[str, list[Window]]) -> Timed:
    """Return what was timed of a cell."""
    return Timed(**known(ready.cell), forward=tuple(taken.get(FORWARD, ())), step=tuple(taken[STEP]),
                 settled=ready.settled, build_seconds=ready.build_seconds)


def known(cell: Cell) -> dict[str, Any]:
    """Return what a cell says of what is timed."""
    own = {spec.name for spec in dataclasses.fields(Timed)}
    return {**{name: value for name, value in vars(cell).items() if name in own}, "step_flops": cell.step_flops}


def invented(inputs: Mapping[str, Input], batch: int, *, seed: int) -> Arrays:
    """Return samples for a graph's inputs: normal numbers, indices below the bound, masks of ones, full lengths."""
    rng = np.random.default_rng(seed)
    return {name: _values(rng, spec, (batch, *spec.shape)) for name, spec in inputs.items()}


def _values(rng: np.random.Generator, spec: Input, shape: tuple[int, ...]) -> np.ndarray:
    if spec.dtype.startswith("float"):
        return rng.standard_normal(shape, dtype=np.float32)
    if spec.role == "mask":
        return np.ones(shape, spec.dtype)
    if spec.role == "length":
        return np.full(shape, (spec.high or 2) - 1, spec.dtype)
    return rng.integers(0, spec.high or 2, shape).astype(spec.dtype)
