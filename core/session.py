"""Carry out a plan: a run folder, one job after another, a record for each, nothing finished ever lost."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import certificate, envs, fold, record
from .cost import cost
from .errors import DlcompareError, EnvironmentUnavailable, UsageError
from .job import Job
from .launch import launch
from .plan import Plan
from .plugins import plugins
from .record import RankResult, Record
from .system import system
from .view import view
from .worker import write

Progress = Callable[[Job | None, dict[str, Any]], None]  # the job (None: before any) and an event with a "phase"


@dataclass(frozen=True)
class Options:
    """How to carry out a plan, as opposed to what is compared."""

    out: Path
    env: str | None = None
    resume: bool = False
    stall_seconds: float = 900.0


def run(plan: Plan, options: Options, progress: Progress) -> list[Record]:
    """Run the plan and return one record per job, in plan order.

    Records are written as each job ends; on Ctrl-C every process is stopped, what is finished is kept, and
    KeyboardInterrupt goes on.

    Raises:
        UsageError: the output folder cannot be written.
    """
    folder = run_folder(plan, options)
    ready = environments(plan, options, progress)
    records = []
    for job in plan.jobs:
        done = finished_record(folder / job.id) if options.resume else None
        records.append(done or run_job(job, folder, plan.refusals.get(job.id), ready, options, progress))
        write(folder / "records.json", json.dumps([json.loads(r.to_json()) for r in records], indent=1))
    return records


def run_folder(plan: Plan, options: Options) -> Path:
    """Return a new folder with the plan in it, or for ``--resume`` the newest one of the same plan."""
    if options.resume:
        plans = sorted(options.out.glob("*/plan.json"), reverse=True)
        for file in plans:
            if json.loads(file.read_text()).get("digest") == plan.digest:
                return file.parent
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    folder = options.out / f"{stamp}-{secrets.token_hex(2)}"
    try:
        folder.mkdir(parents=True)
        text = json.dumps({**json.loads(plan.to_json()), "digest": plan.digest}, indent=1)
        write(folder / "plan.json", text)
    except OSError as error:
        raise UsageError(f"cannot write to {options.out}: {error.strerror}; name another folder with --out") from error
    return folder


def environments(plan: Plan, options: Options, progress: Progress) -> dict[str, Path | DlcompareError]:
    """Return by framework the interpreter that runs it, or why there is none; missing ones are created, all at once."""
    wanted = {job.framework: job for job in plan.jobs if job.id not in plan.refusals}
    specs = {name: plugins().backend(name).environment(job.device) for name, job in wanted.items()}

    def say(text: str) -> None:
        progress(None, {"phase": "environment", "text": text})

    own = [(name, wanted[name].device, spec) for name, spec in specs.items() if spec]
    made = envs.create_all(own, say) if options.env is None else {}
    return {name: made.get((name, job.device)) or resolved(name, job, options, say) for name, job in wanted.items()}


def resolved(name: str, job: Job, options: Options, say: Callable[[str], None]) -> Path | DlcompareError:
    """Return the interpreter that the user named, or why it will not do."""
    try:
        return envs.resolve(options.env, plugins().backend(name), job.device, say)
    except EnvironmentUnavailable as error:
        return error


def finished_record(folder: Path) -> Record | None:
    """Return the record of a job that has ended well already; move what an unfinished one left out of the way."""
    file = folder / "record.json"
    if file.exists() and (found := Record.from_json(file.read_text())).status == "ok":
        return found
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.{int(time.time())}"))
    return None


def run_job(job: Job, run: Path, refused: str | None, ready: dict[str, Path | DlcompareError],
            options: Options, progress: Progress) -> Record:
    """Run one job and return its record; a failure is a record too."""
    folder = run / job.id
    folder.mkdir()
    write(folder / "job.json", job.to_json())
    python = ready.get(job.framework)
    if refused or not isinstance(python, Path):
        result = record.refused(job, refused or str(python), run=run.name)
    else:
        result = execute(job, folder, python, options, progress)
    progress(job, {"phase": result.status, "text": result.reason or ""})
    write(folder / "record.json", result.to_json())
    return result


def execute(job: Job, folder: Path, python: Path, options: Options, progress: Progress) -> Record:
    """Start the job's processes and fold what they wrote into a record."""
    backend = plugins().backend(job.framework)
    before, started = system(), time.time()
    ended = launch(backend, job, folder, python=str(python), path=view(plugins().roots()),
                   stall_seconds=options.stall_seconds, on_event=lambda event: progress(job, event))
    about: dict[str, Any] = {"run": folder.parent.name, "started": started, "duration": time.time() - started,
                             "log": str(folder / "log.txt"), "system": before}
    if ended.reason:
        return record.failed(job, ended.reason, **about)
    ranks = [RankResult.from_json(p.read_text()) for p in sorted(folder.glob("rank-*.json"))]
    if len(ranks) < job.workers:
        return record.failed(job, f"{len(ranks)} of {job.workers} workers left a result", **about)
    graph = plugins().model(job.model).graph(job.image_size)
    image = graph.inputs.get("image")
    total = cost(graph)
    return fold.finished(job, ranks, parameters=total.parameters, multiply_adds=total.multiply_adds,
                         image_size=image.shape[-1] if image else None,
                         verified=certificate.find(job, ranks[0].versions), **about)


def read_records(path: Path) -> list[Record]:
    """Return the records of a run folder or of a ``records.json``; UsageError if there are none."""
    file = path / "records.json" if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"{path} holds no records.json; give a run folder, such as the newest below runs/")
    return record.parse(file.read_text())
