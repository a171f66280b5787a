"""What all meters cost: processor time of the sampler, time of a reading around a window, throughput with and without.

    python tests/benchmarks/meters.py [--rounds 3] [--framework pytorch-ddp] [--gpus 1,8] [--out results.json]

Meters are read as everywhere, NVIDIA's from a recording of so many boards made here (tests/boards.py), so the time that
the driver itself takes to answer is not in it; where GPUs are, --gpus real reads them. Throughput is compared pair by
pair, in an order drawn anew; the other side has DLCOMPARE_METERS=none (aim: at least 0.99). On a machine whose speed
drifts the ratio is an indication; processor time is not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from dlcompare.core.launch import sampling
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.variables import JOB_MARK, METERS, REPLAY_METERS, SAMPLES
from dlcompare.core.worker.metering import metering

SECONDS = 10.0  # of sampling
READINGS = 50


def recording(folder: Path, gpus: int) -> Path:
    """Return a recording of so many boards, long enough for what is asked of it here."""
    sys.path[:0] = [str(Path(__file__).parents[1])]  # where the tests have boards
    from boards import Board, Clock, job, record

    file, clock = folder / f"{gpus}.jsonl", Clock()
    record(Board(load=job(3, 1e9), clock=clock, count=gpus), clock, file, seconds=60.0)
    return file


def sampler_share(folder: Path) -> float:
    """Return which share of one core the sampler takes while it samples."""
    process, _ = sampling.start(folder / SAMPLES, "cuda", None)
    watched = psutil.Process(process.pid)
    begin, before = time.monotonic(), sum(watched.cpu_times()[:2])
    time.sleep(SECONDS)
    share = (sum(watched.cpu_times()[:2]) - before) / (time.monotonic() - begin)
    sampling.end(process)
    return share


def reading_seconds() -> float:
    """Return how long all meters that are read around windows take for one reading, in the median."""
    os.environ[JOB_MARK] = "benchmark"  # as in a worker, which looks for all processes of its job
    meters = metering("cpu")
    taken = []
    for _ in range(READINGS):
        begin = time.perf_counter()
        meters.read()
        taken.append(time.perf_counter() - begin)
    meters.close()
    del os.environ[JOB_MARK]
    return statistics.median(taken)


def throughput(args: argparse.Namespace, variables: dict[str, str]) -> float:
    """Return the samples per second of one run of the command line."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--framework", args.framework, "--model", args.model, "--image-size", "32", "--batch", "32",
                 "--windows", "5", "--verify", "off", "--device", args.device, "--format", "json", "--out", folder]
        done = subprocess.run([sys.executable, "-m", "dlcompare.core", *words], capture_output=True, text=True,
                              env={**os.environ, **variables}, check=False)
    (found,) = json.loads(done.stdout)
    if found["status"] != "ok":
        sys.exit(f"dlcompare failed: {found['reason']}\n{done.stderr[-2000:]}")
    return float(found["throughput"]["value"])


def pairs(args: argparse.Namespace, variables: dict[str, str]) -> list[float]:
    """Return throughput with meters over that without, round by round."""
    ratios = []
    for _ in range(args.rounds):
        sides = {"with": variables, "without": {METERS: "none"}}
        order = random.sample(list(sides), len(sides))
        found = {side: throughput(args, sides[side]) for side in order}
        ratios.append(found["with"] / found["without"])
        print(f"{found['with']:.1f} with, {found['without']:.1f} without: {ratios[-1]:.3f}", flush=True)
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--framework", default="pytorch-ddp")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--gpus", default="1,8")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found: dict[str, Any] = {"reading_s": reading_seconds(), "meters": sorted(plugins().meters()), "sampler_share": {}}
    print(f"{1000 * found['reading_s']:.2f} ms for a reading around a window, two of them a window", flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder, variables = Path(place), dict[str, str]()
        for gpus in [] if args.gpus == "real" else map(int, args.gpus.split(",")):
            os.environ[REPLAY_METERS] = variables[REPLAY_METERS] = str(recording(folder, gpus))
            found["sampler_share"][str(gpus)] = sampler_share(folder)
            print(f"{gpus} GPUs sampled: {100 * found['sampler_share'][str(gpus)]:.2f} % of one core", flush=True)
        if args.gpus == "real":
            found["sampler_share"]["real"] = sampler_share(folder)
            print(f"real GPUs sampled: {100 * found['sampler_share']['real']:.2f} % of one core", flush=True)
        os.environ.pop(REPLAY_METERS, None)
        found["ratios"] = pairs(args, variables) if args.rounds else []
    if found["ratios"]:
        print(f"throughput with meters over without: {statistics.median(found['ratios']):.3f} in the median")
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
