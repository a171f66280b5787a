"""One job in this process: ``python -m dlcompare.core.worker job.json folder``.

The worker owns time. A window is: barrier, wait, clock, k steps, wait, clock. Nothing else happens inside.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import host
from .errors import JobError
from .job import Job, learning_rate
from .memory import limit_memory
from .record import RankResult
from .tether import EVENTS, Events, leave_when_told, reason_left, write

if TYPE_CHECKING:
    from .backend import Backend, Trainer
    from .data.feed import Feed

MAX_WARMUP = 25  # steps
SETTLED = 1.15  # two successive warm-up steps whose times differ by less than this factor


class Run:
    """The training loop of one rank: warm-up, then windows."""

    def __init__(self, job: Job, trainer: Trainer, feed: Feed, events: Events) -> None:
        self.job, self.trainer, self.feed, self.events = job, trainer, feed, events
        self.steps = 0
        self.warmup: list[dict[str, Any]] = []
        self.windows: list[dict[str, Any]] = []
        self.losses: list[dict[str, Any]] = []

    def timed(self, steps: int) -> dict[str, Any]:
        """Run one window and return its raw values; raises JobError when the loss is not finite on any rank."""
        trainer, feed, job = self.trainer, self.feed, self.job
        rates = [learning_rate(job, step=self.steps + i) for i in range(steps)]
        trainer.gather(0.0)
        trainer.wait()
        waited, started = feed.waited, time.time()
        begin = time.perf_counter()
        for rate in rates:
            trainer.step(next(feed), rate)
        loss = trainer.wait()
        seconds = time.perf_counter() - begin
        waited = feed.waited - waited
        self.steps += steps
        peers = trainer.gather(seconds)
        losses = trainer.gather(loss)
        if not all(map(math.isfinite, losses)):
            raise JobError(f"the loss is {losses} (by rank) after step {self.steps}: training diverged; "
                           f"use a smaller --lr than {job.lr} or a --schedule with warm-up")
        self.losses.append({"step": self.steps - 1, "loss": loss})
        return {"steps": steps, "seconds": seconds, "peers": peers, "loss": loss, "step": self.steps - 1,
                "started": started, "feed_seconds": waited}

    def watched(self, steps: int) -> dict[str, Any]:
        """Run one window and return its raw values, with what the machine did for others meanwhile."""
        mark = os.environ.get(host.MARK) if self.trainer.rank == 0 else None  # one rank speaks for the machine
        begin, before = time.perf_counter(), host.read(mark) if mark else None
        window = self.timed(steps)
        after = host.read(mark) if mark else None
        return window | host.others(before, after, seconds=time.perf_counter() - begin)

    def warm_up(self) -> bool:
        """Take single steps until two successive ones take about the same time; return whether they did."""
        least, most = self.job.warmup_steps, max(MAX_WARMUP, self.job.warmup_steps)
        while len(self.warmup) < most:
            slowest = max(self.timed(1)["peers"])
            self.warmup.append({"step": self.steps - 1, "seconds": slowest})
            self._report("warm-up", slowest)
            if len(self.warmup) >= max(2, least):
                last, before = slowest, self.warmup[-2]["seconds"]
                if max(last, before) < SETTLED * min(last, before):
                    return True
        return False

    def measure(self) -> None:
        """Take the windows; their length in steps is the same on every rank, for it comes from gathered times."""
        step = self.warmup[-1]["seconds"]
        steps = self.job.steps or max(1, math.ceil(self.job.window_seconds / step))
        for _ in range(self.job.windows):
            self.windows.append(self.watched(steps))
            self._report("window", max(self.windows[-1]["peers"]) / steps)

    def _report(self, phase: str, step_seconds: float) -> None:
        if self.trainer.rank == 0:
            rate = self.job.batch * self.job.workers / step_seconds
            done = len(self.windows) if phase == "window" else len(self.warmup)
            self.events(phase, step=self.steps, done=done, samples_per_second=rate)


def train(job: Job, folder: Path, events: Events) -> None:
    """Train under the protocol and write ``rank-N.json``."""
    from .data.feed import Feed
    from .data.order import Sampler, order_sha256
    from .params import initial_params, params_sha256, read_weights
    from .plugins import plugins

    begin = time.perf_counter()
    model = plugins().model(job.model)
    graph = model.graph(job.image_size)
    events("parameters")
    params = read_weights(Path(job.weights), graph) if job.weights else initial_params(graph, job.seed)
    digest = params_sha256(params)
    parameters_at = time.perf_counter()
    backend = plugins().backend(job.framework)
    events("import", **known_rank(backend))
    backend.load()
    imported_at = time.perf_counter()
    events("build", **known_rank(backend))
    trainer = backend.trainer(graph, params, job)
    built_at = time.perf_counter()
    del params
    events("data", rank=trainer.rank)
    kind, argument = plugins().dataset(job.data)
    dataset = kind.open(argument, graph.inputs, seed=job.seed, train=True, loaders=job.loaders)
    share = job.batch * job.workers // backend.processes(job)  # of this process, which may drive several devices
    sampler = Sampler(dataset.size, seed=job.seed, rank=trainer.rank, world=trainer.world, batch=share)
    with contextlib.closing(dataset), Feed(dataset, sampler, trainer.place) as feed:
        run = Run(job, trainer, feed, events)
        settled = run.warm_up()
        run.measure()
        first_batch = str(feed.first_batch_sha256)  # known: warm-up has read it
    result = RankResult(
        rank=trainer.rank, world=trainer.world, pid=os.getpid(), samples_per_step=share,
        warmup=run.warmup, warmup_settled=settled, windows=run.windows, losses=run.losses,
        params_sha256=digest, sample_order_sha256=order_sha256(dataset.size, job.seed),
        first_batch_sha256=first_batch, versions=trainer.versions(), settings=trainer.settings(),
        peak_bytes=trainer.peak_bytes(), rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        startup={"parameters": parameters_at - begin, "import": imported_at - parameters_at,
                 "build": built_at - imported_at, "first_step": run.warmup[0]["seconds"]})
    write(folder / f"rank-{trainer.rank}.json", result.to_json())
    trainer.gather(0.0)  # nobody leaves, and is taken for dead, before all have written
    trainer.close()


def known_rank(backend: Backend) -> dict[str, int]:
    """Return this worker's rank as its launcher told it, for the program that looks for a missing one."""
    told = os.environ.get(backend.rank_variable, "")
    return {"rank": int(told)} if told.isdigit() else {}


