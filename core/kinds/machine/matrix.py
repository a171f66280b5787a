"""The rate of matrix products that the frameworks installed here reach, asked of the kind that times operators."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlcompare.core.environments import resolve, store
from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import Request, Run, kind
from dlcompare.core.machine.accelerators import gpus
from dlcompare.core.machine.measured import MATRIX, Rate, spoken
from dlcompare.core.machine.topology import topology
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.backend import ORACLE
from dlcompare.core.plugins.job import PRECISIONS
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.plugins.runtime import EnvironmentSpec
from dlcompare.core.records.disturbance import FOREIGN, cores, disturbance, windows_that_count
from dlcompare.core.records.energy import in_use
from dlcompare.core.records.record import Throughput, Window

from .request import ALL, BUSY, GPU_BUSY, NOBODY, TOO_BUSY

OPS = "ops"
TRIES = 3  # of a framework, as long as the machine is busy with something else while its products are timed
SIZES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}  # sides of the square matrices
MANY, LARGE = 8, 4096  # cores from which on smaller matrices cannot occupy all, and the side of one that can
WINDOW_SECONDS = 0.2
# A processor's vector extensions that multiply in a precision; without one, frameworks convert: slow, and no bound.
UNITS = {"bf16": ("AVX-512 BF16", "AMX BF16", "BF16"), "fp16": ("AVX-512 FP16", "AMX FP16"), "tf32": ()}
EMULATED = "this processor has no units for it"
FEWEST = 3  # windows in which the machine was left to the job


def rates(run: Run, wanted: str, before: Sequence[Rate]) -> tuple[tuple[Rate, ...], dict[str, str]]:
    """Return the rates that frameworks reach, by device, precision and size, and why what is not there is not.

    On a processor with all threads, and with one those of the framework that was best with all. Whoever has a rate
    among those known ``before`` is not asked again.
    """
    if wanted == NOBODY:
        known = any(one.what == MATRIX for one in before)
        return (), {} if known else {MATRIX: "--matrix none: no framework was asked"}
    found: list[Rate] = []
    lacking: dict[str, str] = {}
    for device in ("cpu", *(("cuda",) if gpus() else ())):
        names = chosen(wanted, device, run)
        if not names:
            lacking[f"{MATRIX} on {device}"] = ("no framework's environment is ready for it; make one first, as in: "
                                                "dlcompare env create pytorch-ddp")
        for precision in PRECISIONS:
            if device == "cpu" and not has_units(precision):
                lacking[f"{MATRIX}: {precision} on cpu"] = EMULATED
                continue
            every = usable() if device == "cpu" else None
            old = [one for one in before if one.what == MATRIX and (one.device, one.name) == (device, precision)]
            of_all = [one for one in old if one.threads == every]
            had = {one.by for one in of_all}
            new, why = asked(run, [name for name in names if name not in had], device, precision)
            lacking |= why
            found += new
            best = max([*of_all, *new], key=lambda one: one.value, default=None)
            if best and every and every > 1 and not any(one.threads == 1 for one in old):
                new, why = asked(run, [best.by], device, precision, threads=1)
                lacking |= why
                found += new
    return tuple(found), lacking


def unasked(before: Sequence[Rate], wanted: str) -> tuple[Rate, ...]:
    """Return the rates of products that stay as they are when all else is measured again: of frameworks not wanted."""
    names = set(map(str.strip, wanted.split(",")))
    return tuple(one for one in before if one.what == MATRIX and wanted != ALL and one.by not in names)


def usable() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def has_units(precision: str) -> bool:
    """Return whether this processor multiplies in a precision itself."""
    known = topology().get("extensions", {})
    return precision == "fp32" or any(known.get(name) for name in UNITS[precision])


def chosen(wanted: str, device: str, run: Run) -> list[str]:
    """Return the frameworks to ask on a device: those named, else all whose environment is there already.

    Of those that compute with the same libraries the first is enough, and the oracle is no yardstick.
    """
    if wanted != ALL:
        named = [plugins().backend(name.strip()) for name in wanted.split(",")]
        return [one.name for one in named if device in one.devices]
    able = [one for name, one in plugins().backends().items() if name != ORACLE and device in one.devices]
    if run.options.env is not None:
        return [one.name for one in able]
    made = {one.name: set(store.requirements(spec.lock)) for one in able
            if isinstance(spec := resolve.ask(one, device), EnvironmentSpec)
            and resolve.locate(spec, one.name, device) is not None}
    names = list(made)
    return [name for number, name in enumerate(names) if not any(made[other] <= made[name] for other in names[:number])]


def asked(run: Run, names: Sequence[str], device: str, precision: str, *,
          threads: int | None = None) -> tuple[list[Rate], dict[str, str]]:
    """Return the rates of some frameworks, each asked again while the machine was busy, and why others have none."""
    found: list[Rate] = []
    lacking: dict[str, str] = {}
    for number in range(TRIES):
        plan, refused = asking(names, device, precision, threads)
        lacking |= {called(name, precision, device, threads): why for name, why in refused.items()}
        if plan is None:
            break
        names = []
        label = "-".join(filter(None, (MATRIX, device, precision, f"t{threads}" if threads else "",
                                       f"again-{number}" if number else "")))
        for record in run.carry_out_beside(plan, label):
            took = list(taken(record))
            found += took
            what = called(record.framework, precision, device, threads)
            lacking.pop(what, None)
            if record.status == "ok" and not took:
                names.append(record.framework)
                lacking[what] = GPU_BUSY if gpu_in_use(record) else BUSY
            elif record.status != "ok":
                lacking[what] = str(record.reason)
    return found, lacking


def called(framework: str, precision: str, device: str, threads: int | None) -> str:
    """Return what people call a framework's products; ``threads`` is 1 or None."""
    return f"{MATRIX}: {framework}, {precision} on {device}{', 1 thread' if threads else ''}"


