"""What meters cost while a window runs: one process, one network, windows with meters and without in turn.

    python tests/benchmarks/meters_within.py [--framework pytorch-ddp] [--blocks 30] [--steps 10] [--out results.json]

``meters.py`` beside this compares whole runs, which a busy machine tells apart by some per cent at best. Here each
block has a window of each sort, in an order drawn anew, seconds apart, so that its drift is shared: without meters (the
sampler stopped by a signal); with all of them; and, as most virtual machines have no hardware counters, with four
software events of perf counted in the workers, which costs the kernel's part of what hardware events cost. Prints the
median over blocks of throughput over that without, with its 95 % interval (aim of all meters: at least 0.99), and how
long the readings of a window take, which is outside its clock. Where other programs run, the ratio by the processor
time that the worker took for the same steps, readings included, is the surer of the two; it leaves out the sampler's
own time, which ``meters.py`` prints.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dlcompare.core.environments import resolve
from dlcompare.core.environments.sources import linked_sources
from dlcompare.core.kinds.training.result import RankResult
from dlcompare.core.kinds.training.worker import run_rank
from dlcompare.core.launch import sampling, start
from dlcompare.core.meters.host.perf import Event, Perf
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records import stats
from dlcompare.core.worker.metering import Metering

SOFTWARE = [Event(name, 1, number) for name, number in (  # PERF_TYPE_SOFTWARE and its numbers
    ("task clock", 1), ("page faults", 2), ("context switches", 3), ("migrations", 4))]
ARMS = ("without", "with", "events")


class Arms:
    """What is done around a window of each sort."""

    def __init__(self, folder: Path) -> None:
        self.perf, self.handles, self.refused = Perf(), list[int](), None
        try:
            self.handles = [self.perf.open(event) for event in SOFTWARE]  # before the framework starts its threads
        except OSError as error:
            self.refused = str(error)
        self.sampler, _ = sampling.start(folder / "meters.jsonl", "cpu", None)
        os.kill(self.sampler.pid, signal.SIGSTOP)
        self.around: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
            "without": contextlib.nullcontext, "with": self.sampled, "events": self.counted}

    @contextlib.contextmanager
    def sampled(self) -> Iterator[None]:
        os.kill(self.sampler.pid, signal.SIGCONT)
        yield
        os.kill(self.sampler.pid, signal.SIGSTOP)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        for handle in self.handles:
            self.perf.start(handle)
        yield
        for handle in self.handles:
            self.perf.stop(handle)

    def close(self) -> None:
        os.kill(self.sampler.pid, signal.SIGCONT)
        sampling.end(self.sampler)


def inside(job: Job, folder: Path, blocks: int) -> None:
    """Take the windows: in a worker's process, in the framework's environment."""
    arms, found = Arms(folder), list[dict[str, Any]]()

    def measure(loop: Any, graph: Any, epoch_steps: int) -> None:
        meters = {"with": loop.meters, "without": Metering((), "cpu"), "events": Metering((), "cpu")}
        kinds = [arm for arm in ARMS if arm != "events" or not arms.refused]
        for _ in range(blocks):
            block: dict[str, Any] = {}
            for arm in random.sample(kinds, len(kinds)):
                loop.meters, begin, used = meters[arm], time.perf_counter(), time.process_time()
                with arms.around[arm]():
                    window = loop.watched(job.steps)
                block[arm] = {"seconds": window.seconds, "processor": time.process_time() - used,
                              "readings": time.perf_counter() - begin - window.seconds}
            found.append(block)
        loop.take(job.steps or 1)
        loop.meters = meters["with"]

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # a stopped sampler would outlive us
    try:
        run_rank(job, folder, lambda *args, **more: None, RankResult, measure)  # type: ignore[arg-type]
    finally:
        arms.close()
    (folder / "blocks.json").write_text(json.dumps({"refused": arms.refused, "blocks": found}))


def ratios(blocks: list[dict[str, Any]], arm: str, of: str) -> dict[str, float]:
    """Return seconds without an arm over those with it: the median over blocks, and its interval."""
    each = [block["without"][of] / block[arm][of] for block in blocks]
    low, high = stats.bootstrap_interval(each)
    return {"median": statistics.median(each), "low": low, "high": high}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", default="pytorch-ddp")
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--env", help="'current' or a Python, as for dlcompare")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    job = Job(framework=args.framework, model="resnet18", data="synthetic", image_size=32, batch=8, workers=1,
              steps=args.steps, threads=args.threads)
    if args.inside:
        inside(job, args.inside, args.blocks)
        return
    backend = plugins().backend(job.framework)
    python = resolve.resolve(args.env, backend, job.device, print)
    with tempfile.TemporaryDirectory() as folder:
        argv = [*backend.command(job, str(python)), str(Path(__file__).resolve()), "--inside", folder,
                f"--framework={args.framework}", f"--blocks={args.blocks}", f"--steps={args.steps}",
                f"--threads={args.threads}"]
        subprocess.run(argv, check=True, cwd=folder, stdout=sys.stderr,
                       env=start.worker_environment(backend, job, path=linked_sources(), mark="meters-within"))
        found = json.loads((Path(folder) / "blocks.json").read_text())
    for arm in ARMS[1:]:
        if all(arm in block for block in found["blocks"]):
            found[arm] = {of: ratios(found["blocks"], arm, of) for of in ("seconds", "processor")}
            said = [f"{one['median']:.4f} [{one['low']:.4f}, {one['high']:.4f}]" for one in found[arm].values()]
            print(f"{arm}: {said[0]} of the throughput without, {said[1]} by the worker's processor time, "
                  f"{len(found['blocks'])} blocks", flush=True)
    outside = {arm: statistics.median(block[arm]["readings"] for block in found["blocks"]) for arm in ARMS[:2]}
    print(f"outside the clock of a window: {1e3 * outside['with']:.1f} ms with meters, "
          f"{1e3 * outside['without']:.1f} ms without; perf {found['refused'] or 'counted'}")
    if args.out:
        args.out.write_text(json.dumps({**found, "outside_s": outside}, indent=1) + "\n")


if __name__ == "__main__":
    main()
