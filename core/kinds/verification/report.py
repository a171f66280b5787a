"""``dlcompare verify``: the outcome as a table of cases, or as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

from dlcompare.core.conformance.check import Check, used_up
from dlcompare.core.conformance.diagnosis import ANSWERS, compare_workers
from dlcompare.core.files import finite
from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.kind import Answer
from dlcompare.core.printable import printable

from .result import VerificationRecord, by_case

NONE = "none, for not all cases were run"
SHOWN = 5  # failed quantities named per job; the certificate has all


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return the outcomes as text for people, or with ``form`` "json" as a list of objects."""
    outcomes: Sequence[VerificationRecord] = answer.records
    if form == "json":
        return json.dumps([as_plain(o) for o in outcomes], indent=1)
    together = "\n".join(across_workers(outcomes))
    return printable("\n\n".join([*([together] if together else []), *(paragraph(o) for o in outcomes)]))


def across_workers(outcomes: Sequence[VerificationRecord]) -> Iterator[str]:
    """Yield a line for each side that is right with some numbers of workers and wrong with others."""
    sides: dict[str, list[VerificationRecord]] = {}
    for outcome in outcomes:
        if outcome.checks:
            sides.setdefault(f"{outcome.name}, {how(outcome)}", []).append(outcome)
    for side, several in sides.items():
        said = compare_workers([(o.workers, None if o.passed else o.diagnosis or "") for o in several])
        if said:
            yield f"{side}: {said}"


def as_plain(outcome: VerificationRecord) -> dict[str, Any]:
    """Return an outcome for ``--format json``: what failed, not all that was compared, which the certificate has."""
    failed = [dataclasses.asdict(check) for check in outcome.checks if not check.passed]
    said = ("framework", "model", "image_size", "precision", "device", "workers")
    found: dict[str, Any] = finite({
        **{name: getattr(outcome, name) for name in said},
        "execution": outcome.job["execution"], "layout": outcome.job["layout"],
        "passed": outcome.passed, "reason": outcome.reason, "first_divergence": outcome.first_divergence,
        "diagnosis": outcome.diagnosis, "failures": outcome.failures, "checks": len(outcome.checks), "failed": failed,
        "certificate": outcome.certificate})
    return found


def paragraph(outcome: VerificationRecord) -> str:
    """Return one job's outcome: the verdict, what is wrong in one line, the closest call or the failures, and where
    the certificate is."""
    size = f" at {outcome.image_size} x {outcome.image_size}" if outcome.image_size else ""
    head = (f"{outcome.framework}, {outcome.model}{size}, {how(outcome)} on {outcome.device}, "
            f"{outcome.workers} worker(s)")
    if outcome.reason is not None:
        log = f" (log: {outcome.log})" if outcome.log else ""
        return f"NOT VERIFIED  {head}\n  {outcome.reason}{log}"
    named = {"diagnosis": outcome.diagnosis, "first to diverge": outcome.first_divergence}
    diagnosis, layer = ([f"  {name}: {said}"] * bool(said) for name, said in named.items())
    return "\n".join([f"{verdict(outcome):<12}  {head}", *diagnosis, *table(outcome), *layer,
                      f"  certificate: {outcome.certificate or NONE}"])


def verdict(outcome: VerificationRecord) -> str:
    """Return the word for an outcome; where cases were chosen, what passed is no proof."""
    if not outcome.passed:
        return "DIFFERS"
    return "VERIFIED" if outcome.certificate else "AGREES"


def how(outcome: VerificationRecord) -> str:
    """Return in what arithmetic and by which execution and layout it was made."""
    job = outcome.job
    return ", ".join(part for part in (outcome.precision, job["execution"], job["layout"]) if part)


def table(outcome: VerificationRecord) -> list[str]:
    """Return a line per case: how many quantities agree, and the one that came closest to its tolerance."""
    lines = []
    for name, checks in by_case(outcome.checks).items():
        failed = [c for c in checks if not c.passed]
        mark = "ok  " if not failed else "FAIL"
        worst = max(checks, key=used_up)
        told = outcome.failures.get(name, f"worst {describe(worst)}")
        lines.append(f"  {mark} {name:<24} {len(checks) - len(failed):>4} of {len(checks):<4} {told}")
        lines += [f"         {describe(c)}" for c in failed[:SHOWN] if c is not worst]
    return lines


def describe(check: Check) -> str:
    """Return a check in words."""
    if check.case == ANSWERS:
        return f"{check.quantity}() tells {'something' if check.passed else 'nothing'}"
    return f"{check.quantity}: error {check.error:.1e}, tolerance {check.allowed:.1e}"
