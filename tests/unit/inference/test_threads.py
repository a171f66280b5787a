"""Inference with several numbers of threads: speed with each, all else once; tables, figures, bounds and the host."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from fabricated import SYSTEM
from speed_rows import cell, window

from dlcompare.core.errors import UsageError
from dlcompare.core.graph.cost import cost
from dlcompare.core.kinds.kind import Request, Started, kind
from dlcompare.core.machine.measured import Measured, Rate, fingerprint, keep
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.bounds import ARITHMETIC, Bounds
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.host import Host
from dlcompare.core.records.record import Window
from dlcompare.core.typed_json import to_plain
from dlcompare.inference.cell import result
from dlcompare.inference.cell.files import PREPARED
from dlcompare.inference.cell.request import InferenceRequest
from dlcompare.inference.cell.result import Build, Ran, RankResult
from dlcompare.inference.kind import folding
from dlcompare.inference.kind.request import cell_request
from dlcompare.inference.results.data import as_csv
from dlcompare.inference.results.summary import Results, speeds
from dlcompare.inference.results.tables import render

INFER = kind("inference")


def planned(**given: Any) -> Plan:
    return INFER.plan(Request(own=InferenceRequest(**{
        "model": "resnet18", "engines": ("onnxruntime",), "precisions": ("fp32",), "data": "digits", "image_size": 32,
        "batches": (1, 8), **given})))


def test_speed_is_a_job_for_each_number_of_threads_and_accuracy_is_one() -> None:
    plan = planned(threads=(2, 1), scenarios=("offline",))
    assert [(job.threads, job.batch) for job in plan.jobs if isinstance(job, InferenceJob)] == [
        (1, 1), (1, 8), (2, 1), (2, 8)]
    assert [plan.points[job.id] for job in plan.jobs][1:3] == [{"threads": 1, "batch": 8}, {"threads": 2, "batch": 1}]
    once = [job for job in (*plan.before, *plan.after) if isinstance(job, InferenceJob)]
    assert [(job.task, job.threads) for job in once] == [("predict", 2), ("scenario", 2)]
    assert not planned(threads=(2,)).points and not planned().points


def test_a_cell_is_asked_for_again_with_its_own_threads() -> None:
    plan = planned(threads=(1, 2))
    first = plan.jobs[0]
    assert isinstance(first, InferenceJob) and cell_request(plan.asked, first).threads == (1,)


def test_no_thread_is_too_few() -> None:
    with pytest.raises(UsageError, match="--threads must be at least 1, not 0"):
        planned(threads=(0, 2))


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Results:
    """Return results with one number of threads, shown so that no cell wraps."""
    monkeypatch.setenv("COLUMNS", "200")
    plan = {"engines": ["onnxruntime"], "precisions": ["fp32"], "batches": [8], "threads": 2, "device": "cpu"}
    network = {"name": "resnet50", "task": "classification", "image_size": 224, "origin": "weights.pth",
               "trained": True, "params_sha256": None, "outputs": ["logits"]}
    return Results(run="r", started="2026-01-01T00:00:00+00:00", data="digits", network=network, plan=plan,
                   system={"cpu": {"usable": 2}}, cells=[cell("fp32", [window(100), window(102)])])


def by_threads(results: Results) -> Results:
    """Return results with one and two threads, the second of twice the speed."""
    cells = [{**cell("fp32", [window(rate), window(rate)]), "threads": threads}
             for threads, rate in ((1, 100), (2, 200))]
    return dataclasses.replace(results, cells=cells, plan={**results.plan, "threads": [2, 1]})


def test_threads_have_a_column_where_there_are_several(results: Results) -> None:
    assert [(one.threads, round(one.throughput)) for one in speeds(by_threads(results))] == [(1, 100), (2, 200)]
    assert "threads  samples/s" in render(by_threads(results)) and "threads  samples/s" not in render(results)
    assert [line.split(",")[6] for line in as_csv([by_threads(results)]).splitlines()][:3] == ["threads", "1", "2"]


def test_bounds_and_host_are_told_as_of_training(results: Results) -> None:
    peak = Rate("matrix", "fp32", 1e12, None, None, 1e12, 5, "FLOP/s", "jax", "")
    bounds = Bounds(measured="2026-11-30T10:00:00+00:00", peak=peak, limits={ARITHMETIC: 400.0})
    host = Host(5.0, cores=2, cores_busy=1.5, job_cores=1.25)
    told = [{**one, "bounds": to_plain(bounds), "host": to_plain(host)} for one in by_threads(results).cells]
    text = render(dataclasses.replace(by_threads(results), cells=told))
    assert "onnxruntime fp32, batch 8, 1 thread: 25 % of what its matrix units give (jax, fp32)" in text
    assert "onnxruntime fp32, batch 8, 2 threads: 50 % of what its matrix units give" in text
    assert "onnxruntime fp32, batch 8, 2 threads: 1.50 of 2 cores busy (the job 1.25)" in text
    assert "matrix units" not in render(results) and "cores busy" not in render(results)


@pytest.mark.parametrize("own_file, share", [(None, 2 * 1000.0), ("mine.onnx", None)])
def test_an_engine_has_a_bound_by_the_network_it_runs_unless_that_is_a_users_own(
        own_file: str | None, share: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path))
    flops = 2 * cost(plugins().model("resnet18").graph(32, 10)).multiply_adds
    rate = Rate("matrix", "fp32", flops * 2000.0, None, None, 1.0, 5, "FLOP/s", "jax", "jax 1", threads=2)
    keep(Measured(fingerprint(SYSTEM), "2026-11-30T10:00:00+00:00", 60.0, (rate,)))
    asked = InferenceRequest(engines=("onnxruntime",), threads=(2,), data="digits",
                             **({"onnx": own_file} if own_file else {"model": "resnet18"}))
    (tmp_path / PREPARED).write_text(json.dumps({"asked": to_plain(asked), "network": {}, "calibration": None}))
    job = InferenceJob("onnxruntime", "resnet18", file="x.onnx", image_size=32, classes=10, threads=2)
    one = Window(steps=10, samples=10, seconds=(0.01,), started=0.0)
    rank = RankResult(build=Build(0.0, 1, cached=False, key="k"), startup={"import": 0.1, "open": 0.1},
                      ran=Ran("fp32", 1, ()), settings=Choices(), versions={}, peak_bytes=None, rss_bytes=1,
                      measured=result.Measured(0.1, (0.1,), settled=True, windows=(one, one), latencies=(0.1,),
                                               copies={}))
    about = Started(run="r", system=SYSTEM, folder=tmp_path / "job", tell=lambda *_: None)
    record = folding.fold(INFER, job, [rank], about)
    assert record.throughput and record.throughput.value == 1000.0
    assert (record.bounds.limits if record.bounds else None) == (share and {ARITHMETIC: share})
    assert not share or (record.bounds and record.bounds.shares == {ARITHMETIC: 0.5})
