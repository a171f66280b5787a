"""The certificate of a verification: what was compared, what was allowed, what was seen; kept, and found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core.files import cache_root, finite, write
from dlcompare.core.plugins.job import Job
from dlcompare.core.settings import having

from .source import source_sha256

if TYPE_CHECKING:
    from .check import Check

SCHEMA = 2


def make(job: Job, checks: Sequence[Check], versions: dict[str, str], divergence: str | None) -> dict[str, Any]:
    """Return the certificate of one verified job as plain data."""
    return {
        "schema": SCHEMA,
        "framework": job.framework, "model": job.model, "image_size": job.image_size, "precision": job.precision,
        "execution": job.execution, "layout": job.layout,
        "device": job.device, "workers": job.workers, "passed": all(c.passed for c in checks),
        "first_divergence": divergence, "versions": versions, "source_sha256": source_sha256(job),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "checks": [{"case": c.case, "quantity": c.quantity, "error": finite(c.error), "allowed": c.allowed,
                    "passed": c.passed} for c in checks],
    }


def save(certificate: dict[str, Any], folder: Path) -> Path:
    """Write the certificate to a folder, and where later runs look for it; return the first path."""
    text = json.dumps(certificate, indent=1)
    path = folder / f"certificate-{certificate['framework']}-w{certificate['workers']}.json"
    write(path, text)
    store = cache_root() / "certificates"
    store.mkdir(parents=True, exist_ok=True)
    write(store / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json", text)
    return path


def find(job: Job, versions: dict[str, str]) -> dict[str, Any]:
    """Return the certificates that a record of a job carries, each in short, or None.

    ``verified`` is the newest that speaks for the job: of the same framework, model, precision, execution, layout,
    device and library versions, of at least as many workers, and of the same source that decides the arithmetic; the
    image size may differ, for it changes no layer's arithmetic. Where there is none, ``verified_before`` is the newest
    that would but for its source.
    """
    own = source_sha256(job)
    newest: dict[bool, dict[str, Any] | None] = {True: None, False: None}
    for known in sorted(certificates(job, versions), key=lambda one: str(one["date"])):
        newest[known["source_sha256"] == own] = {
            key: known[key] for key in ("certificate", "passed", "date", "image_size", "workers")}
    return {"verified": newest[True], "verified_before": None if newest[True] else newest[False]}


def certificates(job: Job, versions: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the certificates kept here of what a job does under these versions, of whatever source."""
    same = {"schema": SCHEMA, "versions": versions, **{k: getattr(job, k) for k in having(Job, "arithmetic")}}
    for path in (cache_root() / "certificates").glob("*.json"):
        known = json.loads(path.read_text())
        if all(known.get(k) == v for k, v in same.items()) and known["workers"] >= min(job.workers, 2):
            yield {"certificate": path.stem, **known}
