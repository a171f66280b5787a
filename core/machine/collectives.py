"""The lines through the times of collectives that were measured on this machine: ``comm`` keeps them, bounds ask them.

Kept under the machine's fingerprint, beside what ``dlcompare machine`` measured of it: seconds = alpha + bytes x beta.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcompare.core.files import read_cached, write_cached
from dlcompare.core.typed_json import from_plain, to_plain

from .measured import fingerprint, place

REMEDY = "dlcompare comm"
REACH = 8  # times beyond the sizes that were measured


@dataclass(frozen=True)
class Line:
    """The time of one collective through one framework's own engine, by its size; in place where the engine is.

    ``version`` is the framework's with what it computes with (``measured.spoken``); ``threads`` of each worker;
    ``alpha`` in seconds, ``beta`` in seconds a byte; ``sizes`` that were measured, and those of them that it meets,
    while nobody else used the machine; ``run`` in which it was measured, and when (ISO 8601, UTC).
    """

    framework: str
    version: str
    device: str
    collective: str
    workers: int
    threads: int
    alpha: float
    beta: float
    sizes: tuple[int, ...]
    met: tuple[int, ...]
    run: str
    measured: str

    @property
    def key(self) -> tuple[Any, ...]:
        """Return what a newer line must share to take its place."""
        return self.framework, self.version, self.device, self.collective, self.workers, self.threads

    def holds(self, size: int) -> bool:
        """Return whether the measured size that is nearest to one is met, and not far: engines change their ways with
        size.
        """
        near = min(self.sizes) / REACH <= size <= REACH * max(self.sizes)
        return near and min(self.sizes, key=lambda one: abs(math.log(one / size))) in self.met

    def seconds(self, size: int) -> float:
        """Return the time of a message of so many bytes."""
        return self.alpha + size * self.beta


def known(system: Mapping[str, Any]) -> list[Line]:
    """Return the lines that were measured on a machine, as a record holds what it is; measures nothing."""
    return read_cached(file_of(system), read, instead=f"measure again with: {REMEDY}") or []


def line_of(system: Mapping[str, Any], *key: Any) -> Line | None:
    """Return the line of a machine that has a :attr:`Line.key`; None if none was measured."""
    return next((one for one in known(system) if one.key == key), None)


def keep(system: Mapping[str, Any], lines: Iterable[Line]) -> None:
    """Keep lines for :func:`known`, in place of those with the same key that are no newer."""
    new = list(lines)
    if new:
        all_ = {one.key: one for one in sorted([*known(system), *new], key=lambda one: one.measured)}
        write_cached(file_of(system), json.dumps([to_plain(one) for one in all_.values()], indent=1, allow_nan=False))


def read(data: bytes) -> list[Line]:
    """Return what :func:`keep` wrote; UsageError or ValueError if it is nothing of the kind."""
    found: list[Line] = [from_plain(Line, one, what="line of a collective") for one in json.loads(data)]
    return found


def file_of(system: Mapping[str, Any]) -> Path:
    """Return the file in the cache for a machine."""
    path = place(fingerprint(system))
    return path.with_name(f"{path.stem}-collectives.json")
