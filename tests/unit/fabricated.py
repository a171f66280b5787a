"""Rank results and records as real runs leave them, for tests of what reads them."""

import dataclasses
import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from dlcompare.core.kinds.kind import kind
from dlcompare.core.kinds.training import folding
from dlcompare.core.kinds.training.folding import Known
from dlcompare.core.kinds.training.result import LossPoint, RankResult, RankWindow, StepSeconds, TrainingRecord
from dlcompare.core.plugins.job import BaseJob, Job
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.circumstances import Circumstances

STARTED = 1_763_712_000.0  # 2025-11-21 08:00 UTC
RUN = "20251121-080000-1a2b"
SYSTEM = {
    "os": "Debian GNU/Linux 12 (bookworm)", "kernel": "6.1.0-28-amd64", "machine": "x86_64",
    "cpu": {"model": "Intel(R) Xeon(R) Processor", "physical": 2, "logical": 2, "usable": 2, "quota": None,
            "flags": ["amx_tile", "avx2", "avx512f"], "governor": None},
    "memory": {"total_bytes": 25276514304, "available_bytes": 24375836672, "limit_bytes": None},
    "load_average": [0.31, 0.22, 0.18], "accelerators": [],
}
SETTINGS: dict[str, dict[str, Any]] = {
    "pytorch-ddp": {"layout": "NHWC", "execution": "eager", "all_reduce": "gloo", "intra_op_threads": 1,
                    "gradient_buckets": "DistributedDataParallel, 25 MiB", "tf32": False},
    "tf-horovod": {"layout": "NHWC", "execution": "tf.function", "all_reduce": "horovod gloo", "intra_op_threads": 1,
                   "fusion_buffer": "64 MiB", "xla": False},
}
VERSIONS = {
    "pytorch-ddp": {"python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6"},
    "tf-horovod": {"python": "3.11.7", "tensorflow": "2.15.1", "horovod": "0.28.1", "numpy": "1.26.4"},
}
CERTIFICATE = {"certificate": "9f1c2ab07d3e4455", "passed": True, "date": "2025-11-20T17:03:11+00:00",
               "image_size": 64, "workers": 2}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def job(framework: str = "pytorch-ddp", **given: Any) -> Job:
    return Job(**{"framework": framework, "model": "resnet50", "workers": 2, "image_size": 64, **given})


def ranks(job: Job, seconds: Sequence[float] = (2.01, 2.03, 2.02, 2.0, 2.02), *, steps: int = 3, slower: float = 0.01,
          loss: float = 6.9, **given: Any) -> list[RankResult]:
    """Return one result per worker: ``seconds`` are rank 0's windows, each further rank is ``slower`` by so much."""
    return [_rank(job, rank, seconds, steps=steps, slower=slower, loss=loss, **given) for rank in range(job.workers)]


def _rank(job: Job, rank: int, seconds: Sequence[float], *, steps: int, slower: float, loss: float,
          feed: float = 0.001, warmup: Sequence[float] = (4.1, 0.71, 0.69), **given: Any) -> RankResult:
    first = len(warmup)
    windows = tuple(RankWindow(
        steps=steps, seconds=own + slower * rank, peers=tuple(own + slower * r for r in range(job.workers)),
        loss=loss - 0.01 * (n + 1) + 0.002 * rank, step=first + steps * (n + 1) - 1,
        started=STARTED + 20 + sum(seconds[:n]), feed_seconds=feed) for n, own in enumerate(seconds))
    losses = (*(LossPoint(n, loss + 0.002 * rank) for n in range(first)),
              *(LossPoint(window.step, window.loss) for window in windows))
    said: dict[str, Any] = {
        "rank": rank, "world": job.workers, "pid": 4100 + rank, "samples_per_step": job.batch,
        "warmup": tuple(StepSeconds(n, s) for n, s in enumerate(warmup)), "warmup_settled": True,
        "windows": windows, "losses": losses, "params_sha256": sha("params"), "sample_order_sha256": sha("order"),
        "first_batch_sha256": sha(f"batch {rank}"),
        "versions": VERSIONS.get(job.framework, VERSIONS["pytorch-ddp"]),
        "settings": Choices.of(SETTINGS.get(job.framework, SETTINGS["pytorch-ddp"])), "peak_bytes": None,
        "rss_bytes": 1_503_238_553 + rank,
        "startup": {"parameters": 0.41, "import_and_build": 2.9 + rank, "first_step": warmup[0] if warmup else 0.0},
    }
    return RankResult(**{**said, **given})


