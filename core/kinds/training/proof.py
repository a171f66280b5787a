"""Prove what was measured: records without a certificate get one, after measuring and never during it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import Request, Run, kind
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.backend import ORACLE

from .result import LossPoint, TrainingRecord
from .rounding import job_of, losses_moved

if TYPE_CHECKING:
    from dlcompare.core.records.record import Record

VERIFICATION = "verification"
SEVERAL = 2  # workers: what holds for so many holds for more
DECIDING = ("model", "precision", "execution", "layout", "device")  # what a plan of verification is asked for


def prove(plan: Plan, run: Run, records: Sequence[TrainingRecord]) -> Iterator[Record]:
    """Yield the records that a certificate now speaks for, having made it; ``plan.asked`` says for which."""
    wanted = plan.asked.get("verify", "off")
    ran = [one for one in records if one.status == "ok" and one.provable and one.framework != ORACLE]
    lacking = [one for one in ran if wanted == "full" or (wanted == "auto" and not one.verified)]
    for number, group in enumerate(alike(lacking)):
        verify(run, f"{VERIFICATION}-{number}", group, anew=wanted == "full")
    changed = {one.id: certified(one) for one in lacking}
    if wanted != "off" and not plan.points and not unlike(records):  # a sweep would have it tried anew at each point
        changed |= explain_losses(run, [changed.get(one.id, one) for one in records])
    yield from changed.values()


def unlike(records: Sequence[TrainingRecord]) -> bool:
    """Return whether batches that were searched for came out unlike: then losses part for that reason."""
    return len({one.global_batch for one in records if one.job.get("tried")}) > 1


def certified(record: TrainingRecord) -> TrainingRecord:
    """Return a record with the certificates that speak for it now."""
    from dlcompare.core.conformance import certificate

    return dataclasses.replace(record, **certificate.find(job_of(record), record.environment))


def explain_losses(run: Run, records: Sequence[TrainingRecord]) -> dict[str, TrainingRecord]:
    """Return by id those records of a comparison whose losses parted, with what rounding alone does to them."""
    groups: dict[Any, list[TrainingRecord]] = {}
    for one in records:
        if one.status == "ok" and not one.rounding:
            groups.setdefault(one.group, []).append(one)
    found: dict[str, TrainingRecord] = {}
    for group in groups.values():
        moved = losses_moved(run, group)
        points = tuple(LossPoint(step, loss) for step, loss in sorted((moved or {}).items()))
        found |= {one.id: dataclasses.replace(one, rounding=points) for one in group if points}
    return found


def alike(records: Sequence[TrainingRecord]) -> list[list[TrainingRecord]]:
    """Return one record of each framework and build, those together that one plan of verification can speak for."""
    found: dict[tuple[Any, ...], dict[str, TrainingRecord]] = {}
    for one in records:
        key = (*(one.job[name] for name in DECIDING), min(one.job["workers"], SEVERAL))
        found.setdefault(key, {}).setdefault(one.framework, one)
    return [list(group.values()) for group in found.values()]


def verify(run: Run, name: str, records: Sequence[TrainingRecord], *, anew: bool) -> None:
    """Hold the frameworks of some records against the reference; a failure is in the records of that."""
    about, workers = records[0].job, min(records[0].job["workers"], SEVERAL)
    of = kind(VERIFICATION)
    settings = {field: about[field] for field in DECIDING} | {"framework": ",".join(r.framework for r in records)}
    try:
        plan = of.plan(Request(settings, of.own(check_workers=tuple({1, workers}) if anew else (workers,))))
    except UsageError as error:  # such as a model that cannot be as small as the reference would have it
        by_hand = f"dlcompare verify --framework {settings['framework']} --model {about['model']} --image-size PIXELS"
        run.tell(None, {"phase": "verification", "text": f"not verified: {error}. Larger images take the reference "
                                                         f"minutes and gigabytes; to have it: {by_hand}"})
        return
    if not anew:
        plan = without_known_cases(plan, {one.framework: one.environment for one in records})
    run.carry_out_beside(plan, name)


def without_known_cases(plan: Plan, versions: dict[str, dict[str, str]]) -> Plan:
    """Return a plan of verification less the tiny cases of builds that have passed them, whatever the model was."""
    from dlcompare.core.conformance import certificate
    from dlcompare.core.conformance.oracle import MODEL

    def shorten(job: Any) -> Any:
        known = None if job.id in plan.refusals else certificate.find_cases(job, versions[job.framework])
        return dataclasses.replace(job, cases=(MODEL,), cases_from=known) if known else job

    return dataclasses.replace(plan, jobs=tuple(map(shorten, plan.jobs)))
