"""Our bus bandwidth against a bare loop of the same engine: same processes, payload sizes, barrier and clock.

    python tests/benchmarks/bare_collectives.py [--rounds 5] [--framework NAME ...] [--size 1M] [--out results.json]

Each round runs both, in an order drawn anew, each in fresh processes started by the framework's own launcher; the
figure is the ratio of medians pair by pair, ours over bare (aim: at least 0.95). The bare loop knows nothing of
dlcompare, checks no payload and tells nobody how far it is.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from dlcompare.core.environments import resolve
from dlcompare.core.environments.sources import linked_sources
from dlcompare.core.kinds.comm.sizes import parse
from dlcompare.core.launch import start
from dlcompare.core.plugins.collectives import CollectiveJob
from dlcompare.core.plugins.registry import plugins

HERE = Path(__file__).parent
FRAMEWORKS = ("pytorch-ddp", "tf-horovod", "jax", "mxnet")


def bare(job: CollectiveJob, python: Path, size: int) -> float:
    """Run the bare loop and return the median seconds of a call, slowest rank."""
    backend = plugins().backend(job.framework)
    environment = start.worker_environment(backend, job, path=linked_sources(), mark="bare")
    with tempfile.TemporaryDirectory() as folder:
        argv = [*backend.command(job, str(python)), str(HERE / "bare_loops.py"), job.framework, str(size),
                str(job.iterations), folder]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, cwd=folder)
        files = list(Path(folder).glob("times-*.json"))
        if len(files) != job.workers:
            sys.exit(f"the bare loop of {job.framework} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return statistics.median(map(max, zip(*(json.loads(file.read_text()) for file in files), strict=True)))


def ours(job: CollectiveJob, size: int) -> float:
    """Run dlcompare and return the same, in place where the bare loop is."""
    words = ["comm", "--framework", job.framework, "--sizes", job.sizes, "--workers", str(job.workers), "--threads",
             str(job.threads), "--iterations", str(job.iterations), "--size-seconds", "600", "--format", "json"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-m", "dlcompare.core", *words, "--out", folder], capture_output=True,
                              text=True, check=False)
    if done.returncode:
        sys.exit(f"dlcompare failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    (record,) = json.loads(done.stdout)
    found: dict[bool, Any] = {one["in_place"]: one["figures"] for one in record["sizes"] if one["size"] == size}
    return float(found[max(found)]["median"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 5), ("workers", 2), ("iterations", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--framework", nargs="*", default=FRAMEWORKS)
    parser.add_argument("--size", default="1M")
    parser.add_argument("--out", type=Path, help="write all raw values here as JSON")
    args = parser.parse_args()
    (size,), _ = parse(args.size)
    threads = max(1, len(os.sched_getaffinity(0)) // args.workers)
    raw: dict[str, list[dict[str, float]]] = {}
    for framework in args.framework:
        python = resolve.resolve(None, plugins().backend(framework), "cpu", print)
        job = CollectiveJob(framework, sizes=args.size, workers=args.workers, threads=threads,
                            iterations=args.iterations)
        raw[framework] = [one_round(job, python, size) for _ in range(args.rounds)]
        logs = [math.log(one["bare"] / one["ours"]) for one in raw[framework]]
        mean, least, most = (math.exp(one) for one in (statistics.fmean(logs), min(logs), max(logs)))
        print(f"{framework}, all_reduce of {args.size}: bus bandwidth, ours over bare: {mean:.3f} of {len(logs)} pairs "
              f"({least:.3f} to {most:.3f})", flush=True)
    if args.out:
        args.out.write_text(json.dumps({"arguments": {**vars(args), "out": str(args.out)}, "seconds": raw}, indent=1))


def one_round(job: CollectiveJob, python: Path, size: int) -> dict[str, float]:
    """Run both in random order and return the median seconds of a call of each."""
    found: dict[str, float] = {}
    for which in random.sample(["ours", "bare"], 2):
        found[which] = ours(job, size) if which == "ours" else bare(job, python, size)
    return found


if __name__ == "__main__":
    main()
