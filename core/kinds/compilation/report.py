"""What a compiler said of a train step for devices that are not here, for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dlcompare.core.machine import peaks
from dlcompare.core.reports.results import number

if TYPE_CHECKING:
    from .result import Compiled

PARTS = {"arguments": "parameters, momentum, batch", "results": "results beside them", "temporary": "activations and "
         "other temporaries", "program": "program"}


def render(outcomes: Sequence[Compiled], form: str) -> str:
    """Return the outcomes as text: ``table`` for people, or ``json``."""
    if form == "json":
        return json.dumps([outcome.as_plain() for outcome in outcomes], indent=1)
    return "\n\n".join("\n".join(lines(outcome)) for outcome in outcomes)


def lines(outcome: Compiled) -> Iterator[str]:
    """Yield a paragraph on one job."""
    job, said = outcome.job, outcome.said
    what = f"{job.framework}, {job.model}, {job.precision}, batch {job.batch} a device, for {job.topology}"
    if said is None:
        yield f"NOT COMPILED  {what}: {outcome.reason}"
        return
    yield (f"COMPILED      {what}: {said['devices']} x {said['device_kind']}, global batch {outcome.global_batch}, in "
           f"{said['compile_seconds']:.0f} s")
    yield from memory(outcome)
    flops, traffic = said["cost"]["flops"], said["cost"]["bytes"]
    yield (f"  each step and device, by the compiler's count: {number(flops and flops / 1e9)} GFLOP, "
           f"{number(traffic and traffic / 1e9)} GB of memory traffic")
    found = [f"{c['count']} x {c['op']} of {c['bytes'] / 1e6:.1f} MB in all" for c in said["collectives"]]
    yield f"  collectives: {', '.join(found) or 'none'}"
    yield from speed(outcome)


def memory(outcome: Compiled) -> Iterator[str]:
    said, peak = outcome.said or {}, outcome.peak
    used = said["memory"]
    share = f" of {peak.memory / 1e9:.0f} GB ({100 * used['total'] / peak.memory:.0f} %)" if peak else ""
    yield f"  memory of each device: {used['total'] / 1e9:.2f} GB{share}"
    for part, words in PARTS.items():
        yield f"    {used[part] / 1e9:8.3f} GB  {words}"


def speed(outcome: Compiled) -> Iterator[str]:
    peak, found = outcome.peak, outcome.estimate
    if peak is None or found is None:
        yield "  no estimate: no peaks of this device are published in the sources of dlcompare (TPU v2 and v3 are)"
        return
    yield (f"  ESTIMATED by roofline, not measured: a step takes at least {1e3 * found.seconds:.2f} ms "
           f"(arithmetic {1e3 * found.compute_seconds:.2f} ms, memory traffic {1e3 * found.memory_seconds:.2f} ms), so "
           f"at most {number(found.samples_per_second)} samples/s, bound by {found.bound}")
    yield (f"    from the peaks of a {peak.accelerator} ({peaks.SOURCE}, Table 3): a core's {peak.flops / 1e12:.1f} "
           f"TFLOP/s in bfloat16 and {peak.bandwidth / 1e9:.0f} GB/s")
    if outcome.job.precision != "bf16":
        yield f"    {outcome.job.precision} takes several passes in bfloat16, which this bound leaves out"
    if published := peaks.measured(peak.accelerator, outcome.job.model):
        told = ", ".join(f"{number(rate)} samples/s at batch {batch}" for batch, rate in published.items())
        yield f"  published measurement, {peak.accelerator} ({peaks.SOURCE}, Table 8, at 224 x 224 pixels): {told}"
