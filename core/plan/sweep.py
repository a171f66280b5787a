"""A sweep: settings of which several values were asked for, every combination of them, and one plan of all.

Each combination, a point, is planned as if it alone had been asked for, so what a plan checks and chooses holds there.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from dlcompare.core.errors import UsageError
from dlcompare.core.machine.memory import for_want_of_memory, perhaps_for_want_of_memory
from dlcompare.core.plugins.job import LARGEST, BaseJob, Job
from dlcompare.core.settings import having

from .plan import Plan, Tell

if TYPE_CHECKING:
    from dlcompare.core.records.record import Record

AXES = ("model", "image_size", "precision", "execution", "workers", "threads", "batch")  # the last varies fastest
MOST_JOBS = 2000
START_SECONDS = 8.0  # of a job beside its windows, about: environment, build, warm-up
BATCH = "batch"

Point = Mapping[str, Any]


def axes(settings: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the settings that were given several values, numbers in ascending order, so that small jobs come first."""
    assert set(AXES) == set(having(Job, "axis"))
    return {name: tuple(sorted(settings[name], key=rank)) for name in AXES
            if isinstance(settings.get(name), tuple) and len(settings[name]) > 1}


def rank(value: Any) -> tuple[bool, float]:
    """Return what puts numbers in order, words behind them as they come."""
    return (False, value) if isinstance(value, int) else (True, 0.0)


def points(settings: Mapping[str, Any]) -> Iterator[tuple[Point, dict[str, Any]]]:
    """Yield every combination of what was given several values, and the settings that ask for it alone."""
    settings = {name: value[0] if name in AXES and isinstance(value, tuple) and len(value) == 1 else value
                for name, value in settings.items()}
    swept = axes(settings)
    for values in itertools.product(*swept.values()):
        point = dict(zip(swept, values, strict=True))
        yield point, alone({**settings, **point})


def alone(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in which the batch is a number, or left to the device where the largest is searched for."""
    if settings.get(BATCH) != LARGEST:
        return dict(settings)
    return {**settings, BATCH: None, "largest": True}


def swept(settings: Mapping[str, Any], plan: Callable[[Mapping[str, Any]], Plan], tell: Tell) -> Plan:
    """Return the plan of all points, each as ``plan`` makes it of its settings; said is how large it is.

    Raises:
        UsageError: a point cannot be planned (it is named), two of them come to the same job, or there are too many.
    """
    found = [(point, planned(point, one, plan)) for point, one in points(settings)]
    if len(found) == 1:
        return found[0][1]
    whole = joined(found)
    tell(None, {"phase": "plan", "text": size(whole, len(found))})
    return whole


def planned(point: Point, settings: Mapping[str, Any], plan: Callable[[Mapping[str, Any]], Plan]) -> Plan:
    """Return the plan of one point; UsageError that names it if there is none."""
    try:
        return plan(settings)
    except UsageError as error:
        raise UsageError(f"{f'at {in_words(point)}: ' if point else ''}{error}") from error


def in_words(point: Point) -> str:
    """Return a point as a person says it, such as batch 8, threads 2."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in point.items())


def joined(found: Sequence[tuple[Point, Plan]]) -> Plan:
    """Return one plan of all jobs. Raises UsageError if a job stands at two points, or there are too many."""
    where: dict[str, Point] = {}
    for point, plan in found:
        for job in plan.jobs:
            if job.id in where:
                raise UsageError(f"{plan.name(job)} is the same job at {in_words(where[job.id])} and at "
                                 f"{in_words(point)}: what is swept may not be a side's own setting as well")
            where[job.id] = point
    plans = [plan for _, plan in found]
    whole = dataclasses.replace(
        plans[0], jobs=tuple(job for plan in plans for job in plan.jobs), points=where,
        refusals={name: why for plan in plans for name, why in plan.refusals.items()},
        variants={name: text for plan in plans for name, text in plan.variants.items()})
    if len(whole.jobs) * whole.rounds > MOST_JOBS:
        raise UsageError(f"that is {size(whole, len(found))}, and at most {MOST_JOBS:,} jobs are planned; name fewer "
                         "values or --rounds")
    return whole


def size(plan: Plan, count: int) -> str:
    """Return how large a plan is, and how long it takes at least, in words."""
    jobs = [job for job in plan.jobs if job.id not in plan.refusals]
    seconds = sum(map(least_seconds, jobs)) * plan.rounds
    rounds = f" x {plan.rounds} rounds" if plan.repeated else ""
    refused = f" ({len(plan.jobs) - len(jobs)} of them refused)" if len(jobs) < len(plan.jobs) else ""
    searches = sum(getattr(job, "largest", False) for job in jobs)
    search = f", and the search for {searches} largest batches" if searches else ""
    return (f"{count} combinations, {len(plan.jobs)} cells{refused}{rounds} = {len(plan.jobs) * plan.rounds:,} jobs, "
            f"about {duration(seconds)} at least{search}")


def least_seconds(job: BaseJob) -> float:
    """Return about how long a job takes at least."""
    fixed = getattr(job, "steps", None) is not None  # then nobody knows how long a window is
    return START_SECONDS + (0.0 if fixed else getattr(job, "windows", 0) * getattr(job, "window_seconds", 0.0))


def duration(seconds: float) -> str:
    """Return seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def ended(plan: Plan, job: BaseJob, records: Mapping[str, Record]) -> str | None:
    """Return why a job need not be tried: the same with a smaller batch ran out of memory, or died as one may that
    does; None if none did.

    ``records`` are by cell folder. One that ran all the same, in an earlier round, speaks against it.
    """
    if BATCH not in plan.points.get(job.id, {}):
        return None
    smaller = {one.id: one.batch for one in plan.jobs if has_larger(one, job)}
    by_job = [(one.id if one.round is None else one.id.rpartition(".r")[0], one) for one in records.values()]
    if any(name == job.id and record.status == "ok" for name, record in by_job):
        return None
    why = ((smaller[name], what(record), record.id) for name, record in by_job if name in smaller)
    return next((f"not tried: with batch {batch} {befell} already, in {where}; to have it tried all the same, name "
                 "this batch alone" for batch, befell, where in why if befell), None)


def what(record: Record) -> str:
    """Return what befell a job for want of memory, surely or maybe; "" if it did not."""
    if out_of_memory(record):
        return "memory ran out"
    maybe = record.status == "failed" and perhaps_for_want_of_memory(record.reason or "")
    return "workers died, perhaps for want of memory," if maybe else ""


def has_larger(one: BaseJob, other: BaseJob) -> TypeGuard[Job]:
    """Return whether the other job is the same with a larger batch."""
    return (isinstance(one, Job) and isinstance(other, Job) and not (one.largest or other.largest)
            and one.batch < other.batch and dataclasses.replace(one, batch=other.batch) == other)


def out_of_memory(record: Record) -> bool:
    """Return whether a job failed for want of memory."""
    return record.status == "failed" and for_want_of_memory(record.reason or "")
