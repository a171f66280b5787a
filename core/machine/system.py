"""What the machine is: processor, memory, accelerators, load. Nothing that names the machine or its user."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path
from typing import Any

from .accelerators import accelerators

FLAGS = ("avx", "amx", "fma", "f16c", "asimd", "sve", "bf16", "i8mm")  # beginnings of the names of vector extensions
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
CGROUP = Path("/sys/fs/cgroup")


def system() -> dict[str, Any]:
    """Return the machine as it is now; None for what cannot be read. Memory is in bytes, power in watts.

    {os, kernel, machine, cpu {model, physical, logical, usable, quota, flags, governor},
    memory {total_bytes, available_bytes, limit_bytes}, load_average (1, 5 and 15 minutes),
    accelerators [{index, name, memory_bytes, driver, power_limit_w}]}. ``usable`` counts the logical cores this
    process may run on; ``quota`` and ``limit_bytes`` are what a container allows, in cores and bytes.
    """
    return {"os": operating_system(), "kernel": platform.release(), "machine": platform.machine(), "cpu": cpu(),
            "memory": memory(), "load_average": load_average(), "accelerators": accelerators()}


def operating_system() -> str:
    """Return the distribution's own name, "Debian GNU/Linux 12 (bookworm)", else the system's."""
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return platform.system()


def cpu() -> dict[str, Any]:
    """Return the processor: model, core counts, vector extensions, and the frequency governor if readable."""
    import psutil

    logical = os.cpu_count()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    info = cpuinfo(_read(Path("/proc/cpuinfo")) or "")
    return {"model": info["model"] or platform.processor() or platform.machine(),
            "physical": psutil.cpu_count(logical=False), "logical": logical, "usable": usable,
            "quota": quota(_read(CGROUP / "cpu.max")), "flags": info["flags"], "governor": _read(GOVERNOR)}


def cpuinfo(text: str) -> dict[str, Any]:
    """Return {model, flags} of the first processor in the text of /proc/cpuinfo; x86 and Arm spell them apart."""
    pairs = [line.partition(":") for line in text.split("\n\n")[0].splitlines()]
    said = {key.strip(): value.strip() for key, _, value in pairs}
    words = said.get("flags", said.get("Features", "")).split()
    return {"model": said.get("model name"), "flags": sorted(word for word in words if word.startswith(FLAGS))}


def quota(text: str | None) -> float | None:
    """Return the cores that the text of a control group's cpu.max allows; None without a limit."""
    allowed, _, period = (text or "max").partition(" ")
    return None if allowed == "max" else int(allowed) / int(period or 100_000)


def memory() -> dict[str, int | None]:
    """Return the machine's memory, what is free to use now, and what a container allows, in bytes."""
    import psutil

    seen, limit = psutil.virtual_memory(), _read(CGROUP / "memory.max")
    return {"total_bytes": seen.total, "available_bytes": seen.available,
            "limit_bytes": int(limit) if limit and limit.isdigit() else None}


def load_average() -> list[float] | None:
    """Return how many processes wanted to run over the last 1, 5 and 15 minutes."""
    with contextlib.suppress(OSError, AttributeError):
        return list(os.getloadavg())
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
