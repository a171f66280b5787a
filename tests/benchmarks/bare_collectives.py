"""Our timed calls against a bare loop of the same engine: all-reduces in one job's processes, turn about.

    python tests/benchmarks/bare_collectives.py [--blocks 24] [--calls 30] [--framework NAME ...] [--out results.json]

Blocks of calls of ours and of the bare loop (``bare_loops.py``) alternate, which first changing each time: on a machine
with other work, processes of their own differ by more than what is looked for. The figure is the ratio of bus
bandwidths, by the median call of each block, slowest rank (aim: at least 0.95).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from dlcompare.core.environments import resolve
from dlcompare.core.environments.sources import linked_sources
from dlcompare.core.launch import start
from dlcompare.core.plugins.collectives import CollectiveJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.stats import student_half_width

LOOPS = Path(__file__).with_name("bare_loops.py")
FRAMEWORKS = ("pytorch-ddp", "tf-horovod", "jax", "mxnet")


def pairs(framework: str, blocks: int, calls: int) -> list[dict[str, float]]:
    """Return the median seconds of a call in each pair of blocks, of ours and of the bare loop."""
    backend, job = plugins().backend(framework), CollectiveJob(framework)
    python = resolve.resolve(None, backend, "cpu", print)
    environment = start.worker_environment(backend, job, path=linked_sources(), mark="bare")
    with tempfile.TemporaryDirectory() as folder:
        argv = [*backend.command(job, str(python)), str(LOOPS), framework, str(blocks), str(calls), folder]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, cwd=folder)
        file = Path(folder) / "pairs.json"
        if not file.exists():
            sys.exit(f"the loops of {framework} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found: list[dict[str, float]] = json.loads(file.read_text())
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("blocks", 24), ("calls", 30)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--framework", nargs="*", default=FRAMEWORKS)
    parser.add_argument("--out", type=Path, help="write all raw values here as JSON")
    args = parser.parse_args()
    raw = {}
    for framework in args.framework:
        raw[framework] = pairs(framework, args.blocks, args.calls)
        logs = [math.log(one["bare"] / one["ours"]) for one in raw[framework]]
        mean, half = statistics.fmean(logs), student_half_width(len(logs)) * statistics.stdev(logs)
        low, middle, high = (math.exp(one) for one in (mean - half, statistics.median(logs), mean + half))
        print(f"{framework}, all_reduce of 1M: bus bandwidth, ours over bare: {math.exp(mean):.3f} [{low:.3f}, "
              f"{high:.3f}], median {middle:.3f} of {len(logs)} pairs", flush=True)
    if args.out:
        args.out.write_text(json.dumps({"blocks": args.blocks, "calls": args.calls, "seconds": raw}))


if __name__ == "__main__":
    main()
