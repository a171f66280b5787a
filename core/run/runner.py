"""Carry out a plan: a run folder, one job after another, a record for each, nothing finished ever lost."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from dlcompare.core.conformance import certificate
from dlcompare.core.environments import resolve
from dlcompare.core.environments.sources import view
from dlcompare.core.errors import DlcompareError, EnvironmentUnavailable, JobError, UsageError
from dlcompare.core.files import cannot_write, write
from dlcompare.core.graph.cost import cost
from dlcompare.core.kinds.training import result
from dlcompare.core.launch import failure
from dlcompare.core.launch.start import Ended, launch
from dlcompare.core.machine.system import system
from dlcompare.core.plan import rounds
from dlcompare.core.plan.matrix import Plan
from dlcompare.core.plan.rounds import Cell
from dlcompare.core.plugins.backend import Host
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records import record
from dlcompare.core.records.record import RankResult, Record

PLAN, RECORD, RECORDS = "plan.json", "record.json", "records.json"

Progress = Callable[[Job | None, dict[str, Any]], None]  # the job (None: before any) and an event with a "phase"


@dataclass(frozen=True)
class Options:
    """How to carry out a plan, as opposed to what is compared."""

    out: Path
    env: str | None = None
    resume: bool = False
    stall_seconds: float = 900.0


def run(plan: Plan, options: Options, progress: Progress) -> list[Record]:
    """Run the plan and return its records by round, in plan order within one.

    Records are written as each job ends; on Ctrl-C every process is stopped, what is finished is kept, and
    KeyboardInterrupt goes on. A record that cannot be written is returned all the same.

    Raises:
        UsageError: the output folder cannot be written, or another process is at work in the run to resume.
    """
    folder = run_folder(plan, options)
    with alone(folder):
        records = finished_records(plan, folder) if options.resume else {}
        keep_all(plan, records, folder, progress)  # the last run may have been killed before it could
        todo = dict.fromkeys(cell.job for cell in rounds.everything(plan) if cell.folder not in records)
        ready = environments(dataclasses.replace(plan, jobs=tuple(todo)), options, progress)
        for cell in rounds.to_run(plan, records):
            records[cell.folder] = run_cell(plan, cell, folder, ready, options, progress)
            keep_all(plan, records, folder, progress)
    return in_order(plan, records)


def in_order(plan: Plan, records: Mapping[str, Record]) -> list[Record]:
    """Return the records there are, by round, in plan order within one."""
    return [records[cell.folder] for cell in rounds.everything(plan) if cell.folder in records]


class Planned(Protocol):
    """What a run folder is made for: a plan of training or of inference."""

    @property
    def digest(self) -> str: ...

    def to_json(self) -> str: ...


def run_folder(plan: Planned, options: Options) -> Path:
    """Return a new folder with the plan in it, or for ``--resume`` the newest one of the same plan."""
    if options.resume and (found := resumable(plan, options.out)):
        return found
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    folder = options.out / f"{stamp}-{secrets.token_hex(2)}"
    try:
        folder.mkdir(parents=True)
        write(folder / PLAN, json.dumps({**json.loads(plan.to_json()), "digest": plan.digest}, indent=1))
    except (OSError, JobError) as error:
        cause = error.__cause__ or error
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise UsageError(f"cannot write to {options.out}: {getattr(cause, 'strerror', cause)}; name another folder "
                         "with --out") from error
    return folder


def resumable(plan: Planned, out: Path) -> Path | None:
    """Return the newest run of the same plan."""
    for file in sorted(out.glob(f"*/{PLAN}"), reverse=True):
        with contextlib.suppress(ValueError, AttributeError, OSError):  # not a plan of ours
            if json.loads(file.read_text()).get("digest") == plan.digest:
                return file.parent
    return None


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run folder against a second ``--resume``; UsageError if another process is at work in it."""
    with (folder / PLAN).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{folder} cannot be resumed: another process is at work in it; wait until it has ended, "
                             "or leave --resume out to start anew") from None
        except OSError:
            pass  # a file system without locks
        yield


def environments(plan: Plan, options: Options, progress: Progress) -> dict[str, Path | DlcompareError]:
    """Return by framework the interpreter that runs it, or why there is none."""
    wanted = {job.framework: job.device for job in plan.jobs if job.id not in plan.refusals}
    return interpreters({plugins().backend(name): device for name, device in wanted.items()}, options, progress)


def interpreters(wanted: Mapping[Host, str], options: Options,
                 progress: Progress) -> dict[str, Path | DlcompareError]:
    """Return by name the interpreter that runs each host on its device, or why there is none; missing ones are
    created, all at once.
    """
    def say(text: str) -> None:
        progress(None, {"phase": "environment", "text": text})

    specs = {host: host.environment(device) for host, device in wanted.items()}
    own = [(host.name, wanted[host], spec) for host, spec in specs.items() if spec]
    made = resolve.create_all(own, say) if options.env is None else {}
    return {host.name: made.get((host.name, device)) or resolved(host, device, options, say)
            for host, device in wanted.items()}


def resolved(host: Host, device: str, options: Options, say: Callable[[str], None]) -> Path | DlcompareError:
    """Return the interpreter that the user named, or why it will not do."""
    try:
        return resolve.resolve(options.env, host, device, say)
    except EnvironmentUnavailable as error:
        return error