def compile_only(job: Job, folder: Path, events: Events) -> None:
    """Compile the train step for devices that need not be here, and write what the compiler says of it."""
    from .params import initial_params
    from .plugins import plugins

    graph = plugins().model(job.model).graph(job.image_size)
    backend = plugins().backend(job.framework)
    events("compile")
    said = backend.compile_only(graph, initial_params(graph, job.seed), job)
    write(folder / "compiled.json", json.dumps(said, indent=1))


def verify(job: Job, folder: Path, events: Events) -> None:
    """Observe the backend on every case of the job and write what rank 0 saw, for the parent to judge."""
    from . import conformance
    from .params import write_params
    from .plugins import plugins

    backend = plugins().backend(job.framework)
    events("import", **known_rank(backend))
    backend.load()
    for number, name in enumerate(job.cases):
        case = conformance.case(name, job)
        trainer = backend.trainer(case.graph, case.params, conformance.case_job(case, job))
        events("verify", case=name, done=number, rank=trainer.rank)
        seen = conformance.observe(trainer, case, job=conformance.case_job(case, job))
        if trainer.rank == 0:
            write_params(folder / f"case-{number}.safetensors", seen)
            write(folder / "versions.json", json.dumps(trainer.versions()))
        trainer.gather(0.0)
        trainer.close()


def main() -> None:
    """Run the job of ``job.json`` in the folder, both named on the command line."""
    job_file, folder = Path(sys.argv[1]), Path(sys.argv[2])
    leave_when_told(folder)
    with reason_left(folder):
        events = Events(folder / EVENTS)
        events("start")
        limit_memory()
        job = Job.from_json(job_file.read_text())
        {"train": train, "verify": verify, "compile": compile_only}[job.task](job, folder, events)
        events("done")


if __name__ == "__main__":
    main()
