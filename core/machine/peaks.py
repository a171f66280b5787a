"""A roofline estimate (Williams et al. 2009): no step is shorter than its arithmetic at peak, or its memory traffic.

Peaks and measured throughputs of TPUs are those that Wang et al. 2020 publish ("Benchmarking the performance and energy
efficiency of AI accelerators for AI training", Tables 3 and 8), in ``core/published``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlcompare.core.published.tables import here, table

PEAKS = "wang2020_table3_accelerators"
CHIP_CORES = 2  # of a TPU v2 or v3: the published bandwidth is taken as one chip's, which two cores share


@dataclass(frozen=True)
class Peak:
    """What one device (a TPU core) can do at most: bytes, FLOP/s, bytes per second."""

    accelerator: str
    memory: float
    flops: float
    bandwidth: float


@dataclass(frozen=True)
class Estimate:
    """The least time of a step in seconds, what bounds it, and the samples per second of all devices together."""

    compute_seconds: float
    memory_seconds: float
    samples_per_second: float

    @property
    def seconds(self) -> float:
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def bound(self) -> str:
        return "arithmetic" if self.compute_seconds >= self.memory_seconds else "memory traffic"


def peak(device_kind: str) -> Peak | None:
    """Return the published peaks of one device of a kind such as ``TPU v3``; None if none are published."""
    for row in table(PEAKS).rows:
        if row["accelerator"].startswith(f"{device_kind}-"):
            devices = int(row["accelerator"].rpartition("-")[2])  # TPU v3-8 has eight
            return Peak(row["accelerator"], float(row["memory_gb"]) * 1e9 / devices,
                        float(row["peak_tflops"]) * 1e12 / devices,
                        float(row["memory_bandwidth_gb_s"]) * 1e9 / CHIP_CORES)
    return None


def peak_flops(system: Mapping[str, Any], device: str, precision: str, *, devices: int) -> float | None:
    """Return what so many devices of a machine do at most in FLOP/s; None if no peak of theirs is published.

    A GPU's peak may be of its tensor cores, which bounds every precision; a processor's is of fp32, so it bounds fp32.
    """
    if device == "cpu":
        names = [str((system.get("cpu") or {}).get("model", ""))] if precision == "fp32" else []
    else:
        names = [str(item["name"]) for item in system.get("accelerators", ())]
    found = [row for row in table(PEAKS).rows
             if names and all(here("accelerator", row["accelerator"]) in name for name in names)]
    bounds = [float(row["peak_tflops"]) * 1e12 for row in found
              if precision == "fp32" or row["peak_precision"] != "fp32"]
    count = devices if device != "cpu" else 1  # workers share a processor, and a machine may hold several of them
    return bounds[0] * count if bounds else None


def estimate(of: Peak, *, flops: float, traffic: float, global_batch: int) -> Estimate:
    """Return the bound of a step with so much arithmetic and so many bytes of memory traffic on each device."""
    compute, memory = flops / of.flops, traffic / of.bandwidth
    return Estimate(compute, memory, global_batch / max(compute, memory))
