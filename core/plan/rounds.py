"""Rounds: which job of a plan runs next, until there are enough of them or every ratio is decided."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dlcompare.core.plugins.job import BaseJob
from dlcompare.core.records.record import Json, Record

from .plan import Plan
from .sweep import out_of_memory

TRIES = 2  # a job that has failed so often is left out of the rounds that remain
Decided = Callable[[Sequence[Record]], bool]
Together = Callable[[BaseJob], Hashable]  # what jobs have in common whose windows may alternate; None: nothing


@dataclass(frozen=True)
class Cell:
    """One job in one round; ``round`` is None where jobs run once. ``name`` is what tables call the job's side."""

    job: BaseJob
    name: str
    round: int | None

    @property
    def folder(self) -> str:
        """Return the name of its folder in the run, and of its record."""
        return self.job.id if self.round is None else f"{self.job.id}.r{self.round}"


def cell(plan: Plan, job: BaseJob, number: int | None) -> Cell:
    """Return a job of a plan in one of its rounds."""
    return Cell(job, plan.name(job), number if plan.repeated else None)


def once(plan: Plan, jobs: Sequence[BaseJob]) -> Iterator[Cell]:
    """Yield the cells of jobs that run a single time."""
    yield from (Cell(job, plan.name(job), None) for job in jobs)


def everything(plan: Plan) -> Iterator[Cell]:
    """Yield all that may ever run, by round, in the order the jobs were asked for."""
    yield from once(plan, plan.before)
    yield from (cell(plan, job, number) for number in range(plan.most_rounds) for job in plan.jobs)
    yield from once(plan, plan.after)


def alone(job: BaseJob) -> Hashable:
    """Let every job run by itself."""
    return None


def to_run(plan: Plan, records: Mapping[str, Record], decided: Decided,
           together: Together = alone) -> Iterator[list[Cell]]:
    """Yield what is left to run, round by round, those cells at a time that run side by side.

    ``records``, by cell folder, must be kept up to date meanwhile.
    """
    yield from ([one] for one in once(plan, plan.before) if one.folder not in records)
    for number in range(plan.most_rounds):
        if number >= plan.rounds and enough(plan, records, decided):
            break
        left = [one for one in (cell(plan, job, number) for job in plan.order(number))
                if one.folder not in records and not hopeless(plan, one.job, records)]
        yield from grouped(left, together if plan.repeated else alone)
    yield from ([one] for one in once(plan, plan.after) if one.folder not in records)


def grouped(cells: Sequence[Cell], together: Together) -> list[list[Cell]]:
    """Return cells, those together whose jobs have something in common, in the order of the first of each."""
    found: dict[Hashable, list[Cell]] = {}
    for one in cells:
        common = together(one.job)
        found.setdefault(one.folder if common is None else ("together", common), []).append(one)
    return list(found.values())


def complete(plan: Plan, records: Mapping[str, Record], number: int) -> bool:
    """Return whether nothing of a round is left to run."""
    return all(cell(plan, job, number).folder in records or hopeless(plan, job, records) for job in plan.jobs)


def seconds_each(records: Mapping[str, Record]) -> dict[int, float]:
    """Return how long each round took, by its number, with the rest before its jobs."""
    took: dict[int, float] = {}
    for record in records.values():
        if record.round is not None:
            took[record.round] = took.get(record.round, 0.0) + (record.duration_s or 0.0) + (record.cool_down or 0.0)
    return took


def enough(plan: Plan, records: Mapping[str, Record], decided: Decided) -> bool:
    """Return whether rounds that have no fixed number may end: all is decided, or one more would take too long."""
    if plan.until is None:
        return False
    took = seconds_each(records)
    in_time = sum(took.values()) + max(took.values(), default=0.0) <= plan.until
    return not in_time or decided(list(records.values()))


def hopeless(plan: Plan, job: BaseJob, records: Mapping[str, Record]) -> bool:
    """Return whether a job was refused, or has failed so often that it is not tried again: once, in a sweep, for want
    of memory."""
    if not plan.repeated:
        return False
    ran = [one for number in range(plan.most_rounds) if (one := records.get(cell(plan, job, number).folder))]
    seen = [record.status for record in ran]
    return "refused" in seen or (bool(plan.points) and any(map(out_of_memory, ran))) or seen.count("failed") >= TRIES


def stamp(plan: Plan, one: Cell) -> Json:
    """Return what a record says of its place in the plan."""
    return {"id": one.folder, "variant": plan.variants.get(one.job.id, ""), "round": one.round,
            "point": dict(plan.points.get(one.job.id, {})),
            "rounds": plan.rounds if one.round is not None and not plan.until else None}