def finished_records(plan: Plan, run: Path) -> dict[str, Record]:
    """Return by cell folder the records of jobs that have ended well; move what the others left out of the way."""
    found: dict[str, Record] = {}
    for cell in rounds.everything(plan):
        folder = run / cell.folder
        with contextlib.suppress(OSError, ValueError, DlcompareError):  # none, cut short, or of another version
            found[cell.folder] = Record.from_json((folder / RECORD).read_text())
        if cell.folder not in found or found[cell.folder].status != "ok":
            found.pop(cell.folder, None)
            if folder.exists():
                folder.rename(folder.with_name(f"{folder.name}.{secrets.token_hex(3)}"))
    return found


def run_cell(plan: Plan, cell: Cell, run: Path, ready: dict[str, Path | DlcompareError], options: Options,
             progress: Progress) -> Record:
    """Run one job in one round and return its record; a failure is a record too."""
    folder, job = run / cell.folder, cell.job
    label = f"{cell.name} {job.model}"
    if cell.round is not None:
        label += f", round {cell.round + 1}" + ("" if plan.until else f" of {plan.rounds}")

    def tell(job: Job | None, event: dict[str, Any]) -> None:
        progress(job, {"label": label, **event})

    try:
        folder.mkdir()
        write(folder / "job.json", job.to_json())
        result = outcome(job, folder, plan.refusals.get(job.id) or ready.get(job.framework), options, tell)
    except (OSError, JobError) as error:
        log = folder / "log.txt"
        result = record.failed(job, str(error), run=run.name, log=str(log) if log.exists() else None)
    tell(job, {"phase": result.status, "text": result.reason or ""})
    return kept(dataclasses.replace(result, **rounds.stamp(plan, cell)), folder)


def outcome(job: Job, folder: Path, python: Path | DlcompareError | str | None, options: Options,
            progress: Progress) -> Record:
    """Return the record of a job that is run, or refused because of what stands in place of an interpreter."""
    if isinstance(python, Path):
        return execute(job, folder, python, options, progress)
    return record.refused(job, str(python), run=folder.parent.name)


def kept(result: Record, folder: Path) -> Record:
    """Write a record down and return it, with a warning if that cannot be done."""
    try:
        write(folder / RECORD, result.to_json())
    except JobError as error:
        return dataclasses.replace(result, warnings=[*result.warnings, f"this record is not kept: {error}"])
    return result


def keep_all(plan: Plan, records: Mapping[str, Record], folder: Path, progress: Progress) -> None:
    """Write the records so far in one file, in order; where that cannot be done, the file stays as it was."""
    found = [json.loads(one.to_json()) for one in in_order(plan, records)]
    try:
        write(folder / RECORDS, json.dumps(found, indent=1))
    except JobError as error:
        progress(None, {"phase": "records", "text": str(error)})


def started(job: Job, folder: Path, python: Path, options: Options, progress: Progress) -> Ended:
    """Run a job's processes to their end, in a folder that holds its ``job.json``."""
    return launch(plugins().backend(job.framework), job, folder, python=str(python), path=view(plugins().roots()),
                  stall_seconds=options.stall_seconds, on_event=lambda event: progress(job, event))


def each_started(plan: Plan, options: Options, progress: Progress) -> Iterator[tuple[Job, Path, str | None]]:
    """Run jobs that leave no record, in a new folder, and yield each with its folder and why it came to nothing."""
    run = run_folder(plan, options)
    ready = environments(plan, options, progress)
    for job in plan.jobs:
        folder, python = run / job.id, ready.get(job.framework)
        if job.id in plan.refusals or not isinstance(python, Path):
            yield job, folder, plan.refusals.get(job.id) or str(python)
            continue
        try:
            folder.mkdir()
        except OSError as error:
            raise cannot_write(folder, error) from error
        write(folder / "job.json", job.to_json())
        ended = started(job, folder, python, options, progress)
        yield job, folder, ended.reason and f"{ended.reason} (log: {folder / 'log.txt'})"


def execute(job: Job, folder: Path, python: Path, options: Options, progress: Progress) -> Record:
    """Start the job's processes and fold what they wrote into a record."""
    backend = plugins().backend(job.framework)
    before, begin = system(), time.time()
    ended = started(job, folder, python, options, progress)
    about: dict[str, Any] = {"run": folder.parent.name, "started": begin, "duration": time.time() - begin,
                             "log": str(folder / "log.txt"), "system": before}
    if ended.reason:
        return record.failed(job, ended.reason, **about)
    ranks = [RankResult.from_json(p.read_text()) for p in sorted(folder.glob("rank-*.json"))]
    processes = backend.processes(job)
    if len(ranks) < processes:
        return record.failed(job, f"{len(ranks)} of {processes} worker processes left a result", **about)
    graph = plugins().model(job.model).graph(job.image_size)
    image = graph.inputs.get("image")
    total = cost(graph)
    return result.finished(job, ranks, parameters=total.parameters, multiply_adds=total.multiply_adds,
                         image_size=image.shape[-1] if image else None, processes=processes,
                         launch=launched(folder, begin),
                         **certificate.find(job, ranks[0].versions), **about)


def launched(folder: Path, started: float) -> float | None:
    """Return the seconds from the start of the launcher to that of the last worker, if its events tell."""
    begun = [event["time"] for event in failure.read_events(folder) if event["phase"] == "start" and "time" in event]
    return max(0.0, max(begun) - started) if begun else None


def read_records(path: Path) -> list[Record]:
    """Return the records of a run folder or of a ``records.json``; UsageError if there are none."""
    file = path / RECORDS if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"{path} holds no records.json; give a run folder, such as the newest below runs/")
    return record.parse(file.read_text())