def still_lacking(before: Mapping[str, str], rates: Sequence[Rate]) -> dict[str, str]:
    """Return the products that the machine was too busy for in an earlier run and that there is no rate of by now."""
    there = {called(one.by, one.name, one.device, 1 if one.threads == 1 and usable() > 1 else None) for one in rates}
    return {what: why for what, why in before.items()
            if why in TOO_BUSY and what.startswith(MATRIX) and what not in there}


def asking(names: Sequence[str], device: str, precision: str,
           threads: int | None) -> tuple[Plan | None, dict[str, str]]:
    """Return the plan that times matrix products, None if nobody is to be asked or can do them, and who cannot and why.
    """
    of = kind(OPS)
    sizes: tuple[int, ...] = SIZES[device]
    count = threads or usable()
    if device == "cpu" and count >= MANY:
        sizes = (*sizes, LARGE)
    settings: dict[str, Any] = {
        "framework": ",".join(names), "device": device, "precision": precision, "threads": count,
        "ops": tuple(f"matmul:{side}" for side in sizes), "window_seconds": WINDOW_SECONDS,
        "measures_peak": True}
    if not names:
        return None, {}
    try:
        plan = of.plan(Request(settings, of.own(verify="off")))
    except UsageError as error:  # none of them runs on this device as it is here
        return None, dict.fromkeys(names, str(error))
    able = tuple(job for job in plan.jobs if job.id not in plan.refusals)
    refused = {job.runtime: plan.refusals[job.id] for job in plan.jobs if job.id in plan.refusals}
    return dataclasses.replace(plan, jobs=able, refusals={}) if able else None, refused


def taken(record: Any) -> Iterator[Rate]:
    """Yield the rate of each product of a record, forward or of a step, whichever is more; none of a busy machine."""
    for one in record.timed if record.status == "ok" and not gpu_in_use(record) else ():
        sets = [windows_that_count(windows) for windows in (one.forward, one.step)
                if windows and not busy(windows, cores(record.system))]
        speeds = [(Throughput.of(windows, "FLOP/s"), windows) for windows in sets if len(windows) >= FEWEST]
        if speeds:
            speed, windows = max(speeds, key=lambda pair: pair[0].value)
            yield Rate(MATRIX, record.precision, speed.value, speed.low, speed.high, max(w.rate for w in windows),
                       len(windows), speed.unit, record.framework, spoken(record.environment), record.device,
                       record.job["threads"] if record.device == "cpu" else None, int(one.name.rpartition(":")[2]))


def gpu_in_use(record: Any) -> bool:
    """Return whether others used the GPU of a record before or after its job."""
    return any(share > FOREIGN for share in in_use(record.meters, record.devices).values())


def busy(windows: Sequence[Window], usable: float | None) -> bool:
    """Return whether the machine was busy with something else in more than half of some windows."""
    return 2 * sum(disturbance(one, usable) is not None for one in windows) > len(windows)
