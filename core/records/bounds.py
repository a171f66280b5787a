"""What bounds a training on this very machine, by its measured rates: arithmetic, memory, input, exchange.

Each bound is the samples per second that it alone would allow. The least of them is the roofline (Williams et al. 2009)
with two more roofs. Only what no honest program can pass refutes a record: see :attr:`Bounds.ceiling`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from dlcompare.core.graph import Graph
from dlcompare.core.graph.cost import cost, least_traffic, least_training_flops, training_bytes
from dlcompare.core.machine.collectives import REMEDY as COMM
from dlcompare.core.machine.collectives import Line
from dlcompare.core.machine.measured import REMEDY, Measured, Rate, spoken
from dlcompare.core.machine.topology import last_level

from .caveat import Caveat

ARITHMETIC, MEMORY, INPUT, EXCHANGE = "arithmetic", "memory traffic", "input", "exchange"
MARGIN = 1.1  # above the best that was measured: a machine's clock and its neighbours are not the same every day
HALF = ("bf16", "fp16")  # activations of two bytes
NOT_MEASURED = f"this machine has not been measured; to have the bounds of records: {REMEDY}"


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What bounds a record, and how near its throughput came to each bound.

    ``measured``: when the machine was (ISO 8601, UTC; "": it was not); ``peak``, ``bandwidth``, ``exchange``: the rates
    that were used, of one device; ``devices``: how many did the work; ``intensity``: FLOP for each byte that a step
    must move at least; ``limits``: samples/s that each bound alone would allow; ``ceiling``: samples/s that cannot be
    true, None where nobody knows; ``shares``: of each limit that the throughput is; ``absent``: why there is no limit;
    ``line``: that of the framework's own all-reduce, where it was measured here and the limit of the exchange is by it.
    """

    measured: str = ""
    peak: Rate | None = None
    bandwidth: Rate | None = None
    exchange: Rate | None = None
    line: Line | None = None
    devices: int = 1
    intensity: float | None = None
    limits: dict[str, float] = field(default_factory=dict)
    ceiling: float | None = None
    shares: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def nearest(self) -> str | None:
        """Return the bound that allows least; None if there is none."""
        return min(self.limits, key=lambda name: self.limits[name], default=None)

    @property
    def ridge(self) -> float | None:
        """Return the FLOP for each byte from which on arithmetic bounds rather than memory; None if nobody knows."""
        return self.peak.value / self.bandwidth.value if self.peak and self.bandwidth else None

    def beside(self, rate: float) -> Bounds:
        """Return the bounds with the shares that a throughput in samples/s is of them."""
        return dataclasses.replace(self, shares={name: rate / limit for name, limit in self.limits.items()})

    def refutation(self, rate: float) -> str | None:
        """Return why a throughput cannot be true on this machine; None if it can, or if nobody knows."""
        if self.ceiling is None or self.peak is None or rate <= self.ceiling:
            return None
        return (f"impossible: {rate:,.4g} samples/s is above the {self.ceiling:,.4g} that this machine's matrix units "
                f"allow by the best that was measured of them ({self.peak.best * self.devices / 1e9:,.4g} GFLOP/s, "
                f"{self.peak.by}, and {100 * (MARGIN - 1):.0f} % for noise), even with the fewest operations that any "
                f"algorithm needs; so the clock stopped before the work did, or part of the work was skipped. If the "
                f"machine has become faster since {self.measured[:10]}: {REMEDY} --again")


def beyond_measured(flops: float, peak: Rate | None) -> str | None:
    """Return why a rate of arithmetic on one device cannot be true, given the best that its framework reached there."""
    if peak is None or flops <= MARGIN * peak.ceiling:
        return None
    return (f"impossible: by the fewest operations that any algorithm needs, {flops / 1e9:,.4g} GFLOP/s is above the "
            f"{peak.ceiling / 1e9:,.4g} that was measured at best of this machine's matrix units ({peak.by}, and "
            f"{100 * (MARGIN - 1):.0f} % for noise), so the clock stopped before the work did, or part of the work was "
            f"skipped. If the machine has become faster since: {REMEDY} --again")


@dataclass(frozen=True)
class Trained:
    """What is known of a training beside its windows: the job's own numbers, and who ran it in which version."""

    device: str
    precision: str
    workers: int
    threads: int
    batch: int
    framework: str
    versions: Mapping[str, str]


