"""Our throughput against a hand-written loop of the same framework: ResNet-50, same batch, threads and workers.

    python tests/benchmarks/overhead.py [--rounds 5] [--workers 2] [--image-size 224] [--out results.json]

Each round runs both, in an order drawn anew, each in fresh processes started by the framework's own launcher; the
figure is the ratio pair by pair, ours over native (aim: at least 0.98). Also prints how much of a core the parent
used while the workers measured (aim: below 2 %).
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
import threading
import time
from pathlib import Path

import psutil

from dlcompare.core.environments import resolve
from dlcompare.core.environments.sources import linked_sources
from dlcompare.core.launch import start
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins

HERE = Path(__file__).parent
NATIVE = {"pytorch-ddp": "native_pytorch_ddp.py", "tf-horovod": "native_tf_horovod.py",
          "jax": "native_jax.py", "mxnet": "native_mxnet.py"}


def native(job: Job, python: Path, words: list[str]) -> float:
    """Run the hand-written loop and return its samples per second, all workers together."""
    backend = plugins().backend(job.framework)
    script = [str(HERE / NATIVE[job.framework]), f"--batch={job.batch}", f"--image-size={job.image_size}",
              f"--threads={job.threads}", f"--steps={job.windows * (job.steps or 1)}", "--warmup=4", *words]
    environment = start.worker_environment(backend, job, path=linked_sources(), mark="native")
    argv = [*backend.command(job, str(python)), *script]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    lines = [line[line.index("{"):] for line in done.stdout.splitlines() if '"throughput"' in line]
    if not lines:
        sys.exit(f"the native loop of {job.framework} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return float(json.loads(lines[-1])["throughput"])


def ours(job: Job) -> tuple[float, float]:
    """Run dlcompare and return its samples per second, and its parent's share of one core while workers measure."""
    words = ["--framework", job.framework, "--model", job.model, "--data", "synthetic", "--format", "json"]
    for name in ("workers", "batch", "image_size", "threads", "steps", "windows", "device"):
        words += [f"--{name.replace('_', '-')}", str(getattr(job, name))]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([sys.executable, "-m", "dlcompare.core", *words, "--out", folder],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        shares: list[float] = []
        watcher = threading.Thread(target=watch, args=(process.pid, Path(folder), shares))
        watcher.start()
        out, err = process.communicate()
        watcher.join()
    (record,) = json.loads(out)
    if record["status"] != "ok":
        sys.exit(f"dlcompare failed: {record['reason']}\n{err}")
    return record["throughput"]["value"], statistics.mean(shares or [float("nan")])


def watch(pid: int, folder: Path, shares: list[float]) -> None:
    """Add the parent's CPU share of every second in which its workers were past the start."""
    try:
        parent = psutil.Process(pid)
        while True:
            before = sum(parent.cpu_times()[:2])
            time.sleep(1)
            share = sum(parent.cpu_times()[:2]) - before
            events = "".join(p.read_text() for p in folder.glob("*/*/events.jsonl"))
            if '"warm-up"' in events and '"done", "step"' not in events:
                shares.append(share)
    except psutil.Error:
        return  # it has ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 5), ("workers", 2), ("batch", 8), ("image-size", 224), ("steps", 2),
                          ("windows", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--framework", nargs="*", default=sorted(NATIVE))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--env", help="'current' or a Python, as for dlcompare")
    parser.add_argument("--native", default="", help="more arguments for the hand-written loop, in one word")
    parser.add_argument("--out", type=Path, help="write all raw values here as JSON")
    args = parser.parse_args()
    threads = max(1, len(os.sched_getaffinity(0)) // args.workers)
    raw: dict[str, list[dict[str, float]]] = {}
    for framework in args.framework:
        python = resolve.resolve(args.env, plugins().backend(framework), args.device, print)
        job = Job(framework=framework, model="resnet50", device=args.device, workers=args.workers, batch=args.batch,
                  image_size=args.image_size, steps=args.steps, windows=args.windows, threads=threads)
        raw[framework] = [one_round(job, python, number, args.native.split()) for number in range(args.rounds)]
        ratios = sorted(r["ours"] / r["native"] for r in raw[framework])
        print(f"{framework}: ours / native, median {statistics.median(ratios):.3f} of {len(ratios)} pairs "
              f"({ratios[0]:.3f} to {ratios[-1]:.3f}); parent "
              f"{100 * statistics.mean(r['parent'] for r in raw[framework]):.2f} % of a core", flush=True)
    if args.out:
        args.out.write_text(json.dumps({"arguments": {**vars(args), "out": str(args.out)}, "raw": raw}, indent=1))


def one_round(job: Job, python: Path, number: int, words: list[str]) -> dict[str, float]:
    """Run both in random order; return both throughputs in samples per second and the parent's share of a core."""
    found: dict[str, float] = {}
    for which in random.sample(["ours", "native"], 2):
        if which == "native":
            found["native"] = native(job, python, words)
        else:
            found["ours"], found["parent"] = ours(job)
    print(f"  {job.framework} round {number + 1}: ours {found['ours']:.2f}, native {found['native']:.2f} samples/s",
          flush=True)
    return found


if __name__ == "__main__":
    main()
