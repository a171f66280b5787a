"""Carry out a plan: a run folder, one job after another, a record for each, nothing finished ever lost."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlcompare.core.environments import health, resolve
from dlcompare.core.environments.sources import linked_sources
from dlcompare.core.errors import DlcompareError, EnvironmentUnavailable, JobError, PluginError, UsageError
from dlcompare.core.files import give_room_back, write
from dlcompare.core.kinds.kind import Kind, Options, Prepared, kind
from dlcompare.core.launch.sampling import sampled
from dlcompare.core.launch.start import Steps, drive, launching
from dlcompare.core.launch.turns import Baton
from dlcompare.core.machine.system import system
from dlcompare.core.plan import rounds, sweep
from dlcompare.core.plan.plan import Plan, Tell
from dlcompare.core.plan.rounds import Cell
from dlcompare.core.plugins.job import BaseJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.plugins.runtime import Runtime
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.circumstances import Circumstances
from dlcompare.core.records.record import Record
from dlcompare.core.variables import JOB, LOG, PLAN, RECORD

from . import left
from .alternation import APART, alternate
from .folder import in_order, lock, read_finished, read_record, run_folder, set_aside, write_records
from .left import with_caveat, write_record
from .outlook import after_round

Python = Path | DlcompareError
FEW = 9  # jobs that a person counts without help
WRITING_SHARE = 20  # times as long as writing all records took pass before they are written again


def carry_out(plan: Plan, options: Options, tell: Tell) -> list[Record]:
    """Run the plan and return its records by round, in plan order within one.

    Records are written as each job ends; on Ctrl-C every process is stopped, what is finished is kept, and
    KeyboardInterrupt goes on. A record that cannot be written is returned all the same.

    Raises:
        UsageError: the output folder cannot be written, or another process is at work in the run to resume.
    """
    linked_sources(plugins().roots())  # refused before anything starts if others could write there
    plugins().meters()  # or if one was named that there is not
    folder = run_folder(plan, options)
    with lock(folder):
        return Runner(plan, kind(plan.kind), folder, options, tell).all()


@dataclass
class Runner:
    """One run being carried out; see ``kinds.kind.Run`` for what a kind sees of it."""

    plan: Plan
    kind: Kind
    folder: Path
    options: Options
    tell: Tell
    records: dict[str, Record] = field(default_factory=dict)  # by cell folder
    pythons: dict[tuple[str, str], Python] = field(default_factory=dict)  # by framework or engine, and device
    beside: bool = False  # within another run, for its sake
    apart: dict[str, str] = field(default_factory=dict)  # by job id, why it runs beside no other
    due: float = 0.0  # when all records are to be written in one file again, by the monotonic clock

    def all(self) -> list[Record]:
        """Run whatever is not finished and return all records."""
        if self.options.resume:
            self.records = read_finished(self.plan, self.kind, self.folder, self.recovered)
        self.keep_all()  # the last run may have been killed before it could
        prepared = self.prepare()
        self.make_environments([c.job for c in rounds.everything(self.plan) if c.folder not in self.records])
        try:
            for cells in rounds.to_run(self.plan, self.records, self.decided, self.together):
                self.run(cells, prepared)
                self.tell_outlook(cells[0].round)
            for record in self.kind.conclude(self.plan, self, in_order(self.plan, self.records), prepared):
                folder = self.folder / record.id
                folder.mkdir(exist_ok=True)
                self.keep(record.id, write_record(record, folder))
        finally:
            self.keep_all()
        return in_order(self.plan, self.records)

    def prepare(self) -> Prepared:
        """Return what makes jobs ready; a new run that cannot be prepared leaves no folder behind."""
        try:
            return self.kind.prepare(self.plan, self)
        except UsageError:
            if not self.records and not self.options.resume:  # which may have found results and logs of before
                shutil.rmtree(self.folder)
            raise

    def decided(self, records: Any) -> bool:
        return self.kind.decided(records, self.plan.judging)

    def tell_outlook(self, number: int | None) -> None:
        """Tell how far the ratios are from a decision when a round is done."""
        if number is not None and not self.beside and rounds.complete(self.plan, self.records, number):
            self.tell(None, {"phase": "rounds", "text": after_round(self.plan, self.kind, self.records)})

    def keep(self, name: str, record: Record) -> None:
        """Take a record in, and write all that there are when that is due: each lies in its cell's folder already."""
        self.records[name] = record
        if time.monotonic() >= self.due:
            self.keep_all()

    def keep_all(self) -> None:
        """Write all records in one file, in order; thousands take a while, so the next time comes the later."""
        begin = time.monotonic()
        try:
            write_records(self.folder, in_order(self.plan, self.records))
        except JobError as error:
            self.tell(None, {"phase": "records", "text": str(error)})
        now = time.monotonic()
        self.due = now + WRITING_SHARE * (now - begin)

    def make_environments(self, jobs: list[BaseJob]) -> None:
        """Find or make the interpreters of all jobs that are not refused, all at once."""
        wanted = {(job.runtime, job.device): self.kind.runtime(job) for job in jobs if job.id not in self.plan.refusals}
        self.find({key: runtime for key, runtime in wanted.items() if key not in self.pythons})

    def find(self, wanted: Mapping[tuple[str, str], Runtime]) -> None:
        """Find or make interpreters, by name and device."""
        specs = {key: resolve.ask(runtime, key[1]) for key, runtime in wanted.items()}
        own = [(*key, spec) for key, spec in specs.items() if spec]
        made = resolve.create_all(own, self.say) if self.options.env is None else {}
        self.pythons |= {key: made.get(key) or self.named_interpreter(runtime, key[1])
                         for key, runtime in wanted.items()}

    def named_interpreter(self, runtime: Runtime, device: str) -> Python:
        """Return the interpreter that the user named, or why it will not do."""
        try:
            return resolve.resolve(self.options.env, runtime, device, self.say)
        except (EnvironmentUnavailable, PluginError) as error:
            return error

    def say(self, text: str) -> None:
        self.tell(None, {"phase": "environment", "text": text})

    def interpreter(self, runtime: Runtime, device: str) -> Python:
        if (runtime.name, device) not in self.pythons:
            self.find({(runtime.name, device): runtime})
        return self.pythons[runtime.name, device]

    def together(self, job: BaseJob) -> Hashable:
        """Return what jobs have in common whose windows may alternate, a sweep's point too; None for one not to."""
        common = None if job.id in self.apart else self.kind.together(job)
        return None if common is None else (common, json.dumps(self.plan.points.get(job.id), sort_keys=True))

    def run(self, cells: Sequence[Cell], prepared: Prepared) -> None:
        """Run jobs of a round side by side, or a single one, and take their records in."""
        if len(cells) == 1:
            self.take(cells[0], drive(self.record_of(cells[0], prepared)))
            return
        self.apart |= alternate(cells, lambda cell, baton: self.record_of(cell, prepared, baton),
                                lambda cell: self.kind.results(cell.job), self.take)
        for cell in cells:
            if left.lacked_memory(self.records.get(cell.folder)):
                set_aside(self.folder / cell.folder)
                self.apart[cell.job.id] = "memory ran out in it while others waited beside it"
                del self.records[cell.folder]
            if cell.folder not in self.records:
                self.run([cell], prepared)

    def take(self, cell: Cell, record: Record) -> None:
        """Take the record of a cell in, with why it could not run beside others if it could not."""
        if why := self.apart.get(cell.job.id):
            record = with_caveat(record, Caveat.of(APART, reason=why))
        self.keep(cell.folder, write_record(record, self.folder / cell.folder))

    def record_of(self, cell: Cell, prepared: Prepared, baton: Baton | None = None) -> Steps[Record]:
        """Run one job in one round and return its record; a failure is a record too."""
        folder, about = self.folder / cell.folder, Circumstances(run=self.folder.name)
        label = cell.job.called(cell.name)
        if point := self.plan.points.get(cell.job.id):
            label += f", {sweep.in_words(point)}"
        if self.beside:
            label += f", {self.kind.name}"
        if cell.round is not None:
            label += f", round {cell.round + 1}" + ("" if self.plan.until else f" of {self.plan.rounds}")
        try:
            result = yield from self.outcome(cell.job, folder, prepared, label, baton)
        except (OSError, JobError) as error:
            log = folder / LOG
            about = dataclasses.replace(about, log=str(log) if log.exists() else None)
            result = self.kind.outline(cell.job, about, status="failed", reason=str(error))
        self.tell(cell.job, {"label": label, "phase": result.status, "text": result.reason or "", **self.place()})
        return dataclasses.replace(result, **rounds.stamp(self.plan, cell))

    def place(self) -> dict[str, str]:
        """Return how far a run of many jobs is, for whoever tells of it; nothing where nobody knows how many come."""
        jobs = len(self.plan.before) + len(self.plan.jobs) * self.plan.rounds + len(self.plan.after)
        known = jobs > FEW and self.plan.until is None
        return {"place": f"{len(self.records) + 1:,} of {jobs:,}"} if known else {}

    def outcome(self, asked: BaseJob, folder: Path, prepared: Prepared, label: str,
                baton: Baton | None) -> Steps[Record]:
        """Return the record of a job that is run, or refused for a reason that was known before."""
        folder.mkdir()
        about = Circumstances(run=self.folder.name)
        reason = self.plan.refusals.get(asked.id) or sweep.ended(self.plan, asked, self.records)
        if reason is None:
            python = self.interpreter(self.kind.runtime(asked), asked.device)
            reason = None if isinstance(python, Path) else str(python)
        if reason is not None:
            return self.kind.outline(asked, about, status="refused", reason=reason)
        job = prepared(asked)
        self.rest(job, label)  # before meters look: whether a job begins hot is asked of what it really begins with
        with sampled(job, folder) as spare:
            about = dataclasses.replace(about, system=system(), started=time.time(), log=str(folder / LOG))
            left.note(about, folder)
            reason = yield from self.starting(job, folder, label=label, baton=baton, spare=spare)
            about = dataclasses.replace(about, duration=time.time() - (about.started or 0.0))
        if reason is not None and not left.is_complete(self.kind, job, folder):
            return self.kind.outline(job, about, status="failed", reason=reason)
        record = self.folded(job, folder, about, label)
        return record if reason is None else with_caveat(record, Caveat.of("ended badly", reason=reason))

    def recovered(self, cell: Cell, folder: Path) -> Record | None:
        """Return the record of results that a job has left whole, although none was kept; None if there are none."""
        try:
            job = self.kind.job.from_json((folder / JOB).read_text())
            if job.runtime != cell.job.runtime or not left.is_complete(self.kind, job, folder):
                return None
            made = self.folded(job, folder, left.noted(folder), cell.name)
        except (OSError, ValueError, TypeError, DlcompareError):  # damaged as well: it is run again
            return None
        if (folder / RECORD).exists():
            set_aside(folder / RECORD)
        return write_record(dataclasses.replace(made, **rounds.stamp(self.plan, cell)), folder)

    def folded(self, job: BaseJob, folder: Path, about: Circumstances, label: str) -> Record:
        """Return the record of what a job's processes have left; a failed one if it cannot be made."""
        return left.record(self.kind, job, folder, about, self.telling(label), cool_down=self.options.cool_down,
                           others=list(self.records.values()))

    def rest(self, job: BaseJob, label: str) -> None:
        """Let the machine cool down for as long as was asked for."""
        if self.options.cool_down:
            self.telling(label)(job, {"phase": "cool-down", "expected": self.options.cool_down})
            time.sleep(self.options.cool_down)

    def start(self, job: BaseJob, folder: Path, *, label: str) -> str | None:
        """Run a job's processes to their end in a folder, made if need be; return why that failed, None if it did not.
        """
        return drive(self.starting(job, folder, label=label))

    def starting(self, job: BaseJob, folder: Path, *, label: str, baton: Baton | None = None,
                 spare: int | None = None) -> Steps[str | None]:
        """Do the same in steps; with a baton, in turn with others. A ``spare`` core is left to others."""
        if (folder / JOB).exists():  # of a try that did not end well: its last words are not this one's
            set_aside(folder)
        folder.mkdir(exist_ok=True)
        write(folder / JOB, job.to_json())
        runtime = self.kind.runtime(job)
        python = self.interpreter(runtime, job.device)
        if not isinstance(python, Path):
            return str(python)
        try:
            ended = yield from launching(
                runtime, job, folder, python=str(python), path=linked_sources(plugins().roots()), baton=baton,
                spare=spare, stall_seconds=self.options.timeout, on_event=lambda event: self.telling(label)(job, event))
        finally:
            give_room_back(folder)
        if ended.reason is None or self.options.env is not None:
            return ended.reason
        return health.blamed(ended.reason, runtime.name, job.device, resolve.ask(runtime, job.device))

    def telling(self, label: str) -> Tell:
        """Return what tells events of a job under the label that people know it by."""
        return lambda job, event: self.tell(job, {"label": label, **event})

    def carry_out_beside(self, plan: Plan, name: str) -> list[Record]:
        """Carry out another plan in a folder of this run; interpreters that are known are not looked for again."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        write(folder / PLAN, plan.to_json())
        return Runner(plan, kind(plan.kind), folder, self.options, self.tell, pythons=self.pythons, beside=True).all()

    def stored_record(self, name: str) -> Record | None:
        """Return what a run that is resumed has of a record that concludes it; what did not end well is set aside."""
        record = read_record(self.kind, self.folder / name) if self.options.resume else None
        if (record is None or record.status != "ok") and (self.folder / name).exists():
            set_aside(self.folder / name)
            return None
        return record
