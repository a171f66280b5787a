"""MLPerf's inference scenarios on a session, driven and judged by MLPerf's own load generator.

Sources: Reddi et al. 2020, MLPerf inference benchmark, arXiv:1911.02549; the generator is mlcommons-loadgen. Runs here
are as short as the user says and hold fewer queries than a submission must: ``rules`` in the result says so.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.errors import JobError

if TYPE_CHECKING:
    from dlcompare.core.data import Dataset
    from dlcompare.core.plugins.backend import Arrays
    from dlcompare.core.plugins.engine import Session
    from dlcompare.core.plugins.inference_job import InferenceJob

Json = dict[str, Any]
RESIDENT = 256  # samples in memory, which queries draw from
STREAMS = 8  # samples of a multi-stream query
# Shares of what the session can answer, offered by the server scenario until the latency bound holds; the generator's
# own search for the peak did not end within three minutes where one try takes two seconds.
SERVER_LOADS = (0.9, 0.75, 0.6, 0.45, 0.3, 0.2, 0.1)
LEAST_QUERIES = {"single-stream": 64, "multi-stream": 16, "server": 64, "offline": 1}
NAMES = {"single-stream": "SingleStream", "multi-stream": "MultiStream", "server": "Server", "offline": "Offline"}
RESULTS = {  # what the generator calls the figure of a scenario, its unit, and how many of those are in one of its own
    "single-stream": ("90.0th percentile latency (ns)", "s", 1e-9),
    "multi-stream": ("99.0th percentile latency (ns)", "s", 1e-9),
    "server": ("Completed samples per second", "samples/s", 1.0),
    "offline": ("Samples per second", "samples/s", 1.0)}


class Answering:
    """Answers queries: whatever waits is run together, up to the job's batch; one thread, for there is one session."""

    def __init__(self, session: Session, samples: Arrays, batch: int, complete: Callable[[list[int]], None]) -> None:
        self.session, self.samples, self.batch, self.complete = session, samples, batch, complete
        self.waiting: queue.SimpleQueue[list[tuple[int, int]] | None] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._work, name="answering", daemon=True)
        self.thread.start()

    def issue(self, queries: list[Any]) -> None:
        """Take a query in; called by the generator."""
        self.waiting.put([(one.id, one.index) for one in queries])

    def close(self) -> None:
        """Stop; raises what went wrong in between."""
        self.waiting.put(None)
        self.thread.join()
        if self.error:
            raise self.error

    def _work(self) -> None:
        for now in self._batches():
            self._answer(now)

    def _batches(self) -> Iterator[list[tuple[int, int]]]:
        """Yield what waits, as much as fits into a batch, until told to stop."""
        pending: list[tuple[int, int]] = []
        while True:
            while not pending or (len(pending) < self.batch and not self.waiting.empty()):
                got = self.waiting.get()
                if got is None:
                    return
                pending += got
            yield pending[:self.batch]
            del pending[:self.batch]

    def _answer(self, now: list[tuple[int, int]]) -> None:
        try:
            if self.error is None:
                index = [place for _, place in now]
                self.session.run(self.session.place({k: v[index] for k, v in self.samples.items()}))
                self.session.wait()
                self.session.fetch()
        except BaseException as error:
            self.error = error  # queries are answered all the same: the generator would wait for ever
        self.complete([number for number, _ in now])


def run(session: Session, data: Dataset, job: InferenceJob, folder: Path) -> Json:
    """Run the job's scenario and return its figure: ``value``, ``unit``, ``valid``, ``summary``, ``rules``.

    The figure is MLPerf's: the 90th (single stream) or 99th (multi-stream) percentile of the latency, or samples per
    second (offline; for server what was answered at the highest load tried under which 99 % of the queries kept the
    job's latency bound).

    Raises:
        JobError: the load generator is not installed here.
    """
    try:
        import mlperf_loadgen as loadgen
    except ImportError as error:
        raise JobError(f"MLPerf's load generator cannot be imported ({error}); install mlcommons-loadgen beside the "
                       "engine, or leave --scenario out") from error
    name = str(job.scenario)
    count = min(RESIDENT, data.size)
    samples = data.batch(np.arange(count), epoch=0)
    rate = estimate_rate(session, samples, job.batch)

    def complete(numbers: list[int]) -> None:
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(number, 0, 0) for number in numbers])

    sizes = STREAMS if name in ("single-stream", "multi-stream") else job.batch
    tried: list[Json] = []
    for share in SERVER_LOADS if name == "server" else (1.0,):
        answering = Answering(session, samples, sizes, complete)
        drive(loadgen, answering, settings_for(loadgen, name, job, share * rate), folder, count)
        tried.append(read_figure(name, folder, job) | {"offered": share * rate})
        if tried[-1]["valid"]:
            break
    return tried[-1] | {"estimated_samples_per_second": rate, "resident_samples": count, "tried": [
        {key: one[key] for key in ("offered", "value", "valid")} for one in tried]}


def drive(loadgen: Any, answering: Answering, settings: Any, folder: Path, count: int) -> None:
    """Let the generator ask; its logs go into the folder."""
    sut = loadgen.ConstructSUT(answering.issue, lambda: None)
    library = loadgen.ConstructQSL(count, count, lambda _: None, lambda _: None)
    logs = loadgen.LogSettings()
    logs.log_output.outdir, logs.log_output.copy_summary_to_stdout = str(folder), False
    try:
        loadgen.StartTestWithLogSettings(sut, library, settings, logs)
    finally:
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(sut)
        answering.close()


def estimate_rate(session: Session, samples: Arrays, batch: int) -> float:
    """Return about how many samples a second the session answers, so that the generator knows where to begin."""
    placed = session.place({k: v[:batch] for k, v in samples.items()})
    rows, seconds, runs = len(next(iter(samples.values()))[:batch]), 0.0, 0
    session.run(placed)
    session.wait()
    while seconds < 0.5:
        begin = time.perf_counter()
        session.run(placed)
        session.wait()
        seconds, runs = seconds + time.perf_counter() - begin, runs + 1
    return rows * runs / seconds


def settings_for(loadgen: Any, name: str, job: InferenceJob, rate: float) -> Any:
    """Return the generator's settings: MLPerf's rules but for the length of the run."""
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, NAMES[name])
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = int(1000 * job.seconds)
    settings.min_query_count = LEAST_QUERIES[name]
    settings.multi_stream_samples_per_query = STREAMS
    settings.offline_expected_qps = rate
    if name == "server":
        settings.server_target_qps = rate
        settings.server_target_latency_ns = int(1e9 * job.latency)
        settings.server_target_latency_percentile = 0.99
    return settings


def read_figure(name: str, folder: Path, job: InferenceJob) -> Json:
    """Read the generator's summary; JobError if it holds no figure."""
    pairs = dict(split(line) for line in (folder / "mlperf_log_summary.txt").read_text().splitlines() if ":" in line)
    key, unit, factor = RESULTS[name]
    if key not in pairs:
        raise JobError(f"MLPerf's load generator gave no {key!r}; see {folder / 'mlperf_log_summary.txt'}")
    bound = {"latency_bound": job.latency} if name == "server" else {}
    return {"scenario": name, "value": float(pairs[key]) * factor, "unit": unit, "summary": pairs,
            "valid": pairs.get("Result is") == "VALID", "rules": f"at least {job.seconds:g} s and "
            f"{LEAST_QUERIES[name]} queries, fewer than a submission must have", **bound}


def split(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()
