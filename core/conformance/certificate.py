"""The certificate of a verification: what was compared, what was allowed, what was seen; kept, and found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core.files import cache_root, finite, write
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins

if TYPE_CHECKING:
    from .check import Check

SCHEMA = 2
ARITHMETIC = ("framework", "model", "precision", "execution", "layout", "device")  # what a job must share with it


def make(job: Job, checks: Sequence[Check], versions: dict[str, str], divergence: str | None) -> dict[str, Any]:
    """Return the certificate of one verified job as plain data."""
    return {
        "schema": SCHEMA,
        "framework": job.framework, "model": job.model, "image_size": job.image_size, "precision": job.precision,
        "execution": job.execution, "layout": job.layout,
        "device": job.device, "workers": job.workers, "passed": all(c.passed for c in checks),
        "first_divergence": divergence, "versions": versions, "source_sha256": source_sha256(),
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


def find(job: Job, versions: dict[str, str]) -> dict[str, Any] | None:
    """Return the newest certificate that speaks for a job, in short, or None.

    It must be of the same framework, model, precision, execution, layout, device and library versions, of this very
    source of dlcompare, and of at least as many workers; the image size may differ, for it changes no layer's
    arithmetic.
    """
    same = {"schema": SCHEMA, "versions": versions, "source_sha256": source_sha256(),
            **{k: getattr(job, k) for k in ARITHMETIC}}
    found = []
    for path in sorted((cache_root() / "certificates").glob("*.json")):
        known = json.loads(path.read_text())
        if all(known.get(k) == v for k, v in same.items()) and known["workers"] >= min(job.workers, 2):
            found.append({"certificate": path.stem, "passed": known["passed"], "date": known["date"],
                          "image_size": known["image_size"], "workers": known["workers"]})
    return max(found, key=lambda c: str(c["date"]), default=None)


def source_sha256() -> str:
    """Return a hash of everything that decides the arithmetic: core, models and frameworks, and every plugin."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for folder in (root, root.parent / "models", root.parent / "frameworks", *plugins().roots()):
        for path in sorted(folder.resolve().rglob("*.py")) or [folder]:
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
