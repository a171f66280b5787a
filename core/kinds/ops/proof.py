"""Operators are proved as networks are: each is held against the reference, unless a certificate speaks for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import Request, Run, kind
from dlcompare.core.kinds.training.proof import DECIDING, VERIFICATION, without_known_cases
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.backend import ORACLE
from dlcompare.core.plugins.job import Job
from dlcompare.core.records.record import Proved

if TYPE_CHECKING:
    from dlcompare.core.records.record import Record

    from .result import OpsRecord


def prove(plan: Plan, run: Run, records: Sequence[OpsRecord]) -> Iterator[Record]:
    """Yield the records that a certificate now speaks for, having made it; ``plan.asked`` says for which."""
    wanted = plan.asked.get("verify", "off")
    ran = [one for one in records if one.status == "ok" and one.framework != ORACLE] if wanted != "off" else []
    found = {one.id: certified(one) for one in ran}
    lacking = [one for one in ran if wanted == "full" or not found[one.id].verified]
    for number, (settings, versions) in enumerate(wanting(lacking)):
        verify(run, f"{VERIFICATION}-{number}", settings, versions, anew=wanted == "full")
    yield from (certified(one) for one in ran)


def certified(record: OpsRecord) -> OpsRecord:
    """Return a record with the certificates that speak for what it timed, and one for all of it if none is lacking."""
    from dlcompare.core.conformance import certificate
    from dlcompare.core.conformance.claims import with_proofs

    found = {name: certificate.find(job_of(record, name), record.environment) for name in record.networks}
    proved = tuple(Proved(name, one["verified"]) for name, one in found.items() if one["verified"])
    before = next((one["verified_before"] for one in found.values() if one["verified_before"]), None)
    return with_proofs(dataclasses.replace(record, verified_before=before), proved)


def job_of(record: OpsRecord, network: str) -> Job:
    """Return the training job whose certificate speaks for an operator of a record."""
    return Job(framework=record.framework, model=network, data="synthetic",
               **{name: record.job[name] for name in DECIDING if name != "model"})


def wanting(records: Sequence[OpsRecord]) -> list[tuple[dict[str, Any], dict[str, dict[str, str]]]]:
    """Return what to ask of verification for records: settings, and the versions of the frameworks in them."""
    found: dict[tuple[Any, ...], tuple[dict[str, Any], dict[str, dict[str, str]]]] = {}
    for one in records:
        for network in one.networks:
            settings = {**{name: one.job[name] for name in DECIDING}, "model": network}
            _, versions = found.setdefault(tuple(settings.values()), (settings, {}))
            versions[one.framework] = one.environment
    return list(found.values())


def verify(run: Run, name: str, settings: Mapping[str, Any], versions: dict[str, dict[str, str]], *,
           anew: bool) -> None:
    """Hold frameworks against the reference on one network, in the run's folder."""
    of = kind(VERIFICATION)
    try:
        plan = of.plan(Request({**settings, "framework": ",".join(versions)}, of.own(check_workers=(1,))))
    except UsageError as error:  # such as filters that do not fit on images as small as the reference would have them
        run.tell(None, {"phase": "verification", "text": f"not verified: {error}"})
        return
    run.carry_out_beside(plan if anew else without_known_cases(plan, versions), name)
