"""Energy counters of this machine, read before and after a window, outside its clock.

Counters alone: power sampled now and then would have to be sampled while the window runs. Linux's powercap counts the
joules of each processor package, NVIDIA's driver those of a GPU; idle power and what other programs do are part of
both. What has no counter is absent, never zero.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
NVML = "libnvidia-ml.so.1"  # comes with the driver, so it needs no package
SHORTEST = 0.5  # seconds: drivers bring a GPU's counter up to date up to every 0.1 s


@dataclass(frozen=True)
class Counter:
    """One counter: what it covers, its joules now (None if it cannot be read), and at which it begins anew."""

    scope: str
    joules: Callable[[], float | None]
    wraps: float | None = None


def counters(device: str, *, powercap: Path = POWERCAP, nvml: str = NVML) -> list[Counter]:
    """Return the counters for work on a device, "cpu" or "cuda", that this process may read."""
    found = [*packages(powercap), *(gpu(nvml) if device == "cuda" else ())]
    return [counter for counter in found if counter.joules() is not None]  # many systems let root alone read them


def packages(powercap: Path) -> Iterator[Counter]:
    """Yield the processor packages; cores and memory are parts of them and would count twice."""
    for zone in sorted(powercap.glob("intel-rapl:*")):  # the kernel's name for AMD's too
        try:
            name = (zone / "name").read_text().strip()
        except OSError:
            continue
        if name.startswith("package"):
            yield Counter(f"cpu {name}", partial(from_file, zone / "energy_uj"),
                          from_file(zone / "max_energy_range_uj"))


def from_file(file: Path) -> float | None:
    """Return the joules in a file of microjoules; None if it cannot be read."""
    try:
        return int(file.read_text()) / 1e6
    except (OSError, ValueError):
        return None


def gpu(nvml: str) -> Iterator[Counter]:
    """Yield this process's first GPU, if its driver counts (since Volta) and it is sure which one that is.

    NVML numbers GPUs by bus, CUDA the fastest first: of several, a number is trusted only with CUDA_DEVICE_ORDER.
    """
    try:
        library = ctypes.CDLL(nvml)
    except OSError:
        return
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
    handle, count = ctypes.c_void_p(), ctypes.c_uint()

    def joules() -> float | None:
        millijoules = ctypes.c_ulonglong()
        failed = library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules))
        return None if failed else millijoules.value / 1e3

    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return
    if not first.isdigit():
        failed = library.nvmlDeviceGetHandleByUUID(first.encode(), ctypes.byref(handle))
    elif count.value == 1 or os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        failed = library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(first)), ctypes.byref(handle))
    else:
        return
    if not failed:
        yield Counter(f"gpu {first}", joules)


def read(meters: Sequence[Counter]) -> dict[str, float | None]:
    """Return the joules of every counter now, by scope."""
    return {meter.scope: meter.joules() for meter in meters}


def between(meters: Sequence[Counter], before: Mapping[str, float | None],
            after: Mapping[str, float | None]) -> dict[str, float]:
    """Return the joules used between two readings, by scope; a counter that began anew meanwhile did so once."""
    found = {}
    for meter in meters:
        start, end = before[meter.scope], after[meter.scope]
        if start is None or end is None or (end < start and meter.wraps is None):
            continue
        found[meter.scope] = end - start + (meter.wraps or 0.0) * (end < start)
    return found