def finished(job: Job, results: Sequence[RankResult] | None = None, **given: Any) -> TrainingRecord:
    """Return the record of a job that ran; ``given`` are circumstances, what is known, or fields of the record."""
    about = {"system": SYSTEM, "run": RUN, "started": STARTED, "duration": 41.7, "log": f"runs/{RUN}/{job.id}/log.txt"}
    known = {"parameters": 25_557_032, "multiply_adds": 341_000_000}
    about, known = ({**usual, **{key: value for key, value in given.items() if key in fields(cls)}}
                    for usual, cls in ((about, Circumstances), (known, Known)))
    launch = about.pop("launch", None)
    more = {key: value for key, value in given.items() if key not in fields(Circumstances) | fields(Known)}
    return folding.make_record(partial(kind("training").outline, job, Circumstances(**about)), job,
                            ranks(job) if results is None else results,
                            Known(**{"launch": launch, "more": more, **known}), processes=job.workers)


def fields(cls: Any) -> set[str]:
    return {spec.name for spec in dataclasses.fields(cls)}


def refused(job: BaseJob, reason: str, **about: Any) -> Any:
    """Return the record of a job that cannot run here."""
    return kind(job.kind).outline(job, Circumstances(**about), status="refused", reason=reason)


def failed(job: BaseJob, reason: str, **about: Any) -> Any:
    """Return the record of a job that was started and did not end well."""
    return kind(job.kind).outline(job, Circumstances(**about), status="failed", reason=reason)


def comparison() -> list[TrainingRecord]:
    """Return what a comparison of four frameworks may give: verified, shaky, refused and killed."""
    torch, flow = job("pytorch-ddp"), job("tf-horovod")
    killed = job("jax", precision="bf16")
    shaky = ranks(flow, (2.31, 2.72, 2.36, 2.9, 2.33), loss=6.9003, feed=0.21)
    return [
        finished(torch, verified=CERTIFICATE),
        finished(flow, shaky),
        refused(job("mxnet"), "mxnet 1.9 needs CPython 3.8 or older, and none is on PATH; install one, or name an "
                "interpreter that holds mxnet with --env", run=RUN, started=STARTED),
        failed(killed, "rank 1 was killed by SIGKILL (9) in window 2, most likely for want of memory "
               "[MemAvailable 212 MiB]", run=RUN, started=STARTED + 60, duration=12.5, system=SYSTEM,
               log=f"runs/{RUN}/{killed.id}/log.txt"),
    ]


def in_rounds(job: Job, factors: Sequence[float], *, variant: str = "", run: str = RUN, rounds: int | None = -1,
              **given: Any) -> list[TrainingRecord]:
    """Return a record for each round, whose windows took the usual seconds times a factor; ``rounds`` None: until
    decided."""
    made = []
    for number, factor in enumerate(factors):
        results = ranks(job, [factor * seconds for seconds in (2.01, 2.03, 2.02, 2.0, 2.02)], slower=0.0)
        one = finished(job, results, **{"run": run, "verified": CERTIFICATE, **given})
        planned = len(factors) if rounds == -1 else rounds
        made.append(dataclasses.replace(one, id=f"{job.id}.r{number}", round=number, rounds=planned, variant=variant))
    return made
