"""The contract of a kind of measurement: what it asks, what its worker does, how ranks are folded, how it is shown.

A kind is a folder with the same files in each: ``request.py`` (from what a user asks to a plan), ``worker.py`` (what
one process does), ``result.py`` (the raw result of a rank, and the record), ``folding.py`` (from those to that),
``report.py``. Its ``__init__.py`` holds the :class:`Kind` and offers it from the hook ``dlcompare_kinds``. The spine
does the rest: rounds, run folder, resume, environments, launching, events, records, verdicts.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from dlcompare.core import hookspec
from dlcompare.core.judging.judging import AS_USUAL, Judging
from dlcompare.core.launch.silence import LONGEST
from dlcompare.core.plan.plan import Plan, Repetition, Tell, silent
from dlcompare.core.plugins.job import PLACE, BaseJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.circumstances import Circumstances, stamp
from dlcompare.core.settings import setting

if TYPE_CHECKING:
    from dlcompare.core.errors import DlcompareError
    from dlcompare.core.judging.verdict import Comparison
    from dlcompare.core.plugins.runtime import Runtime
    from dlcompare.core.records.record import Record

RUNS = Path("runs")
ONCE = Repetition()


@dataclass(frozen=True)
class Options:
    """How to carry out a plan, as opposed to what is measured."""

    env: str | None = setting(None, group=PLACE, metavar="current|PYTHON",
                              help="Run the workers with this interpreter instead of an environment of dlcompare's "
                                   "own.")
    out: Path = setting(RUNS, group=PLACE, metavar="DIR", help="Folder for runs.")
    resume: bool = setting(False, group=PLACE, help="Go on with the newest unfinished run of the same command.")
    cool_down: float = setting(0.0, group=PLACE, least=0, metavar="SECONDS",
                               help="Leave the machine idle for so long before each job: a device that begins hotter "
                                    "takes more energy.")
    timeout: float = setting(LONGEST, group=PLACE, least=1, metavar="SECONDS",
                             help="Give a job up that reports nothing for so long, or for less where it should be "
                                  "quick.")


@dataclass(frozen=True)
class Nothing:
    """The options of a kind that has none but its job's."""


@dataclass(frozen=True)
class Request:
    """What a user asks of a kind: fields of its job that were given, its own options, how often, and how judged.

    ``tell`` hears what takes long while it is planned.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    own: Any = Nothing()
    repetition: Repetition = ONCE
    judging: Judging = AS_USUAL
    tell: Tell = silent


@dataclass(frozen=True, kw_only=True)
class Started(Circumstances):
    """The circumstances of a job that was started: its folder too, and ``tell``, where folding takes long."""

    folder: Path
    tell: Tell


@dataclass(frozen=True)
class Answer:
    """What came of a request: records, and what a kind concluded from further ones beside them; ``missed`` says what
    was asked for beside and could not be made of them.
    """

    records: Sequence[Any]
    explanation: Any = None
    more: Sequence[Any] = ()
    missed: str = ""


class Run(Protocol):
    """A run that is being carried out, as a kind sees it that prepares or concludes one."""

    @property
    def folder(self) -> Path: ...

    @property
    def options(self) -> Options: ...

    @property
    def tell(self) -> Tell: ...

    def interpreter(self, runtime: Runtime, device: str) -> Path | DlcompareError:
        """Return the Python that runs a framework or engine on a device, made if need be, or why there is none."""

    def start(self, job: BaseJob, folder: Path, *, label: str) -> str | None:
        """Run a job's processes to their end in a folder; return why that came to nothing, None if it did not."""

    def stored_record(self, name: str) -> Record | None:
        """Return what a run that is resumed has of a record that concludes it."""

    def carry_out_beside(self, plan: Plan, name: str) -> list[Record]:
        """Carry out another plan, of any kind, in a folder of this name within the run, and return its records."""


Prepared = Callable[[BaseJob], BaseJob]