def bounds_of(graph: Graph, trained: Trained, machine: Measured | None, feed: float | None,
              line: Line | None = None) -> Bounds:
    """Return the bounds of a training; ``feed``: samples/s that its input pipeline alone would allow, all workers
    together, None where samples lie on the device already; ``line``: of the all-reduce that it sends gradients by.
    """
    of_input = {INPUT: feed} if feed else {}
    line = line if line and line.holds(gradient_bytes(graph)) else None
    if machine is None:
        found = Bounds(limits=of_input, absent={ARITHMETIC: NOT_MEASURED}, line=line)
        limit = by_exchange(graph, trained, found) if line else ""
        return found if isinstance(limit, str) else dataclasses.replace(found, limits={**of_input, EXCHANGE: limit})
    on_cpu = trained.device == "cpu"  # whose memory and cores all workers share
    threads = trained.threads * trained.workers if on_cpu else None
    found = Bounds(
        measured=machine.measured, devices=1 if on_cpu else trained.workers,
        peak=machine.peak_flops(trained.device, trained.precision, threads),
        bandwidth=machine.memory_bandwidth(threads, device=trained.device),
        exchange=machine.exchange() if on_cpu and trained.workers > 1 and line is None else None, line=line,
        intensity=cost(graph).training_flops * trained.batch / traffic(graph, trained))
    limits = {ARITHMETIC: by_arithmetic(graph, trained, found), MEMORY: by_memory(graph, trained, found, machine),
              **of_input, **({EXCHANGE: by_exchange(graph, trained, found)} if trained.workers > 1 else {})}
    return dataclasses.replace(
        found, limits={name: limit for name, limit in limits.items() if not isinstance(limit, str)},
        absent={name: why for name, why in limits.items() if isinstance(why, str)},
        ceiling=ceiling(graph, trained, found, machine))


def bounds_of_answers(graph: Graph, device: str, precision: str, threads: int, machine: Measured | None) -> Bounds:
    """Return what the matrix units allow of a network's answers, by two operations to each of its multiply-adds.

    A yardstick and no ceiling: an engine may do with fewer operations, and was not itself measured.
    """
    if machine is None:
        return Bounds(absent={ARITHMETIC: NOT_MEASURED})
    peak = machine.peak_flops(device, precision, threads if device == "cpu" else None)
    flops = 2 * cost(graph).multiply_adds
    if peak is None or not flops:
        return Bounds(measured=machine.measured, absent={ARITHMETIC: by_nobody(precision, device)})
    return Bounds(measured=machine.measured, peak=peak, limits={ARITHMETIC: peak.value / flops})


def by_nobody(precision: str, device: str) -> str:
    return f"no {precision} matrix products were measured on {device}; measure with: {REMEDY} --again"


def by_arithmetic(graph: Graph, trained: Trained, found: Bounds) -> float | str:
    """Return the samples/s that the matrix units allow, by the model's own operations; else why nobody knows."""
    flops = cost(graph).training_flops
    if found.peak is None:
        return by_nobody(trained.precision, trained.device)
    return found.peak.value * found.devices / flops if flops else "the network has no matrix products"


def by_memory(graph: Graph, trained: Trained, found: Bounds, machine: Measured) -> float | str:
    """Return the samples/s that memory allows, by the least that must be moved; else why it bounds nothing."""
    if found.bandwidth is None:
        return "the memory's bandwidth was not measured"
    held = training_bytes(graph, trained.batch) * trained.workers
    if trained.device == "cpu" and held <= last_level(machine.topology):
        return f"all {held / 1e6:.3g} MB that a step works on fit into the caches"
    return found.bandwidth.value * found.devices * trained.batch / traffic(graph, trained)


def by_exchange(graph: Graph, trained: Trained, found: Bounds) -> float | str:
    """Return the samples/s that handing the gradients over would allow, if nothing else went on meanwhile.

    By the framework's own all-reduce, as it was measured, of all in one message; else each worker of n sends and
    receives 2 (n - 1) / n times the gradients' bytes, as a ring all-reduce does at least.
    """
    bytes_ = gradient_bytes(graph)
    if found.line:
        seconds = found.line.seconds(bytes_)
    elif found.exchange:
        seconds = 2 * (trained.workers - 1) / trained.workers * bytes_ / found.exchange.value
    else:
        return f"what these devices hand to one another was not measured; measure with: {COMM}"
    return trained.workers * trained.batch / seconds


def gradient_bytes(graph: Graph) -> int:
    """Return the bytes of all gradients, which every worker gives and gets."""
    return cost(graph).parameters * 4


def traffic(graph: Graph, trained: Trained) -> int:
    """Return the least bytes that a step of one worker moves."""
    return least_traffic(graph, trained.batch, activation_bytes=2 if trained.precision in HALF else 4)


def ceiling(graph: Graph, trained: Trained, found: Bounds, machine: Measured) -> float | None:
    """Return the samples/s that cannot be true; None where the framework was not itself measured in this version."""
    fewest, version = least_training_flops(graph), spoken(trained.versions)
    if found.peak is None or not fewest or not machine.bounds(found.peak, trained.framework, version):
        return None
    return MARGIN * found.peak.ceiling * found.devices / fewest


def above(found: Bounds) -> tuple[Caveat, ...]:
    """Return a caveat for each bound that a throughput is above although no physics forbids it."""
    return tuple(Caveat.of("above bound", bound=name, share=share) for name, share in found.shares.items()
                 if share > MARGIN)
