"""One job in this process: ``python -m dlcompare.core.worker job.json folder``.

The worker owns time; see ``windows``.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core.files import write
from dlcompare.core.launch.lifeline import Events, carry
from dlcompare.core.plugins.job import Job
from dlcompare.core.records.record import RankResult
from dlcompare.core.variables import WEIGHTS

from .windows import Run

if TYPE_CHECKING:
    from dlcompare.core.graph import Graph
    from dlcompare.core.plugins.backend import Backend, Trainer


def train(job: Job, folder: Path, events: Events) -> None:
    """Train under the protocol and write ``rank-N.json``."""
    from dlcompare.core.data.feed import Feed
    from dlcompare.core.data.order import Sampler, order_sha256
    from dlcompare.core.graph.params import initial_params, params_sha256, read_weights
    from dlcompare.core.plugins.registry import plugins

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
        reached = measured(run, graph, epoch_steps=sampler.steps)
        first_batch = str(feed.first_batch_sha256)  # known: warm-up has read it
    trained = kept(trainer, folder) if job.save else None
    result = RankResult(
        rank=trainer.rank, world=trainer.world, pid=os.getpid(), samples_per_step=share,
        warmup=run.warmup, warmup_settled=settled, windows=run.windows, losses=run.losses, target=reached,
        trained_sha256=trained,
        params_sha256=digest, sample_order_sha256=order_sha256(dataset.size, job.seed),
        first_batch_sha256=first_batch, versions=trainer.versions(), settings=trainer.settings(),
        peak_bytes=trainer.peak_bytes(), rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        startup={"parameters": parameters_at - begin, "import": imported_at - parameters_at,
                 "build": built_at - imported_at, "first_step": run.warmup[0]["seconds"]})
    write(folder / f"rank-{trainer.rank}.json", result.to_json())
    trainer.gather(0.0)  # nobody leaves, and is taken for dead, before all have written
    trainer.close()


def measured(run: Run, graph: Graph, *, epoch_steps: int) -> dict[str, Any] | None:
    """Take the windows of a job, or train to its target and return how that went."""
    from dlcompare.core.kinds.time_to_accuracy.worker import train_to_target
    from dlcompare.core.plugins.registry import plugins

    job = run.job
    if job.target is None:
        run.measure()
        return None
    label = next(name for name, declared in graph.inputs.items() if declared.role == "label")
    kind, argument = plugins().dataset(job.data)
    exam = kind.open(argument, graph.inputs, seed=job.seed, train=False, loaders=job.loaders)
    return train_to_target(run, exam, label=label, epoch_steps=epoch_steps)


def kept(trainer: Trainer, folder: Path) -> str:
    """Write the trained parameters, running statistics included, as rank 0 has them; return their hash."""
    from dlcompare.core.graph.params import params_sha256, write_params

    params = trainer.params()
    if trainer.rank == 0:
        write_params(folder / WEIGHTS, params)
    return params_sha256(params)


def known_rank(backend: Backend) -> dict[str, int]:
    """Return this worker's rank as its launcher told it, for the program that looks for a missing one."""
    told = os.environ.get(backend.rank_variable, "")
    return {"rank": int(told)} if told.isdigit() else {}


def compile_only(job: Job, folder: Path, events: Events) -> None:
    """Compile the train step for devices that need not be here, and write what the compiler says of it."""
    from dlcompare.core.graph.params import initial_params
    from dlcompare.core.plugins.registry import plugins

    graph = plugins().model(job.model).graph(job.image_size)
    backend = plugins().backend(job.framework)
    events("compile")
    said = backend.compile_only(graph, initial_params(graph, job.seed), job)
    write(folder / "compiled.json", json.dumps(said, indent=1))


def verify(job: Job, folder: Path, events: Events) -> None:
    """Observe the backend on every case of the job and write what rank 0 saw, for the parent to judge."""
    from dlcompare.core.conformance import oracle
    from dlcompare.core.graph.params import write_params
    from dlcompare.core.plugins.registry import plugins

    backend = plugins().backend(job.framework)
    events("import", **known_rank(backend))
    backend.load()
    for number, name in enumerate(job.cases):
        case = oracle.case(name, job)
        trainer = backend.trainer(case.graph, case.params, oracle.case_job(case, job))
        events("verify", case=name, done=number, rank=trainer.rank)
        seen = oracle.observe(trainer, case, job=oracle.case_job(case, job))
        if trainer.rank == 0:
            write_params(folder / f"case-{number}.safetensors", seen)
            write(folder / "versions.json", json.dumps(trainer.versions()))
        trainer.gather(0.0)
        trainer.close()


def run(text: str, folder: Path, events: Events) -> None:
    """Do the job that a text of JSON describes, in a folder."""
    job = Job.from_json(text)
    {"train": train, "verify": verify, "compile": compile_only}[job.task](job, folder, events)


if __name__ == "__main__":
    carry(sys.argv, run)
