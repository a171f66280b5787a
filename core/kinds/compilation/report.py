"""What a compiler said of a train step for devices that are not here, for people."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.kind import Answer
from dlcompare.core.machine import peaks
from dlcompare.core.printable import printable
from dlcompare.core.published.figures import throughputs
from dlcompare.core.published.tables import table
from dlcompare.core.reports.text import number

if TYPE_CHECKING:
    from .result import CompilationRecord

PARTS = {"arguments": "parameters, momentum, batch", "results": "results beside them", "temporary": "activations and "
         "other temporaries", "program": "program"}


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return the outcomes as text: ``table`` for people, or ``json``."""
    outcomes: Sequence[CompilationRecord] = answer.records
    if form == "json":
        return json.dumps([as_plain(outcome) for outcome in outcomes], indent=1)
    return printable("\n\n".join("\n".join(lines(outcome)) for outcome in outcomes))


def as_plain(outcome: CompilationRecord) -> dict[str, Any]:
    """Return all of it for ``--format json``; what is estimated says so in its name."""
    found, peak = outcome.estimate, outcome.peak
    return {
        "job": outcome.job, "compiled": outcome.compiled, "reason": outcome.reason,
        "capacity_bytes": peak.memory if peak else None,
        "estimated": found and {**dataclasses.asdict(found), "seconds": found.seconds, "bound": found.bound},
        "published": peak and {"accelerator": peak.accelerator, "source": source(),
                               "samples_per_second": throughputs(peak.accelerator, outcome.model)},
    }


def source() -> str:
    """Return who published the peaks."""
    return table(peaks.PEAKS).source.short


def lines(outcome: CompilationRecord) -> Iterator[str]:
    """Yield a paragraph on one job."""
    said = outcome.compiled
    what = (f"{outcome.framework}, {outcome.model}, {outcome.precision}, batch {outcome.batch_per_worker} a device, "
            f"for {outcome.job['topology']}")
    if said is None:
        yield f"NOT COMPILED  {what}: {outcome.reason}"
        return
    yield (f"COMPILED      {what}: {said['devices']} x {said['device_kind']}, global batch {outcome.devices_batch}, in "
           f"{said['compile_seconds']:.0f} s")
    yield from memory(outcome)
    flops, traffic = said["cost"]["flops"], said["cost"]["bytes"]
    yield (f"  each step and device, by the compiler's count: {number(flops and flops / 1e9)} GFLOP, "
           f"{number(traffic and traffic / 1e9)} GB of memory traffic")
    found = [f"{c['count']} x {c['op']} of {c['bytes'] / 1e6:.1f} MB in all" for c in said["collectives"]]
    yield f"  collectives: {', '.join(found) or 'none'}"
    yield from speed(outcome)


def memory(outcome: CompilationRecord) -> Iterator[str]:
    said, peak = outcome.compiled or {}, outcome.peak
    used = said["memory"]
    share = f" of {peak.memory / 1e9:.0f} GB ({100 * used['total'] / peak.memory:.0f} %)" if peak else ""
    yield f"  memory of each device: {used['total'] / 1e9:.2f} GB{share}"
    for part, words in PARTS.items():
        yield f"    {used[part] / 1e9:8.3f} GB  {words}"


def speed(outcome: CompilationRecord) -> Iterator[str]:
    peak, found = outcome.peak, outcome.estimate
    if peak is None or found is None:
        yield "  no estimate: no peaks of this device are published in the sources of dlcompare (TPU v2 and v3 are)"
        return
    yield (f"  ESTIMATED by roofline, not measured: a step takes at least {1e3 * found.seconds:.2f} ms "
           f"(arithmetic {1e3 * found.compute_seconds:.2f} ms, memory traffic {1e3 * found.memory_seconds:.2f} ms), so "
           f"at most {number(found.samples_per_second)} samples/s, bound by {found.bound}")
    yield (f"    from the peaks of a {peak.accelerator} ({source()}, Table 3): a core's {peak.flops / 1e12:.1f} "
           f"TFLOP/s in bfloat16 and {peak.bandwidth / 1e9:.0f} GB/s")
    if outcome.precision != "bf16":
        yield f"    {outcome.precision} takes several passes in bfloat16, which this bound leaves out"
    if published := throughputs(peak.accelerator, outcome.model):
        told = ", ".join(f"{number(rate)} samples/s at batch {batch}" for batch, rate in published.items())
        yield f"  published measurement, {peak.accelerator} ({source()}, Table 8, at 224 x 224 pixels): {told}"
