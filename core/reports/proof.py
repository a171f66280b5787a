"""Which records carry a certificate of their arithmetic, which do not, how to get one; what is not believed of some."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from rich.text import Text

from dlcompare.core.conformance.claims import HELD, UNPROVED
from dlcompare.core.errors import DlcompareError
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.recompute import ALTERED, UNREAD
from dlcompare.core.records.record import Record

from .text import heading
from .words import sentence, some

NAMED = 3  # fields of a side that are named before the rest are only counted


def proof(records: Sequence[Record]) -> tuple[bool, str]:
    """Return whether every side holds a certificate that it passed, in words."""
    records = [record for record in records if record.provable]
    lacking = dict.fromkeys(r.name for r in records if not (r.verified and r.verified["passed"]))
    if lacking:
        return False, f"that {', '.join(lacking)} computes what the reference does"
    if not records:
        return True, ""
    found = dict.fromkeys(r.verified["certificate"][:12] for r in records if r.verified)
    return True, f"arithmetic, the reference's (certificates {', '.join(found)})"


def opening(records: Sequence[Record], *, proved: Sequence[Record] = ()) -> Iterator[Text]:
    """Yield what a table of records begins with: what is not proved of them, and of what they are; ``proved``: the
    records of their parts, where each has a proof of its own."""
    if not records:
        yield Text("no records")
        return
    yield from warn_unverified(proved or records)
    yield Text(heading(records))


def warn_unverified(records: Sequence[Record]) -> Iterator[Text]:
    """Yield a warning and its remedy for every model whose numbers carry no proof, or a failed one."""
    ran = [record for record in records if record.status == "ok" and record.provable]
    judged = {(r.framework, r.model, r.verified["certificate"]): r for r in ran if r.verified}  # the same in all rounds
    for record in judged.values():
        if record.verified and not record.verified["passed"]:
            yield Text(f"verification FAILED: {record.framework} does not compute {record.model} as the reference does "
                       f"(certificate {record.verified['certificate']}, {record.verified['date']}), so its numbers "
                       "must not be compared", style="bold red")
    lacking: dict[str, dict[str, list[Record]]] = {}
    for record in ran:
        if not record.verified:
            for network in record.networks:
                options = verify_options(record, network)
                lacking.setdefault(options, {}).setdefault(record.framework, []).append(record)
    before = None
    for options, sides in lacking.items():
        told = ", ".join(name + earlier(found) for name, found in sides.items())
        if told != before:
            yield Text(f"not verified: {told}; to prove that they compute the same, run", style="bold yellow")
            before = told
        yield Text(f"  dlcompare verify --framework {','.join(sides)} {options}", no_wrap=True)


def distrust(records: Sequence[Record]) -> Iterator[str]:
    """Yield a line for each side whose records contradict themselves, and for each certificate that is not believed."""
    sides: dict[str, list[Record]] = {}
    for record in records:
        sides.setdefault(" ".join(filter(None, (record.name, record.model))), []).append(record)
    for name, found in sides.items():
        said = [sentence(caveat) for one in found for caveat in one.warnings if caveat.kind == ALTERED]
        if said:
            yield f"NOT AS MEASURED: {name}: {some(said, NAMED)}; what follows is of the raw values"
        for kind in (UNREAD, UNPROVED, HELD):
            yield from dict.fromkeys(f"{name}: {sentence(caveat)}" for one in found for caveat in one.warnings
                                     if caveat.kind == kind)


def earlier(records: Sequence[Record]) -> str:
    """Return what was certified of a side for source that has changed since, in brackets; "" if nothing was."""
    found = [record.verified_before for record in records if record.verified_before]
    if not found:
        return ""
    newest = max(found, key=lambda one: str(one["date"]))
    what = "certified" if newest["passed"] else "failed verification"
    return f" ({what} on {newest['date'][:10]} for other source; verify again)"


def verify_options(record: Record, network: str) -> str:
    """Return the options, less the defaults, with which ``dlcompare verify`` speaks for a network of this record."""
    words = [f"--model {network}"]
    if record.precision != "fp32":
        words.append(f"--precision {record.precision}")
    execution, layout = record.job.get("execution"), record.job.get("layout")
    if execution and execution != usual(record.framework):
        words.append(f"--execution {execution}")
    if layout:
        words.append(f"--layout {layout}")
    if record.device == "cpu" and record.system.get("accelerators"):
        words.append("--device cpu")
    return " ".join(words)


def usual(framework: str) -> str | None:
    """Return how a framework executes by itself; None if this dlcompare does not know it."""
    with contextlib.suppress(DlcompareError):
        return next(iter(plugins().backend(framework).executions))
    return None
