"""All frameworks in turn for hours: memory and descriptors must stay flat, and nothing may be left behind.

    python tests/benchmarks/soak.py [--hours 2] [--frameworks NAME,...] [--out FOLDER]

One ``dlcompare`` runs rounds of a small network until the time is over and is then told to stop, as schedulers do it.
Every ten seconds its own memory, descriptors and threads, its processes and its temporary files are counted
(samples.csv); at the end it is said how they moved (soak.json), and how the throughput did.
"""

from __future__ import annotations

import argparse
import csv
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from scipy.stats import theilslopes

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from running import Command  # beside this folder, as pytest finds it

EVERY = 10.0  # seconds between two samples
STEADY = 0.1  # the share of the time after which nothing may grow any more
JOB = ("--model", "resnet18", "--image-size", "32", "--device", "cpu", "--workers", "2", "--batch", "4", "--steps", "2",
       "--windows", "3", "--verify", "off")
ROUNDS = "5000"  # more than there is time for
COLUMNS = ("seconds", "rss_bytes", "descriptors", "threads", "processes", "temporary_files", "temporary_bytes")


def sample(command: Command, scratch: Path, seconds: float) -> tuple[float, ...]:
    """Return the columns of one moment."""
    own = psutil.Process(command.process.pid)
    files = [file.stat().st_size for file in scratch.rglob("*") if file.is_file()]
    return (round(seconds, 1), own.memory_info().rss, own.num_fds(), own.num_threads(), len(command.left()), len(files),
            sum(files))


def watch(command: Command, scratch: Path, until: float, table: Path) -> list[tuple[float, ...]]:
    """Return the samples until a time, each written down at once."""
    begin, found = time.monotonic(), list[tuple[float, ...]]()
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        while command.process.poll() is None and time.monotonic() < until:
            time.sleep(EVERY)
            try:
                found.append(sample(command, scratch, time.monotonic() - begin))
            except (psutil.NoSuchProcess, FileNotFoundError):  # between two looks
                continue
            rows.writerow(found[-1])
            file.flush()
    return found


def moved(samples: Sequence[tuple[float, ...]], column: str) -> dict[str, float]:
    """Return the least, the median and the most of a column once it is steady, and its slope in an hour."""
    steady = samples[int(STEADY * len(samples)):]
    values = [row[COLUMNS.index(column)] for row in steady]
    slope = theilslopes(values, [row[0] / 3600 for row in steady])
    return {"least": min(values), "median": statistics.median(values), "most": max(values),
            "per_hour": float(slope.slope), "per_hour_low": float(slope.low_slope),
            "per_hour_high": float(slope.high_slope)}


def speeds(records: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield by framework how its jobs ended, and its throughput and memory in the first and the last quarter."""
    for name in dict.fromkeys(record["framework"] for record in records):
        own = [record for record in records if record["framework"] == name]
        well = [record for record in own if record["status"] == "ok"]
        quarter = max(1, len(well) // 4)
        halves = {"first": well[:quarter], "last": well[-quarter:]}
        yield name, {
            "jobs": len(own), "failed": [record["reason"] for record in own if record["status"] == "failed"],
            **{f"samples_per_s_{when}": statistics.median(r["throughput"]["value"] for r in part)
               for when, part in halves.items() if part},
            **{f"rss_bytes_{when}": statistics.median(r["rss_bytes"] for r in part)
               for when, part in halves.items() if part}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--frameworks", default="pytorch-ddp,tf-horovod,jax,mxnet")
    parser.add_argument("--out", type=Path, default=Path("soak"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as held:
        folder, scratch = Path(held), Path(held) / "tmp"
        scratch.mkdir()
        command = Command("--framework", args.frameworks, *JOB, "--rounds", ROUNDS, out=folder / "runs", folder=folder,
                          variables={"TMPDIR": str(scratch)})
        try:
            samples = watch(command, scratch, time.monotonic() + args.hours * 3600, args.out / "samples.csv")
            command.process.send_signal(signal.SIGTERM)  # in a script's background SIGINT is ignored
            code, left = command.wait(120), command.left()
            records = json.loads((command.runs[-1] / "records.json").read_text())
        finally:
            command.end()
        summary = {
            "hours": samples[-1][0] / 3600, "exit_code": code, "processes_left": len(left), "jobs": len(records),
            "temporary_files_left": [str(file.relative_to(scratch)) for file in scratch.rglob("*") if file.is_file()],
            "moved": {column: moved(samples, column) for column in COLUMNS[1:]}, "frameworks": dict(speeds(records))}
    (args.out / "soak.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
