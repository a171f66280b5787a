"""Records read again: what follows from raw values is computed anew, and what was written otherwise is said."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dlcompare.core.typed_json import to_plain

from .caveat import Caveat
from .disturbance import discard_disturbed, windows_that_count
from .record import R, Record, Window

ALTERED, UNREAD = "altered", "unread job"
BEGINNINGS = {"throughput varies between": "spread", "throughput drifts": "drift", "throughput moves one way": "trend",
              "short measurement": "short", "input was too slow": "stall"}  # of the sentences of schema 1, by doubt
CLOSE = 1e-6  # relative: far above what another Python's arithmetic may do, far below what anybody would alter


def recomputed(record: R) -> R:
    """Return a record with its statistics as its raw windows give them.

    There is a caveat ``altered`` for each field that was written otherwise, with what it was and what it is.
    """
    if record.status != "ok":
        return record
    fresh = marked(record)
    windows = windows_that_count(fresh.windows)
    derived = fresh.derived(windows)
    fresh = dataclasses.replace(fresh, **derived, warnings=(*record.warnings, *missing(fresh, windows)))
    written, made = (comparable(one, ("disturbed", *derived)) for one in (record, fresh))
    found = tuple(Caveat.of(ALTERED, field=field, written=was, recomputed=now)
                  for field, was, now in differences(written, made))
    return possible(dataclasses.replace(fresh, warnings=(*found, *fresh.warnings)) if found else record)


def possible(record: R) -> R:
    """Return a record as one of a job that failed if what it holds cannot be of one that ended well."""
    reason = record.refutation()
    if reason is None:
        return record
    caveat = Caveat.of(ALTERED, field="status", written=record.status, recomputed="failed")
    return dataclasses.replace(record, status="failed", reason=reason, throughput=None,
                               warnings=(caveat, *record.warnings))


def marked(record: R) -> R:
    """Return a record whose windows hold as many samples as their steps, and are marked if the machine was disturbed.
    """
    bare = tuple(dataclasses.replace(one, discarded=None, samples=record.samples_of(one)) for one in record.windows)
    fresh = discard_disturbed(dataclasses.replace(record, windows=bare, disturbed=False))
    windows = tuple(dataclasses.replace(one, discarded=old.discarded or one.discarded) if one.discarded else one
                    for one, old in zip(fresh.windows, record.windows, strict=True))
    return dataclasses.replace(record, windows=windows, disturbed=fresh.disturbed)


def missing(record: Record, windows: list[Window]) -> tuple[Caveat, ...]:
    """Return what windows give reason to doubt and a record does not tell."""
    told = {meaning(caveat) for caveat in record.warnings}
    return tuple(one for one in record.doubts(windows) if one.kind not in told)


def meaning(caveat: Caveat) -> str:
    """Return the kind of a caveat; of a sentence that schema 1 held, the kind of today that says the same."""
    text = str(caveat.values.get("text"))
    alike = (kind for begin, kind in BEGINNINGS.items() if text.startswith(begin))
    return next(alike, caveat.kind) if caveat.kind == "told" else caveat.kind


def comparable(record: Record, names: Collection[str]) -> dict[str, Any]:
    """Return fields of a record as plain data, and its marks and warnings: there or not, however they are worded."""
    windows = [{"samples": one.samples, "discarded": bool(one.discarded)} for one in record.windows]
    warnings = {caveat.kind: True for caveat in record.warnings}
    values = {name: getattr(record, name) for name in names}
    return {**{name: as_plain(value) for name, value in values.items()}, "windows": windows, "warnings": warnings}


def as_plain(value: Any) -> Any:
    """Return a value of a field as plain data, whether it is a dataclass, several of them, or plain already."""
    if isinstance(value, tuple):
        return [as_plain(one) for one in value]
    return to_plain(value) if dataclasses.is_dataclass(value) else value


def differences(written: Any, made: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the name of each value that was written otherwise than it was made anew, and both."""
    if isinstance(written, Mapping) and isinstance(made, Mapping):
        for key in dict.fromkeys([*made, *written]):
            yield from differences(written.get(key), made.get(key), f"{name}.{key}" if name else str(key))
    elif isinstance(written, list) and isinstance(made, list) and len(written) == len(made):
        for number, pair in enumerate(zip(written, made, strict=True)):
            yield from differences(*pair, f"{name}[{number}]")
    elif not same(written, made):
        yield name, written, made


def same(written: Any, made: Any) -> bool:
    """Return whether two values are the same, numbers up to rounding."""
    if isinstance(written, float) and isinstance(made, (int, float)):
        return math.isclose(written, made, rel_tol=CLOSE)
    return bool(written == made)
