"""What is asked of a machine: which probes, with how many threads; and which of them it cannot answer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import Request
from dlcompare.core.machine import measured
from dlcompare.core.machine.accelerators import gpus
from dlcompare.core.machine.measured import COPY, DISK, EXCHANGE, Measured
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.job import MEASURED, PLACE, BaseJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.plugins.runtime import Runtime
from dlcompare.core.settings import setting

ALL, NOBODY = "all", "none"  # frameworks
MATRIX, WHOLE = measured.MATRIX, "whole"  # not probes of ours: asked of frameworks, and all that was found
MEMORY, IDLE = measured.MEMORY, "idle"
PROBES = (MEMORY, "disk-cold", "disk-warm", "pipe", "shared-memory", "loopback", IDLE)
COPIES = ("gpu-memory", "gpu-host-to-device", "gpu-device-to-host", "gpu-host-to-device-pageable",
          "gpu-device-to-host-pageable")
# What a probe's rate is, and what it is called.
SORTS = {
    "memory": (MEMORY, "triad"), "gpu-memory": (MEMORY, "copy"), "disk-warm": (DISK, "warm"),
    "pipe": (EXCHANGE, "pipe"), "shared-memory": (EXCHANGE, "shared memory"), "loopback": (EXCHANGE, "loopback"),
    "gpu-host-to-device": (COPY, "host to device"), "gpu-device-to-host": (COPY, "device to host"),
    "gpu-host-to-device-pageable": (COPY, "host to device, pageable"),
    "gpu-device-to-host-pageable": (COPY, "device to host, pageable"),
}
COMMAND = measured.REMEDY
REMEDY = f"Close other programs, and measure what is lacking with: {COMMAND}"
BUSY = f"the machine was busy with something else all the time: that would be no bound. {REMEDY}"
GPU_BUSY = f"something else used the GPU while nothing of this ran on it: that would be no bound. {REMEDY}"
TOO_BUSY = (BUSY, GPU_BUSY)
AGAIN = "measured again"  # and it came to nothing: what such a reason begins with
ON_BUSY = f"{AGAIN} on a busy machine, which is refused"
IDLE_SECONDS = 1.0  # of a window at rest: meters of GPUs move in steps of up to a tenth of that
NO_GPU = "there is no NVIDIA GPU here that a program started here may use"


class Interpreter(Runtime):
    """Runs a job in the interpreter that runs dlcompare."""

    name = "python"
    devices = ("cpu", "cuda")


@dataclass(frozen=True)
class MachineJob(BaseJob):
    """One probe of the machine; ``threads`` where they matter, ``megabytes`` of the file that a disk is read by;
    ``accelerator`` is whose meters are read beside it."""

    probe: str = setting(WHOLE, group=MEASURED, told=True, choices=(*PROBES, *COPIES, WHOLE), metavar="NAME",
                         help="What is measured.")
    threads: int = setting(1, group=MEASURED, least=1, metavar="N", help="Threads that move memory.")
    megabytes: int = setting(256, group=MEASURED, least=16, metavar="N",
                             help="Of the file that is read from the disk, beside the run.")
    windows: int = setting(5, group=MEASURED, least=3, metavar="N", help="Windows to measure each rate by.")
    window_seconds: float = setting(0.5, above=0)
    accelerator: str = "cpu"
    kind: ClassVar[str] = "machine"
    command: ClassVar[str] = "dlcompare machine --again"

    @property
    def runtime(self) -> str:
        return self.probe

    @property
    def device(self) -> str:
        return self.accelerator

    def parts(self) -> tuple[str, ...]:
        return (self.probe, f"t{self.threads}") if self.probe == MEMORY else (self.probe,)

    def identity(self) -> dict[str, Any]:
        return {"framework": self.probe}


@dataclass(frozen=True)
class Own:
    """What is asked besides probes."""

    again: bool = setting(False, group=MEASURED,
                          help="Measure all again; without it, only what is not known, for the machine was too busy.")
    matrix: str = setting(ALL, group=MEASURED, metavar="NAME[,NAME...]",
                          help="Frameworks whose matrix products are timed: 'all' that are installed, or 'none'.")
    plot: Path | None = setting(None, group=PLACE, metavar="FILE",
                                help="Draw the roofline of this machine, as .png or .svg.")
    points: str | None = setting(None, group=PLACE, metavar="RUN[,RUN...]",
                                 help="Training runs that stand in it as points.")


def check(own: Own) -> None:
    """Raise UsageError if what is to be drawn cannot be, or who is to be asked does not exist; nothing is measured yet.
    """
    from dlcompare.core.reports.sweeps.drawing import check as check_file

    for name in () if own.matrix in (ALL, NOBODY) else own.matrix.split(","):
        plugins().backend(name.strip())
    if own.plot:
        check_file(own.plot)
    elif own.points:
        raise UsageError("--points are drawn in a roofline; name its file as well, as in --plot roofline.png")


def plan(request: Request) -> Plan:
    """Return a job for each probe that is to be taken, refused where this machine has nothing of the kind.

    All, if that was asked for or nothing is known; else those that the machine was too busy for.
    """
    cores = len(os.sched_getaffinity(0))
    memory = tuple(MachineJob(**{**request.settings, "probe": MEMORY, "threads": count})
                   for count in sorted({1, cores}))
    jobs = (*memory, *(MachineJob(**{**request.settings, "probe": name, **beside(name)})
                       for name in (*PROBES[1:], *COPIES)))
    before = None if request.own.again else measured.known()
    wanted = tuple(job for job in jobs if before is None or is_lacking(job, before))
    return Plan("machine", wanted, refusals(wanted), asked=asked(request))


def beside(probe: str) -> dict[str, Any]:
    """Return the settings of a probe beside which GPUs are watched; at rest in windows long enough for their meters."""
    if probe in COPIES:
        return {"accelerator": "cuda"}
    if probe != IDLE:
        return {}
    return {"accelerator": "cuda" if gpus() else "cpu", "window_seconds": IDLE_SECONDS}


def is_more(own: Own, found: Measured) -> bool:
    """Return whether more is asked than is known: the machine was too busy for it, or frameworks were not asked yet."""
    asked_some = any(one.what == MATRIX for one in found.rates)
    return lacks_quiet(found.absent) or own.matrix not in (ALL, NOBODY) or (own.matrix == ALL and not asked_some)


def lacks_quiet(absent: Mapping[str, str]) -> bool:
    """Return whether something is absent only because the machine was too busy."""
    return any(why in TOO_BUSY for why in absent.values())


def was_busy(absent: Mapping[str, str]) -> bool:
    """Return whether something that was asked for was refused because the machine was too busy, known before or not."""
    return lacks_quiet(absent) or any(why.startswith(ON_BUSY) for why in absent.values())


def again(why: str, when: str) -> str:
    """Return what to say of a figure that was known, and stays for the reason why there is no new one."""
    refused = ON_BUSY if why in TOO_BUSY else f"{AGAIN}, and that came to nothing ({why})"
    return f"{refused}: what was known on {when} stays. For a new figure close other programs, and: {COMMAND} --again"


def is_lacking(job: MachineJob, before: Measured) -> bool:
    """Return whether a probe has no rate among those that are known."""
    if job.probe == IDLE:
        return not before.idle_watts
    what, name = SORTS.get(job.probe, (DISK, None))
    device = "cuda" if job.probe in COPIES else "cpu"
    threads = job.threads if job.probe == MEMORY else None
    return not any(one.threads == threads for one in before.of(what, name, device=device)
                   if name or one.name != "warm")


def asked(request: Request) -> Mapping[str, Any]:
    """Return what decides what is run besides the jobs: whose matrix products are timed, and whether all anew."""
    return {MATRIX: request.own.matrix, "again": request.own.again}


def refusals(jobs: tuple[MachineJob, ...]) -> dict[str, str]:
    """Return why probes cannot be, by job id."""
    return {} if gpus() else {job.id: NO_GPU for job in jobs if job.probe in COPIES}


JOB, OWN = MachineJob, Own
