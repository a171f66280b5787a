"""The certificate of a verification: what was compared, what was allowed, what was seen; kept, and found again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dlcompare.core.errors import JobError
from dlcompare.core.files import cache_root, finite, read_cached, write, write_cached
from dlcompare.core.plugins.job import Job
from dlcompare.core.printable import file_name
from dlcompare.core.settings import having
from dlcompare.core.typed_json import from_plain, to_plain

from .check import Check, closest
from .source import source_sha256

SCHEMA = 3


@dataclass(frozen=True)
class Compared:
    """One check as a certificate holds it; an ``error`` that is not finite is null."""

    case: str
    quantity: str
    error: float
    allowed: float
    passed: bool


@dataclass(frozen=True)
class Certificate:
    """What the file of a certificate must hold; :func:`make` says what it is."""

    schema: int
    framework: str
    model: str
    image_size: int | None
    precision: str
    execution: str | None
    layout: str | None
    device: str
    workers: int
    passed: bool
    first_divergence: str | None
    versions: dict[str, str]
    source_sha256: str
    cases_from: str | None
    cases_sha256: str
    date: str
    checks: tuple[Compared, ...]


def make(job: Job, checks: Sequence[Check], versions: dict[str, str], divergence: str | None, *,
         cases_from: str | None = None) -> dict[str, Any]:
    """Return the certificate of one verified job as plain data; ``cases_from`` is that whose tiny cases it took over.
    """
    return {
        "schema": SCHEMA,
        "framework": job.framework, "model": job.model, "image_size": job.image_size, "precision": job.precision,
        "execution": job.execution, "layout": job.layout,
        "device": job.device, "workers": job.workers, "passed": all(c.passed for c in checks),
        "first_divergence": divergence, "versions": versions, "source_sha256": source_sha256(job),
        "cases_from": cases_from, "cases_sha256": source_sha256(job, model=False),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "checks": [{"case": c.case, "quantity": c.quantity, "error": finite(c.error), "allowed": c.allowed,
                    "passed": c.passed} for c in checks],
    }


def save(certificate: dict[str, Any], folder: Path) -> Path:
    """Write the certificate to a folder, and where later runs look for it; return the first path."""
    text = json.dumps(certificate, indent=1)
    path = folder / f"certificate-{file_name(certificate['framework'])}-w{certificate['workers']}.json"
    write(path, text)
    write_cached(kept() / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json", text)
    return path


def find(job: Job, versions: dict[str, str]) -> dict[str, Any]:
    """Return the certificates that a record of a job carries, each in short, or None.

    ``verified`` is the newest that speaks for the job: of the same framework, model, precision, execution, layout,
    device and library versions, of at least as many workers, and of the same source that decides the arithmetic; the
    image size and the number of classes may differ, for they change no layer's arithmetic. Where there is none,
    ``verified_before`` is the newest that would but for its source.
    """
    own = source_sha256(job)
    newest: dict[bool, dict[str, Any] | None] = {True: None, False: None}
    for known in sorted(certificates(job, versions), key=lambda one: str(one["date"])):
        newest[known["source_sha256"] == own] = {
            **{key: known[key] for key in ("certificate", "passed", "date", "image_size", "workers")},
            "checks": in_short(known)}
    return {"verified": newest[True], "verified_before": None if newest[True] else newest[False]}


def find_cases(job: Job, versions: dict[str, str]) -> str | None:
    """Return the certificate that shows that a build passes the tiny cases, of whatever model; None if none does."""
    own = source_sha256(job, model=False)
    fitting = [known for known in certificates(job, versions, but=("model",))
               if known["passed"] and known["cases_sha256"] == own and tiny(known)]
    return max(fitting, key=lambda one: str(one["date"]))["certificate"] if fitting else None


def cases_of(certificate: str) -> tuple[Check, ...]:
    """Return what a certificate kept here says of the tiny cases; JobError if it can no longer be read."""
    found = read(path := kept() / f"{certificate}.json")
    if not found:
        raise JobError(f"the certificate {path} was there when the run began and cannot be read any more; start anew "
                       "without --resume")
    return checks_of(tiny(found))


def in_short(certificate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the closest check of the tiny cases and that of the model: so much of it fits into each record."""
    own = [check for check in certificate["checks"] if check["case"] == certificate["model"]]
    return [to_plain(closest(checks_of(part))) for part in (tiny(certificate), own) if part]


def checks_of(held: Sequence[Mapping[str, Any]]) -> tuple[Check, ...]:
    """Return checks as a certificate holds them; an error that was not finite is null there."""
    return tuple(Check(c["case"], c["quantity"], math.inf if c["error"] is None else c["error"], c["allowed"])
                 for c in held)


def tiny(certificate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the checks of a certificate that are not of its model."""
    return [check for check in certificate["checks"] if check["case"] != certificate["model"]]


def kept() -> Path:
    """Return the folder in which later runs look for certificates."""
    return cache_root() / "certificates"


def certificates(job: Job, versions: dict[str, str], but: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield the certificates kept here of what a job does under these versions, of whatever source.

    ``but`` are fields of the job that may be others.
    """
    fields = [name for name in having(Job, "arithmetic") if name not in but]
    same = {"schema": SCHEMA, "versions": versions, **{name: getattr(job, name) for name in fields}}
    for path in kept().glob("*.json"):
        known = read(path)
        if known and all(known.get(k) == v for k, v in same.items()) and known["workers"] >= min(job.workers, 2):
            yield {"certificate": path.stem, **known}


def read(path: Path) -> dict[str, Any] | None:
    """Return a certificate that is kept here; None if it is of another schema, or damaged, which is said."""
    return read_cached(path, parse, instead="that certificate counts as none; remove it, or verify again")


def parse(text: bytes) -> dict[str, Any] | None:
    """Return the certificate of a text, None if it is of another schema; UsageError or ValueError if it is none."""
    known = json.loads(text)
    if isinstance(known, dict) and known.get("schema", SCHEMA) != SCHEMA:
        return None
    from_plain(Certificate, known, what="certificate")
    return dict(known)
