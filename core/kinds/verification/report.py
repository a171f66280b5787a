"""``dlcompare verify``: the outcome as a table of cases, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlcompare.core.conformance.oracle import Check

    from .result import Verified

SHOWN = 5  # failed quantities named per job; the certificate has all


def render(outcomes: Sequence[Verified], form: str) -> str:
    """Return the outcomes as text for people, or with ``form`` "json" as a list of objects."""
    from .result import as_plain

    if form == "json":
        return json.dumps([as_plain(o) for o in outcomes], indent=1)
    return "\n\n".join(paragraph(o) for o in outcomes)


def paragraph(outcome: Verified) -> str:
    """Return one job's outcome: the verdict, the closest call or the failures, and where the certificate is."""
    job = outcome.job
    size = f" at {job.image_size} x {job.image_size}" if job.image_size else ""
    how = ", ".join(part for part in (job.precision, job.execution, job.layout) if part)
    head = f"{job.framework}, {job.model}{size}, {how} on {job.device}, {job.workers} worker(s)"
    if outcome.reason is not None:
        return f"NOT VERIFIED  {head}\n  {outcome.reason}"
    lines = [f"{'VERIFIED    ' if outcome.passed else 'DIFFERS     '}  {head}", *table(outcome)]
    if outcome.divergence:
        lines.append(f"  first to diverge: {outcome.divergence}")
    return "\n".join([*lines, f"  certificate: {outcome.certificate}"])


def table(outcome: Verified) -> list[str]:
    """Return a line per case: how many quantities agree, and the one that came closest to its tolerance."""
    from .result import by_case

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
