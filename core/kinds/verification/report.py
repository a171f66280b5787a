"""``dlcompare verify``: the outcome as a table of cases, or as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from dlcompare.core.conformance.check import Check
from dlcompare.core.files import finite
from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.kind import Answer

from .result import VerificationRecord, by_case

SHOWN = 5  # failed quantities named per job; the certificate has all


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return the outcomes as text for people, or with ``form`` "json" as a list of objects."""
    outcomes: Sequence[VerificationRecord] = answer.records
    if form == "json":
        return json.dumps([as_plain(o) for o in outcomes], indent=1)
    return "\n\n".join(paragraph(o) for o in outcomes)


def as_plain(outcome: VerificationRecord) -> dict[str, Any]:
    """Return an outcome for ``--format json``: what failed, not all that was compared, which the certificate has."""
    failed = [dataclasses.asdict(check) for check in outcome.checks if not check.passed]
    said = ("framework", "model", "image_size", "precision", "device", "workers")
    found: dict[str, Any] = finite({
        **{name: getattr(outcome, name) for name in said},
        "execution": outcome.job["execution"], "layout": outcome.job["layout"],
        "passed": outcome.passed, "reason": outcome.reason, "first_divergence": outcome.first_divergence,
        "checks": len(outcome.checks), "failed": failed, "certificate": outcome.certificate})
    return found


def paragraph(outcome: VerificationRecord) -> str:
    """Return one job's outcome: the verdict, the closest call or the failures, and where the certificate is."""
    job, size = outcome.job, f" at {outcome.image_size} x {outcome.image_size}" if outcome.image_size else ""
    how = ", ".join(part for part in (outcome.precision, job["execution"], job["layout"]) if part)
    head = f"{outcome.framework}, {outcome.model}{size}, {how} on {outcome.device}, {outcome.workers} worker(s)"
    if outcome.reason is not None:
        log = f" (log: {outcome.log})" if outcome.log else ""
        return f"NOT VERIFIED  {head}\n  {outcome.reason}{log}"
    lines = [f"{'VERIFIED    ' if outcome.passed else 'DIFFERS     '}  {head}", *table(outcome)]
    if outcome.first_divergence:
        lines.append(f"  first to diverge: {outcome.first_divergence}")
    return "\n".join([*lines, f"  certificate: {outcome.certificate}"])


def table(outcome: VerificationRecord) -> list[str]:
    """Return a line per case: how many quantities agree, and the one that came closest to its tolerance."""
    lines = []
    for name, checks in by_case(outcome.checks).items():
        failed = [c for c in checks if not c.passed]
        mark = "ok  " if not failed else "FAIL"
        worst = max(checks, key=closeness)
        lines.append(f"  {mark} {name:<24} {len(checks) - len(failed):>4} of {len(checks):<4} worst {describe(worst)}")
        lines += [f"         {describe(c)}" for c in failed[:SHOWN] if c is not worst]
    return lines


def closeness(check: Check) -> float:
    """Return how much of its tolerance a check used up."""
    return check.error / check.allowed if check.error == check.error else float("inf")


def describe(check: Check) -> str:
    """Return a check in words."""
    return f"{check.quantity}: error {check.error:.1e}, tolerance {check.allowed:.1e}"
