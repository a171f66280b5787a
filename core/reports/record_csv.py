"""Records for spreadsheets: one row each, the same columns in the same order for all records of a kind."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dlcompare.core.files import finite
from dlcompare.core.printable import cell
from dlcompare.core.records.disturbance import windows_that_count
from dlcompare.core.records.energy import headline
from dlcompare.core.records.record import Record
from dlcompare.core.typed_json import is_scalar, types_of

from .text import per_second
from .words import sentences

# Wide columns, where nobody must scroll.
LAST = ("point", "environment", "settings", "system", "warnings", "log", "reproduce")
LEFT_OUT = ("schema", "kind", "throughput", "step_time", "windows", "warmup", "discarded", "loss", "startup",
            "verified", "job", "disturbed", "rounds")  # in other columns, drawn together, or in JSON alone


def render(records: Sequence[Record]) -> str:
    """Return the records as CSV with a header line; units are in the column names, nested values are JSON."""
    rows = [row(record) for record in records]
    return csv_text(dict.fromkeys(name for one in rows for name in one), rows)


def csv_text(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV with a header line, text in such a way that a spreadsheet computes none of it."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in one.items()} for one in rows)
    return out.getvalue()


def row(record: Record) -> dict[str, Any]:
    """Return a record's cells by column; None becomes an empty cell."""
    data = record.to_dict()
    verified = data["verified"] or {}
    asked = {name: record.job.get(name) for name in ("threads", "execution")}  # axes that a record has no field for
    nested = {"point": record.point, "environment": record.environment, "settings": record.settings.flat(),
              "system": record.system}
    return {
        **{name: data[name] for name in scalars(type(record)) if name not in (*LEFT_OUT, *LAST)},
        **asked, **dict(statistic_cells(record, data)),
        "verified": verified.get("passed"), "certificate": verified.get("certificate"),
        **{name: json.dumps(finite(value), sort_keys=True) for name, value in nested.items()},
        "warnings": " | ".join(sentences(record.warnings)), "log": data["log"], "reproduce": data["reproduce"],
    }


def scalars(cls: Any) -> Iterator[str]:
    """Yield the fields that may hold a single value, whatever a record holds: columns are those of its kind."""
    yield from (name for name, wanted in types_of(cls).items() if is_scalar(wanted))


def statistic_cells(record: Record, data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the cells that statistics and counts of raw values fill."""
    rate, times, warmup = (data.get(key) or {} for key in ("throughput", "step_time", "warmup"))
    name = per_second(record.unit)
    yield from {name: rate.get("value"), f"{name}_low": rate.get("low"), f"{name}_high": rate.get("high")}.items()
    yield from ((f"step_{name}_s", times.get(name)) for name in ("median", "p90", "p99"))
    spent = headline(record.energy, record.meters, record.devices, device=record.device)
    yield from {"joules_per_sample": spent and spent.per_sample, "joules_per_sample_low": spent and spent.low,
                "joules_per_sample_high": spent and spent.high, "watts": spent and spent.watts,
                "peak_watts": spent and spent.peak_watts,
                "energy": json.dumps(finite({one.scope: one.per_sample for one in record.energy}))}.items()
    losses = list(record.losses().values())
    yield from {"windows": len(record.windows),
                "windows_discarded": len(record.windows) - len(windows_that_count(record.windows)),
                "disturbed": record.disturbed, "steps": sum(window.steps for window in record.windows),
                "warmup_steps": warmup.get("steps"), "warmup_settled": warmup.get("settled"),
                **host_cells(record),
                "first_loss": losses[0] if losses else None, "last_loss": losses[-1] if losses else None}.items()


def host_cells(record: Record) -> dict[str, float | None]:
    """Return the cells of what the host did, per second where it is bytes; empty where no meter told."""
    found = record.host
    return {name: getattr(found, of) if found else None for name, of in (
        ("cores_busy", "cores_busy"), ("cores_stolen", "cores_stolen"), ("job_cores", "job_cores"),
        ("storage_read_bytes_per_s", "storage_read"), ("instructions_per_cycle", "instructions_per_cycle"),
        ("clock_hz", "clock_hz"), ("cache_miss_share", "cache_misses"))}