class Kind:
    """One kind of measurement. Importing and asking it loads no framework and no NumPy, and not its results either.

    What it does is in the files of its folder, imported when they are needed and the same for every kind:

        request.JOB, request.OWN                       its job, and its options beside that one's fields, if it has any
        request.plan(request) -> Plan                  UsageError if something does not exist or fit
        worker.work(job, folder, events)               in a worker: do the job, and leave ``rank-N.json``
        result.RANK, result.RECORD                     the dataclasses of a raw result and of a record
        folding.fold(kind, job, ranks, about) -> Record    of a job whose processes all ended well
        report.render(answer, form, judging) -> str    ``judging`` None: side by side, without verdicts
        report.WORDS                                   of caveats of its own, if it has any; see ``reports.words``

    ``room`` is how many bytes a rank's result takes at most, as a rule, besides the windows that its job asks for.
    ``command`` is the sub-command that asks for it, "" for the program's own; of several kinds with one command, that
    is meant whose ``selected_by`` options are given, the one without any otherwise. ``repeats``: its jobs may run in
    rounds and be judged; ``sweeps``: its plan takes several values of the settings that are axes, as tuples.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    command: ClassVar[str] = ""
    selected_by: ClassVar[tuple[str, ...]] = ()
    refused: ClassVar[tuple[str, ...]] = ()  # fields of its job that it chooses itself and a user may not give
    repeats: ClassVar[bool] = True
    sweeps: ClassVar[bool] = False
    forms: ClassVar[tuple[str, ...]] = ("table", "json", "csv")
    room: ClassVar[int] = 32 << 10
    old_file: ClassVar[str] = ""  # in which an earlier version left a run's records; see ``stored``

    def part(self, name: str) -> Any:
        """Return a file of the kind's folder as a module."""
        return importlib.import_module(f".{name}", type(self).__module__)

    @property
    def job(self) -> type[BaseJob]:
        """Return the dataclass of its jobs."""
        found: type[BaseJob] = self.part("request").JOB
        return found

    @property
    def own(self) -> type:
        """Return the dataclass of its options beside the fields of its job."""
        found: type = getattr(self.part("request"), "OWN", Nothing)
        return found

    @property
    def rank(self) -> type:
        """Return the dataclass of one process's raw result."""
        found: type = self.part("result").RANK
        return found

    @property
    def record(self) -> type[Record]:
        """Return the dataclass of its records."""
        found: type[Record] = self.part("result").RECORD
        return found

    def plan(self, request: Request) -> Plan:
        """Return the plan of a request; UsageError if something does not exist or fit."""
        found: Plan = self.part("request").plan(request)
        return found

    def report(self, answer: Answer, form: str, judging: Judging | None) -> str:
        """Return what came of a request, or stored records of this kind, as text in one of the forms."""
        return str(self.part("report").render(answer, form, judging))

    def words(self) -> Mapping[str, Callable[[Mapping[str, Any]], str]]:
        """Return what makes a sentence of the values of each caveat that is this kind's own; all kinds share names."""
        found: Mapping[str, Callable[[Mapping[str, Any]], str]] = getattr(self.part("report"), "WORDS", {})
        return found

    def answer(self, request: Request, carry_out: Callable[[Plan], list[Record]]) -> Answer:
        """Return what comes of a request: the records of its plan, unless a kind runs more than that."""
        return Answer(carry_out(self.plan(request)))

    def runtime(self, job: Any) -> Runtime:
        """Return what runs a job: a framework's backend, unless a kind says otherwise."""
        return plugins().backend(job.runtime)

    def results(self, job: Any) -> int:
        """Return how many raw results a job leaves: one for each process, unless a kind says otherwise."""
        return self.runtime(job).processes(job)

    def together(self, job: Any) -> Hashable:
        """Return what jobs have in common that may run side by side in a round, their windows in turn; None: nothing.

        Its worker then waits for its turn before each window, and before it leaves (``launch.turns``).
        """
        return None

    def prepare(self, plan: Plan, run: Run) -> Prepared:
        """Return what makes of a job that was asked for the one that is run, just before it is; the same by default."""
        return lambda job: job

    def conclude(self, plan: Plan, run: Run, records: Sequence[Any], prepared: Prepared) -> Iterator[Record]:
        """Yield what a run's records still lack when all cells have run; ``prepared`` is what :meth:`prepare` made."""
        yield from ()

    def compare(self, records: Sequence[Any], judging: Judging) -> list[Comparison]:
        """Return what may be concluded from records; those of one :attr:`Record.group` by default."""
        from dlcompare.core.judging.verdict import compare

        return compare(records, judging)

    def cells(self, records: Sequence[Any]) -> Sequence[Any]:
        """Return records as the cells of a sweep: as they are, unless one record holds several."""
        return records

    def decided(self, records: Sequence[Any], judging: Judging) -> bool:
        """Return whether every side that has numbers is faster, slower or the same."""
        return all(v.word not in (None, "undecided") for one in self.compare(records, judging) for v in one.verdicts
                   if v.ratio is not None)

    def passed(self, records: Sequence[Any]) -> bool:
        """Return whether all that was asked for came out well, which decides the exit code."""
        return all(record.status == "ok" for record in records)

    def stored(self, data: Any) -> list[Record] | None:
        """Return the records of JSON that an earlier version of this kind wrote in a form of its own, else None."""
        return None

    def outline(self, job: BaseJob, about: Circumstances, *, status: str, reason: str | None = None,
                **more: Any) -> Any:
        """Return a record with what the job itself says, the circumstances, and what else is known."""
        said = {"kind": self.name, "id": job.id, "run": about.run, "started": stamp(about.started), "status": status,
                "reason": reason, "duration_s": about.duration, "log": about.log, "system": about.system,
                "job": job.to_plain(), "reproduce": job.reproduce(self.refused), **job.identity()}
        return self.record(**{**said, **more})


@hookspec
def dlcompare_kinds() -> list[Kind]:  # type: ignore[empty-body]
    """Kinds of measurement."""


def kinds() -> dict[str, Kind]:
    """Return every kind by name."""
    found: dict[str, Kind] = plugins().by_name("dlcompare_kinds")
    return found


def kind(name: str) -> Kind:
    """Return one kind. Raises UsageError with what exists and the nearest match."""
    found: Kind = plugins().named("dlcompare_kinds", name)
    return found
