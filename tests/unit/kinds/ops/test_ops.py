"""Operators timed alone: what is planned, what one process times of them, what is made of that."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fabricated import RUN, SYSTEM
from golden import flowing

from dlcompare.core.conformance import certificate
from dlcompare.core.conformance.check import Check
from dlcompare.core.conformance.claims import UNPROVED, Certificates, examined
from dlcompare.core.errors import JobError, UsageError
from dlcompare.core.graph import Graph
from dlcompare.core.graph.alone import layers
from dlcompare.core.graph.cost import node_costs
from dlcompare.core.graph.named import operator, small
from dlcompare.core.graph.params import initial_params
from dlcompare.core.judging.judging import Judging
from dlcompare.core.judging.kernels import Breakdown, LayerTime, kernels
from dlcompare.core.kinds.kind import Answer, Request, Started, kind
from dlcompare.core.kinds.ops import folding, report, worker
from dlcompare.core.kinds.ops.proof import certified, job_of, verify
from dlcompare.core.kinds.ops.published import operators
from dlcompare.core.kinds.ops.request import FORWARD, FRAME, STEP, WHOLE, Cell, OpsJob, cells
from dlcompare.core.kinds.ops.result import OpsRecord, RankResult, Timed
from dlcompare.core.kinds.ops.table import render as table_of
from dlcompare.core.machine.measured import MATRIX, Measured, Rate, fingerprint, keep
from dlcompare.core.meters.meter import Metered, Quantity
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.backend import Trainer
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.published.tables import table
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.recompute import recomputed
from dlcompare.core.records.record import Proved, Window
from dlcompare.core.reports.sweeps import figure
from dlcompare.core.run.metered import with_meters
from dlcompare.core.typed_json import from_plain
from dlcompare.frameworks.reference import Reference
from dlcompare.frameworks.reference.trainer import ReferenceTrainer

OPS = kind("ops")
QUICK: Mapping[str, Any] = {"windows": 2, "window_seconds": 0.001, "device": "cpu", "threads": 1}


def planned(*frameworks: str, **settings: Any) -> Plan:
    return OPS.plan(Request({"framework": ",".join(frameworks), **QUICK, **settings}, OPS.own()))


def carried_out(job: OpsJob, folder: Path) -> OpsRecord:
    """Return the record of a job that is done here, in this process."""
    told: list[dict[str, Any]] = []
    worker.work(job, folder, lambda phase, **more: told.append({"phase": phase, **more}))
    rank = from_plain(RankResult, json.loads((folder / "rank-0.json").read_text()), what="rank")
    about = Started(run=RUN, system=SYSTEM, folder=folder, tell=lambda *_: None)
    assert {one["phase"] for one in told} >= {"import", "window"}
    return folding.fold(OPS, job, [rank], about)


def test_published_operators_cost_what_is_printed_of_them() -> None:
    rows = table("wang2020_table4_operators").rows
    printed = {f"{row['operator']}-{row['size']}": float(row["flops"]) for row in rows}
    assert len(printed) == 6 and list(operators()) == list(printed)
    for name, text in operators().items():
        one = operator(text)
        assert 2 * one.batch * one.layer.multiply_adds == pytest.approx(printed[name], rel=5e-3), name
    assert planned("reference", ops=("published",)).jobs[0].to_plain()["ops"] == list(printed)


def test_matrices_need_not_be_square() -> None:
    one = operator("matmul:3x5x7")
    assert (one.batch, one.layer.multiply_adds, one.layer.about) == (3, 35, "dense 5 -> 7")
    assert small("matmul:8192x16x4096") == "matmul:1024x16x1024" and small("conv2d:x") == "conv2d:x"


@pytest.mark.parametrize("name, words", [
    ("matmul:x", "is none that can be read; write matmul:N"), ("matmul:0", "from 1 to"), ("fft:8", "write matmul:N"),
    ("conv2d:1x8x8x3:3x3x4x8:1", "3 channels, and the filters read 4"),
    ("conv2d:1x2x2x3:5x5x3x8:1", "makes an empty tensor"), ("matmul-IV", "is none that can be read")])
def test_an_operator_that_cannot_be_says_why(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        planned("reference", ops=(name,))


def test_what_samples_would_come_from_is_not_asked() -> None:
    """They are invented: an option that says whence they come would say nothing, or refuse every operator."""
    assert {"data", "loaders", "pipeline", "on_bad_sample"} <= set(OPS.refused)


def test_something_must_be_named_and_layers_exist() -> None:
    with pytest.raises(UsageError, match="either --op or --from-model must be given"):
        planned("reference")
    with pytest.raises(UsageError, match="has no layer conv9 of its own work; it has: conv1, bn1"):
        planned("reference", model="resnet18", image_size=32, ops=("conv9",))
    chosen = cells(OpsJob("reference", model="resnet18", image_size=32, ops=("layer1.0.conv1",)))
    assert [(one.of, one.count) for one in chosen] == [(WHOLE, 1), ("conv", 4), (FRAME, 0)]


@pytest.mark.parametrize("model, size", [("resnet18", 32), ("googlenet", 64), ("bert-tiny", None)])
def test_layers_are_all_of_the_network_each_kind_once(model: str, size: int | None) -> None:
    graph = plugins().model(model).graph(size)
    found = layers(graph)
    needed = {node.name for node in graph.needed("loss")}
    assert sum(one.count * one.multiply_adds for one in found) == sum(
        one.multiply_adds for name, one in node_costs(graph).items() if name in needed)
    assert len({one.name for one in found}) == len(found) < len(needed)


def test_the_first_layer_passes_no_gradient_on() -> None:
    found = {one.name: one for one in layers(plugins().model("resnet18").graph(32))}
    assert (found["conv1"].products, found["layer1.0.conv1"].products, found["relu"].products) == (2, 3, 2)
    assert found["conv1"].about == "conv 7x7/2 3x32x32 -> 64x16x16" and found["loss"].about == "cross_entropy 1000 -> 1"
    assert found["conv1"].framed == ((64, 16, 16),) and found["loss"].framed == ((1000,),)
    assert found["layer1.0.add"].framed == ((64, 8, 8),) * 3


@pytest.mark.parametrize("model, size", [("resnet18", 32), ("bert-tiny", None)])
def test_every_layer_alone_trains_and_its_forward_gives_the_loss(model: str, size: int | None) -> None:
    for one in layers(plugins().model(model).graph(size)):
        if one.op == "dropout":
            continue  # the reference draws no masks
        job = Job("reference", "resnet18")
        trainer = plugins().backend("reference").trainer(one.graph, initial_params(one.graph, 0), job)
        placed = trainer.place(worker.invented(one.graph.inputs, 2, seed=0))
        trainer.forward(placed)
        loss = trainer.wait()
        trainer.step(placed, 0.1)
        assert trainer.wait() == loss and math.isfinite(loss), one.name
        trainer.forward(placed)
        assert trainer.wait() != loss or not one.framed, f"{one.name}: nothing was learned"


def test_operators_become_a_record_with_rates(tmp_path: Path) -> None:
    job = planned("reference", ops=("matmul:32", "conv2d:2x8x8x3:3x3x3x4:1:1")).jobs[0]
    assert isinstance(job, OpsJob)
    record = carried_out(job, tmp_path)
    product, image = record.timed
    assert (product.flops, product.step_flops) == (2 * 32**3, 6 * 32**3) and image.batch == 2
    assert len(product.forward) == len(product.step) == 2
    for what, flops in ((FORWARD, product.flops), (STEP, product.step_flops)):
        rate, seconds = product.rate(what), product.seconds(what)
        fastest, slowest = sorted(flops * one.steps / one.seconds[0] for one in product.windows(what))
        assert rate and seconds and fastest <= rate.value <= slowest and fastest <= flops / seconds <= slowest
    window = record.windows[0]
    assert window.seconds[0] == pytest.approx(product.step[0].seconds[0] + image.step[0].seconds[0])
    assert window.samples == product.step[0].samples + image.step[0].samples
    assert record.throughput and record.throughput.unit == "FLOP/s" and record.breakdown() is None
    assert [one.model for one in record.parts()] == list(job.ops)
    assert OpsRecord.from_json(record.to_json()) == record
    assert record.reproduce.startswith("dlcompare ops --framework reference --precision fp32")
    assert record.reproduce.endswith("--op matmul:32,conv2d:2x8x8x3:3x3x3x4:1:1") and "model" not in record.reproduce
    shown = OPS.report(Answer([record]), "table", None)
    assert "matmul:32" in shown and "with: dlcompare machine" in flowing(shown)


def test_a_network_becomes_a_breakdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(job: OpsJob) -> list[Cell]:
        whole, *others = cells(job)  # the reference takes seconds for a whole step
        return [dataclasses.replace(whole, graph=others[0].graph), *others]

    monkeypatch.setattr(worker, "cells", quick)
    job = planned("reference", model="resnet18", image_size=32, classes=10, batch=2,
                  ops=("layer4.0.conv2", "layer4.0.relu1", "layer4.0.add")).jobs[0]
    assert isinstance(job, OpsJob)
    record = carried_out(job, tmp_path)
    found = record.breakdown()
    assert found and [(one.name, one.count) for one in found.layers] == [
        ("layer4.0.relu1", 4), ("layer4.0.conv2", 3), ("layer4.0.add", 2)]
    assert found.inside + found.beyond == pytest.approx(found.whole)
    assert record.windows == record.timed[0].step and len(record.windows) >= 2
    shown = OPS.report(Answer([record]), "table", None)
    assert "the rest, other layers too" in shown and "beyond its layers" not in shown.lower()
    assert "conv 3x3/1 512x1x1 -> 512x1x1" in flowing(shown)


def timed(name: str, of: str, seconds: float, **more: Any) -> Timed:
    window = Window(steps=2, samples=1, seconds=(2 * seconds,), started=0.0)
    return dataclasses.replace(Timed(name, name, of, 1, 8, 100, 300, step=(window,)), **more)


def test_half_of_each_frame_around_a_layer_is_taken_off() -> None:
    about = Started(run=RUN, folder=Path(), tell=lambda *_: None)
    record = dataclasses.replace(
        OPS.outline(OpsJob("jax", model="resnet18"), about, status="ok"),
        timed=(timed(WHOLE, WHOLE, 10.0), timed("a", "conv", 3.0, count=2, framed=("8", "4")),
               timed("b", "add", 1.5, framed=("8", "8", "8")), timed("8", FRAME, 0.6), timed("4", FRAME, 0.2)))
    found = record.breakdown()
    assert [one.seconds for one in found.layers] == pytest.approx([2 * (3.0 - 0.3 - 0.1), 1.5 - 0.9])
    assert (found.whole, found.beyond) == pytest.approx((10.0, 10.0 - 5.2 - 0.6))
    missing = dataclasses.replace(record, timed=(*record.timed, timed("c", "conv", 1.0, step=(), reason="no")))
    assert missing.breakdown() is None and not OPS.passed([missing])


def breakdown(whole: float, *layers: float) -> Breakdown:
    return Breakdown(whole, tuple(LayerTime(name, name, 1, s) for name, s in zip("ab", layers, strict=True)))


def test_a_rate_above_the_devices_peak_is_no_result(tmp_path: Path) -> None:
    job = planned("reference", ops=("matmul:8",)).jobs[0]
    assert isinstance(job, OpsJob)
    card = {**SYSTEM, "accelerators": [{"name": "NVIDIA Tesla V100"}]}
    fast = timed("matmul:8", "dense", 1e-9, flops=10**9, step_flops=10**9)
    window = dataclasses.replace(fast.step[0], samples=2 * 10**9)
    rank = RankResult(timed=(dataclasses.replace(fast, step=(window,)),), versions={}, settings=Choices(), startup={},
                      peak_bytes=None, rss_bytes=1)
    about = Started(run=RUN, system=card, folder=tmp_path, tell=lambda *_: None)
    record = folding.fold(OPS, dataclasses.replace(job, device="cuda"), [rank], about)
    assert record.status == "failed" and str(record.reason).startswith("matmul:8, step: impossible: 1e+09 GFLOP/s is")
    spared = tuple(dataclasses.replace(one, least=1e-6) for one in rank.timed)
    assert folding.fold(OPS, dataclasses.replace(job, device="cuda"), [dataclasses.replace(rank, timed=spared)],
                        about).status == "ok", "an algorithm that needs fewer operations is no lie"


def test_a_rate_above_the_peak_that_was_measured_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path))
    peak = Rate(MATRIX, "fp32", 1e9, 0.9e9, 1.1e9, 1.05e9, 5, "FLOP/s", "reference", "library 3", threads=1, size=1024)
    keep(Measured(fingerprint(SYSTEM), "2026-11-30T10:00:00+00:00", 60.0, (peak,)))
    job = planned("reference", ops=("matmul:8",)).jobs[0]
    assert isinstance(job, OpsJob)
    about = Started(run=RUN, system=SYSTEM, folder=tmp_path, tell=lambda *_: None)

    def folded(flops: float, job: OpsJob = job, version: str = "3") -> OpsRecord:
        one = timed("matmul:8", "dense", 1e-3, flops=round(flops / 1e3), step_flops=round(flops / 1e3))
        window = dataclasses.replace(one.step[0], samples=2 * one.step_flops)
        rank = RankResult(timed=(dataclasses.replace(one, step=(window, window)),), settings=Choices(), startup={},
                          versions={"library": version}, peak_bytes=None, rss_bytes=1)
        return folding.fold(OPS, job, [rank], about)

    assert folded(1.2e9).status == "ok" and folded(1.2e9).peak == peak
    above = folded(1.3e9)
    assert above.status == "failed" and "matmul:8, step: impossible: by the fewest" in str(above.reason)
    assert folded(1.3e9, version="4").status == "ok", "of which nobody knows what it can do"
    assert folded(1.3e9, dataclasses.replace(job, measures_peak=True)).status == "ok", "else no peak could ever rise"
    forged = dataclasses.replace(above, status="ok", reason=None)
    assert recomputed(OpsRecord.from_json(forged.to_json())).status == "failed"


def test_what_winograd_spares_is_known_of_each_operator() -> None:
    three, wide, product = cells(OpsJob("reference", ops=("conv2d:2x8x8x3:3x3x3x4:1", "conv2d:2x8x8x3:3x3x3x4:2",
                                                          "matmul:8")))
    assert (three.least, wide.least, product.least) == (0.25, 1.0, 1.0)
    whole = cells(OpsJob("reference", model="resnet18", image_size=32))[0]
    assert 0.25 < whole.least < 1.0


def test_what_does_not_fit_into_memory_is_refused() -> None:
    job = planned("reference", ops=("matmul:8", "matmul:10000000"))
    assert "a training step of matmul:10000000 needs at least" in next(iter(job.refusals.values()))
    whole = planned("reference", model="resnet18", batch=1 << 22)
    assert "use a smaller --batch" in next(iter(whole.refusals.values()))


@pytest.mark.parametrize("error, said", [
    (RuntimeError("no kernel\nfor seven"), "RuntimeError: no kernel for seven"),
    (JobError("the plug-in has\nno seven"), "the plug-in has no seven")])
def test_an_operator_that_a_framework_cannot_do_fails_alone(error: Exception, said: str, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    make = Reference.trainer

    def trainer(self: Reference, graph: Graph, params: Any, job: Job) -> Any:
        if graph.params()["layer.weight"].shape == (7, 7):
            raise error
        return make(self, graph, params, job)

    monkeypatch.setattr(Reference, "trainer", trainer)
    record = carried_out(planned("reference", ops=("matmul:7", "matmul:8")).jobs[0], tmp_path)
    seven, eight = record.timed
    assert eight.step and not eight.reason and (seven.reason, seven.step) == (said, ())
    assert [(one.status, one.reason) for one in record.parts()] == [("failed", said), ("ok", None)]
    assert record.status == "ok" and not OPS.passed([record])
    assert f"1 reference matmul:7 failed: {said}" in flowing(
        OPS.report(Answer([record]), "table", None))


def test_a_backend_without_a_forward_pass_is_timed_by_steps_alone(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReferenceTrainer, "forward", Trainer.forward)
    (one,) = carried_out(planned("reference", ops=("matmul:8",)).jobs[0], tmp_path).timed
    assert one.step and not one.forward and one.rate(FORWARD) is None


def test_layers_and_the_rest_multiply_to_the_gap() -> None:
    slows = {n: breakdown(10.0 * w, 6.0 * w, 2.0 * w) for n, w in enumerate((1.0, 1.1, 0.9))}
    fasts = {n: breakdown(2.0 * w, 1.0 * w, 0.5 * w) for n, w in enumerate((1.0, 1.1, 0.9))}
    found = kernels("jax", "torch", slows, fasts, run=RUN)
    assert not isinstance(found, str)
    assert found.gap.ratio == pytest.approx(5.0) and found.factor.ratio == pytest.approx(10.0 / 3.5)
    assert found.factor.ratio * found.rest.ratio == pytest.approx(found.gap.ratio)
    assert found.factor.share + found.rest.share == pytest.approx(1.0)
    assert [(one.name, round(one.share, 3)) for one in found.layers] == [("a", 0.625), ("b", 0.188)]


def test_no_gap_has_no_shares() -> None:
    alike = {n: breakdown(2.0, 1.0, 0.5) for n in range(2)}
    found = kernels("a", "b", alike, alike, run=RUN)
    assert not isinstance(found, str) and {one.share for one in found.layers} == {0.0}


def test_layers_that_cannot_be_told_from_the_rest_are_no_explanation() -> None:
    assert "too few rounds" in str(kernels("a", "b", {0: breakdown(1, 1, 1)}, {}, run=RUN))
    odd = {n: breakdown(1.0, 4.0, 4.0) for n in range(3)}
    assert "cannot be told from the rest" in str(kernels("a", "b", odd, {n: breakdown(1, 0.1, 0.1) for n in range(3)},
                                                          run=RUN))


def test_samples_are_invented_for_every_role() -> None:
    graph = plugins().model("bert-tiny").graph()
    batch = worker.invented(graph.inputs, 3, seed=0)
    assert all(batch[name].shape == (3, *spec.shape) and batch[name].dtype == spec.dtype
               for name, spec in graph.inputs.items())
    assert all(batch[name].max() < spec.high for name, spec in graph.inputs.items() if spec.high)
    assert all(np.all(batch[name] == 1) for name, spec in graph.inputs.items() if spec.role == "mask")


@pytest.mark.slow
def test_rounds_are_judged_by_operator_and_shown_together(tmp_path: Path) -> None:
    records = []
    for number in range(3):
        for threads in (1, 2):
            folder = tmp_path / f"{threads}-{number}"
            folder.mkdir()
            job = planned("reference", ops=("matmul:24", "matmul:48"), threads=threads).jobs[0]
            records.append(dataclasses.replace(carried_out(job, folder), round=number, rounds=3, system={},
                                               variant=f"threads={threads}"))
    found = OPS.compare(records, Judging())
    assert [one.model for one in found] == ["matmul:24", "matmul:48"] and all(len(one.sides) == 2 for one in found)
    shown = OPS.report(Answer(records), "table", Judging())
    assert shown.count("reference:threads=2") >= 4 and "FLOP/s" in shown
    assert len(report.together(records)) == 2 and len(report.together(records)[0].timed[0].step) == 3 * 2
    assert json.loads(OPS.report(Answer(records), "json", Judging()))["comparisons"]
    assert "Cold start" not in shown, "steps of one operation are no steps to be ahead in"


def test_a_stored_proof_of_operators_is_believed_and_its_lack_is_remedied(tmp_path: Path,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path / "cache"))
    job = planned("reference", ops=("matmul-I", "matmul:8")).jobs[0]
    about = Started(run=RUN, system=SYSTEM, folder=tmp_path, tell=lambda *_: None)
    record = dataclasses.replace(OPS.outline(job, about, status="ok"), environment={"numpy": "2"})
    lacking = [line for line in table_of([record]).splitlines() if "dlcompare verify" in line]
    small_ones = ["matmul:1024", "matmul:8"]
    assert [line.split()[-1] for line in lacking] == small_ones and record.networks == tuple(small_ones)
    for name in small_ones:
        (tmp_path / name).mkdir()
        checks = [Check(case, "loss", 1e-6, 1e-3) for case in ("sgd", name)]
        certificate.save(certificate.make(job_of(record, name), checks, {"numpy": "2"}, None), tmp_path / name)
    proved = certified(record)
    assert proved.verified and proved.verified["passed"]
    assert examined(proved, Certificates(tmp_path)) == proved
    other = dataclasses.replace(proved, model="matmul:7", job={**proved.job, "ops": ["matmul:7"]})
    assert examined(other, Certificates(tmp_path)).verified is None


def test_a_certificate_speaks_for_its_own_operator_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    job = planned("reference", ops=("matmul:16", "matmul:8")).jobs[0]
    about = Started(run=RUN, system=SYSTEM, folder=tmp_path, tell=lambda *_: None)
    both = tuple(timed(name, "dense", 1e-3) for name in ("matmul:16", "matmul:8"))
    record = dataclasses.replace(OPS.outline(job, about, status="ok"), environment={"numpy": "2"}, timed=both)
    passed = [Check(case, "loss", 1e-6, 1e-3) for case in ("sgd", "matmul:8")]
    certificate.save(certificate.make(job_of(record, "matmul:8"), passed, {"numpy": "2"}, None), tmp_path)
    found = certified(record)
    assert found.verified is None and [one.network for one in found.proved] == ["matmul:8"]
    assert [bool(one.verified) for one in found.parts()] == [False, True]
    text = table_of([found])
    assert text.count("ok, verified") == text.count("ok, not verified") == 1
    assert [line.split()[-1] for line in text.splitlines() if "dlcompare verify" in line] == ["matmul:16"]
    again = OpsRecord.from_json(found.to_json())
    assert again == found and examined(again, Certificates(tmp_path)) == found
    (only,) = found.proved
    forged = dataclasses.replace(found, proved=(only, Proved("matmul:16", only.verified)), verified=only.verified)
    read = examined(forged, Certificates(tmp_path))
    assert read.proved == (only,) and read.verified is None and read.warnings[0].kind == UNPROVED
    of_before = dataclasses.replace(found, proved=(), verified=only.verified)
    assert examined(of_before, Certificates(tmp_path)).proved == (only,), "one that does not say of which it is"
    failed = dataclasses.replace(found, proved=(Proved("matmul:8", {**only.verified, "passed": False}),))
    assert OPS.passed([found]) and not OPS.passed([failed])


def test_an_operator_that_the_reference_cannot_have_small_is_said_and_ends_nothing() -> None:
    told: list[Any] = []
    run = SimpleNamespace(tell=lambda job, event: told.append(event["text"]), carry_out_beside=None)
    settings = {"model": "conv2d:1x100x100x3:90x90x3x4:1", "precision": "fp32", "device": "cpu"}
    verify(run, "verification-0", settings, {"reference": {}}, anew=True)  # type: ignore[arg-type]
    assert "not verified: model 'conv2d:1x100x100x3:90x90x3x4:1' cannot take 64 x 64 images" in told[0]


def swept(folder: Path, **settings: Any) -> list[OpsRecord]:
    """Return the records of a sweep of two operators that the reference did here."""
    plan = planned("reference", ops=("matmul:24", "matmul:48"), **settings)
    found = []
    for number, job in enumerate(plan.jobs):
        assert isinstance(job, OpsJob)
        (folder / str(number)).mkdir(parents=True)
        found.append(dataclasses.replace(carried_out(job, folder / str(number)), point=dict(plan.points[job.id])))
    return found


def measured_here(flops: float) -> None:
    """Keep what a machine like SYSTEM was measured to do."""
    rate = Rate(MATRIX, "fp32", flops, flops, flops, flops, 5, "FLOP/s", "jax", "jax 0.10", threads=2, size=2048)
    keep(Measured(fingerprint(SYSTEM), "2026-11-30T10:00:00+00:00", 60.0, (rate,)))


def test_operators_by_threads_are_one_sweep_of_cells_tables_and_figures(tmp_path: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path / "cache"))
    measured_here(1e15)
    records = swept(tmp_path / "cells", threads=(1, 2))
    assert [one.point for one in records] == [{"threads": 1}, {"threads": 2}]
    parts = OPS.cells(records)
    assert [tuple(one.point.values()) for one in parts] == [
        ("matmul:24", 1), ("matmul:48", 1), ("matmul:24", 2), ("matmul:48", 2)]
    text = flowing(OPS.report(Answer(records), "table", None))
    assert "GFLOP/s by threads; x: times the first of the row that ran, %: of what so many" in text
    assert "GFLOP/s by operator; of peak: of what this machine's matrix units give" in text
    assert "reference, operator matmul:48" in text and "2 threads" in text
    for one in parts:
        assert one.bounds and one.throughput.value == pytest.approx(1e15 * one.bounds.shares["arithmetic"])
    assert "of what its matrix units give (jax, fp32)" in text
    pytest.importorskip("matplotlib")
    assert figure.draw(parts, tmp_path / "ops.svg") == [tmp_path / "ops-operator.svg", tmp_path / "ops-threads.svg"]


def test_spreadsheets_have_a_row_for_each_operator_at_each_point(tmp_path: Path) -> None:
    records = swept(tmp_path, threads=(1, 2))
    rows = list(csv.DictReader(io.StringIO(OPS.report(Answer(records), "csv", None))))
    assert [(row["model"], row["threads"]) for row in rows] == [
        ("matmul:24", "1"), ("matmul:48", "1"), ("matmul:24", "2"), ("matmul:48", "2")]
    for row, one in zip(rows, (one for record in records for one in record.timed), strict=True):
        rate = one.rate(FORWARD)
        assert rate and float(row["forward_FLOP_per_s"]) == rate.value and float(row["step_s"]) == one.seconds(STEP)
        assert row["step_joules_per_FLOP"] == "", "there is no meter, so no number"


def test_what_operators_by_name_do_not_heed_cannot_be_swept() -> None:
    with pytest.raises(UsageError, match="--batch is that of --from-model; operators have theirs in their names"):
        planned("reference", ops=("matmul:8",), batch=(8, 16))
    assert len(planned("reference", model="resnet18", image_size=32, batch=(8, 16)).jobs) == 2


def metered(name: str, joules: float, seconds: float = 1.0) -> Timed:
    window = Window(steps=10, samples=3000, seconds=(seconds,), started=0.0, joules={"cpu package-0": joules})
    return dataclasses.replace(timed(name, "dense", 1.0), forward=(window,), step=(window, window))


def test_joules_are_told_by_the_call_and_by_the_operation(tmp_path: Path) -> None:
    job = planned("reference", ops=("matmul:8", "matmul:7")).jobs[0]
    assert isinstance(job, OpsJob)
    rapl = Metered("rapl", "window", shortest=0.5, quantities=(Quantity("cpu package-0", "energy", "J"),))
    rank = RankResult(timed=(metered("matmul:8", 30.0), metered("matmul:7", 60.0)), versions={}, settings=Choices(),
                      startup={}, peak_bytes=None, rss_bytes=1, meters=(rapl,))
    about = Started(run=RUN, system=SYSTEM, folder=tmp_path, tell=lambda *_: None)
    record = with_meters(folding.fold(OPS, job, [rank], about), [rank], tmp_path)
    assert [one.energy[STEP][0].per_sample for one in record.timed] == [3.0, 6.0]
    assert not record.energy, "of several operators together there is no joule of a call"
    assert [one.energy for one in record.parts()] == [one.energy[STEP] for one in record.timed]
    lone = dataclasses.replace(rank, timed=rank.timed[:1])
    assert with_meters(folding.fold(OPS, job, [lone], about), [lone], tmp_path).energy[0].per_sample == 3.0
    assert not [one for one in record.warnings if one.kind.startswith("energy")]
    eight, seven = csv.DictReader(io.StringIO(OPS.report(Answer([record]), "csv", None)))
    assert float(eight["step_joules_per_call"]) == 3.0 and float(eight["step_joules_per_FLOP"]) == 3.0 / 300
    assert float(seven["forward_joules_per_FLOP"]) == 6.0 / 100
    told = json.loads(OPS.report(Answer([record]), "json", None))[0]["timed"][0]["energy"]
    assert told[STEP][0]["scope"] == "cpu package-0"
    assert "J/call" in OPS.report(Answer([record]), "table", None)
    assert not [name for name in eight if name.startswith("joules_per_sample")], "a sample is an operation here"
    again = OpsRecord.from_json(record.to_json())
    assert again == record and recomputed(again).timed == record.timed


def test_joules_of_rounds_are_those_of_all(tmp_path: Path) -> None:
    job = planned("reference", ops=("matmul:8",)).jobs[0]
    assert isinstance(job, OpsJob)
    rapl = Metered("rapl", "window", shortest=0.5, quantities=(Quantity("cpu package-0", "energy", "J"),))
    about = Started(run=RUN, system=SYSTEM, folder=tmp_path, tell=lambda *_: None)
    rounds = []
    for joules in (30.0, 60.0, 90.0):
        rank = RankResult(timed=(metered("matmul:8", joules),), versions={}, settings=Choices(), startup={},
                          peak_bytes=None, rss_bytes=1, meters=(rapl,))
        rounds.append(with_meters(folding.fold(OPS, job, [rank], about), [rank], tmp_path))
    (record,) = report.together(rounds)
    assert record.timed[0].energy[STEP][0].per_sample == 6.0


def test_windows_too_short_for_a_meter_have_no_joules_and_the_reason(tmp_path: Path) -> None:
    job = planned("reference", ops=("matmul:8",)).jobs[0]
    assert isinstance(job, OpsJob)
    rapl = Metered("rapl", "window", shortest=0.5, quantities=(Quantity("cpu package-0", "energy", "J"),))
    rank = RankResult(timed=(metered("matmul:8", 30.0, seconds=0.1),), versions={}, settings=Choices(), startup={},
                      peak_bytes=None, rss_bytes=1, meters=(rapl,))
    about = Started(run=RUN, system=SYSTEM, folder=tmp_path, tell=lambda *_: None)
    record = with_meters(folding.fold(OPS, job, [rank], about), [rank], tmp_path)
    assert not record.timed[0].energy and [one.kind for one in record.warnings if "energy" in one.kind] == [
        "energy short"]
