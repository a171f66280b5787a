"""Rows of inference's results as runs leave them, for tests of what shows them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
INT8 = {"precision": "int8", "layers": 21, "left": ["fc"]}


def window(rate: float, *, foreign: float = 0.0) -> Json:
    """Return a window of 10 runs at so many batches of 8 a second."""
    return {"runs": 10, "seconds": [10 * 8 / rate], "started": 0.0, "foreign_cores": foreign, "throttled": 0}


def cell(precision: str, rates: list[Json], *, number: int = 0, latency: float = 0.01) -> Json:
    measured = {"windows": rates, "latencies": [latency] * 9 + [3 * latency], "warmup": [], "settled": True,
                "copies": {"place": [], "fetch": []}}
    return {"engine": "onnxruntime", "precision": precision, "batch": 8, "round": number, "status": "ok",
            "reason": None, "ran": {**INT8, "precision": precision, "left": []},
            "startup": {"import": 0.5, "build": 0.0, "open": 0.1}, "measured": measured | {"first_run": 0.02},
            "build": {"seconds": 0.25, "bytes": 10, "cached": True, "key": "0a"}}
