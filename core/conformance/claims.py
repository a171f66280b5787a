"""Whether a record that says it is verified can be believed: its certificate is looked up, and its checks made again.

Whoever can write a record can write a certificate too. What this shows is that they agree; who wrote both, a signature
says (``core.run.signature``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.json_file import parse_json, read_ordinary
from dlcompare.core.plugins.job import Job
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.record import Proved, R, Record
from dlcompare.core.settings import having
from dlcompare.core.typed_json import from_plain

from .certificate import SCHEMA, kept
from .check import Check, Closest

UNPROVED, HELD = "unproved", "held"
SCHEMAS = range(1, SCHEMA + 1)  # of certificates: those of earlier versions speak for the records of their time
NAME = re.compile(r"[0-9a-f]{16}")
BESIDE = ("certificate-*.json", "certificates/*.json", "*/certificate-*.json")  # of records, where runs leave them


@dataclass(frozen=True)
class Claim:
    """What a record says of the certificate that speaks for it: its name, which is its hash, and it in short."""

    certificate: str
    passed: bool
    date: str
    image_size: int | None
    workers: int
    checks: tuple[Closest, ...] = ()


class Certificates:
    """Those that may speak for the records of one folder: beside them, or kept on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.find = functools.cache(self._find)  # the records of a run share a few

    def _find(self, name: str) -> Mapping[str, Any] | None:
        """Return the certificate of that hash; UsageError if it is none."""
        for text in map(text_of, [*self.beside, *(folder / f"{name}.json" for folder in own())]):
            if text is not None and hashlib.sha256(text).hexdigest().startswith(name):
                found = parse_json(text, name=f"certificate {name}", what="a certificate")
                return found if isinstance(found, Mapping) else {}
        return None

    @functools.cached_property
    def beside(self) -> list[Path]:
        return [path for pattern in BESIDE for path in sorted(self.folder.glob(pattern))]


def own() -> list[Path]:
    """Return the folder of certificates kept on this machine; none if others could write there."""
    with contextlib.suppress(UsageError):
        return [kept()]
    return []


def text_of(path: Path) -> bytes | None:
    try:
        return read_ordinary(path)
    except (OSError, ValueError):
        return None


def examined(record: R, certificates: Certificates) -> R:
    """Return a record that is verified only if that can be believed; a caveat says why not, or by what alone."""
    record = unexamined(record)
    if record.verified_before and doubtful(record, certificates):
        record = dataclasses.replace(record, verified_before=None)
    if record.proved or (record.verified and len(set(record.networks)) > 1):
        return examined_each(record, certificates)
    if not record.verified:
        return record
    try:
        claim, known = look_up(record.verified, certificates)
        reason = next(objections(record, claim, known), None)
    except UsageError as error:
        claim, known, reason = None, None, str(error)
    if reason:
        caveat = Caveat.of(UNPROVED, certificate=str(record.verified.get("certificate"))[:40], reason=reason,
                           claim=record.verified)
        return dataclasses.replace(record, verified=None, warnings=(caveat, *record.warnings))
    if claim is None or known is not None:
        return record
    caveat = Caveat.of(HELD, certificate=claim.certificate, checks=sum(one.count for one in claim.checks))
    return dataclasses.replace(record, warnings=(*record.warnings, caveat))


def examined_each(record: R, certificates: Certificates) -> R:
    """Return a record of several networks with those proofs that can be believed; one certificate speaks for one."""
    claims = record.proved or tuple(Proved(name, record.verified or {}) for name in dict.fromkeys(record.networks))
    believed, said = list[Proved](), list[Caveat]()
    for one in claims:
        alone: dict[str, Any] = {"model": one.network, "verified": one.verified, "verified_before": None,
                                 "warnings": (), **({"proved": ()} if record.proved else {})}
        found = examined(dataclasses.replace(record, **alone), certificates)
        believed += [one] if found.verified else []
        said += [caveat for caveat in found.warnings if caveat not in said]
    return with_proofs(dataclasses.replace(record, warnings=(*said, *record.warnings)), tuple(believed))


