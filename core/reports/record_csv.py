"""Records for spreadsheets: one row each, the same columns in the same order whatever the records hold."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from dlcompare.core.records.disturbance import counted
from dlcompare.core.records.record import Record

PLAIN = ("id", "run", "round", "started", "status", "reason", "framework", "variant", "model", "dataset", "image_size",
         "device", "precision", "workers", "batch_per_worker", "global_batch")
COUNTS = ("duration_s", "parameters", "multiply_adds", "flops_per_second", "peak_bytes", "rss_bytes")
PROOF = ("params_sha256", "sample_order_sha256", "first_batch_sha256")
NESTED = ("environment", "settings", "system")


def render(records: Sequence[Record]) -> str:
    """Return the records as CSV with a header line; units are in the column names, nested values are JSON."""
    rows = [row(record) for record in records]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([cells[name] for name in COLUMNS] for cells in rows)
    return out.getvalue()


def row(record: Record) -> dict[str, Any]:
    """Return a record's cells by column; None becomes an empty cell."""
    data = record.to_dict()
    rate, times, verified = (data[key] or {} for key in ("throughput", "step_time", "verified"))
    warmup, losses = data["warmup"] or {}, [item["loss"] for item in data["loss"]]
    return {
        **{name: data[name] for name in PLAIN},
        "samples_per_s": rate.get("value"), "samples_per_s_low": rate.get("low"),
        "samples_per_s_high": rate.get("high"),
        **{f"step_{name}_s": times.get(name) for name in ("median", "p90", "p99")},
        "windows": len(data["windows"]), "windows_discarded": len(data["windows"]) - len(counted(data["windows"])),
        "disturbed": data["disturbed"], "steps": sum(window["steps"] for window in data["windows"]),
        "warmup_steps": warmup.get("steps"), "warmup_settled": warmup.get("settled"),
        "first_loss": losses[0] if losses else None, "last_loss": losses[-1] if losses else None,
        **{name: data[name] for name in (*COUNTS, *PROOF)},
        "verified": verified.get("passed"), "certificate": verified.get("certificate"),
        **{name: json.dumps(data[name], sort_keys=True) for name in NESTED},
        "warnings": " | ".join(data["warnings"]), "log": data["log"], "reproduce": data["reproduce"],
    }


COLUMNS = (
    *PLAIN, "samples_per_s", "samples_per_s_low", "samples_per_s_high", "step_median_s", "step_p90_s", "step_p99_s",
    "windows", "windows_discarded", "disturbed", "steps", "warmup_steps", "warmup_settled", "first_loss", "last_loss",
    *COUNTS, *PROOF, "verified", "certificate", *NESTED, "warnings", "log", "reproduce",
)