def with_proofs(record: R, proved: tuple[Proved, ...]) -> R:
    """Return a record with the certificates that speak for its networks; verified if each has one: by one that failed,
    else by the oldest.
    """
    whole = {one.network for one in proved} >= set(record.networks)
    first = min((one.verified for one in proved), key=lambda one: (one["passed"], one["date"]), default=None)
    known: dict[str, Any] = {"proved": proved, "verified": first if whole else None}
    return dataclasses.replace(record, **known)


def unexamined(record: R) -> R:
    """Return a record as it was before it was read elsewhere: the certificate may be at hand here, or not any more."""
    claims = [one.values.get("claim") for one in record.warnings if one.kind == UNPROVED]
    claim = next((one for one in claims if isinstance(one, dict)), None)
    left = tuple(one for one in record.warnings
                 if one.kind != HELD and not (claim and not record.verified and one.kind == UNPROVED))
    return dataclasses.replace(record, verified=record.verified or claim, warnings=left)


def doubtful(record: Record, certificates: Certificates) -> bool:
    """Return whether a certificate that spoke for a record under other source is not at hand, or does not show it."""
    try:
        claim, known = look_up(record.verified_before or {}, certificates)
        return known is None or any(objections(record, claim, known))
    except UsageError:
        return True


def look_up(said: Mapping[str, Any], certificates: Certificates) -> tuple[Claim, Mapping[str, Any] | None]:
    """Return what a record says of a certificate, and that, None if it is not at hand; UsageError if either is none."""
    claim = from_plain(Claim, said, what="certificate in short")
    return claim, certificates.find(claim.certificate) if NAME.fullmatch(claim.certificate) else None


def objections(record: Record, claim: Claim, known: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield why a claim is not believed."""
    if claim.workers < min(record.workers, 2):
        yield f"it is of {claim.workers} worker(s), and the record of {record.workers}"
    if known is None and not claim.checks:
        yield "no certificate of that hash is beside the records, kept on this machine, or in the record"
    elif known is None:
        if claim.passed != all(one.passed for one in claim.checks):
            yield "the checks that the record holds of it contradict its verdict"
        yield from silent_on(record.networks, claim.passed, claim.checks)
    else:
        yield from disagreements(claim, known)
        yield from others(record, known)
        yield from silent_on(record.networks, claim.passed, checks_in(known))


def disagreements(claim: Claim, known: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a certificate's checks, made again, have against its verdict or the claim."""
    checks = checks_in(known)
    passed = bool(checks) and all(check.passed for check in checks)
    if passed != known.get("passed") or passed != claim.passed:
        failed = sum(not check.passed for check in checks)
        yield f"{failed} of its {len(checks)} checks fail, and its verdict says otherwise"
    if known.get("schema") not in SCHEMAS:
        yield f"its schema is {known.get('schema')}, and none of {', '.join(map(str, SCHEMAS))}"
    if claim.workers != known.get("workers"):
        yield f"it is of {known.get('workers')} worker(s), and the record says {claim.workers}"


def silent_on(networks: Collection[str], passed: bool, checks: Iterable[Check]) -> Iterator[str]:
    """Yield that checks say nothing of a network that passed: those of tiny cases alone do not speak for one."""
    if passed and not any(check.case in networks for check in checks):
        yield f"none of its checks is of {' or '.join(networks)}"


def checks_in(known: Mapping[str, Any]) -> list[Check]:
    held = known.get("checks")
    return [checked(one) for one in (held if isinstance(held, list) else ())]


def checked(one: Any) -> Check:
    """Return a check of a certificate; UsageError if it is none. Errors that were not finite are written as null."""
    if not isinstance(one, Mapping):
        raise UsageError("its checks are no objects")
    found = from_plain(Check, {key: value for key, value in one.items() if key != "passed"}, what="check")
    return dataclasses.replace(found, error=math.inf) if math.isnan(found.error) else found


def others(record: Record, known: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a certificate is of that the record is not."""
    if known.get("versions") != record.environment:
        yield "it is of other versions of the libraries"
    for name in having(Job, "arithmetic"):
        own = record.job.get(name)
        if known.get(name) not in (record.networks if name == "model" and not own else (own,)):
            yield f"it is of {name} {known.get(name)}, and the record of {own or record.model}"
