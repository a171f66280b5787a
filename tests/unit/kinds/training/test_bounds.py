"""A training record carries its bounds: shown beside the number, computed anew on reading, refuting what cannot be."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from fabricated import CERTIFICATE, SYSTEM, VERSIONS, finished, job, ranks

from dlcompare.core.kinds.kind import Answer, kind
from dlcompare.core.kinds.training import folding
from dlcompare.core.kinds.training.result import TrainingRecord
from dlcompare.core.machine import collectives
from dlcompare.core.machine.collectives import Line
from dlcompare.core.machine.measured import MATRIX, MEMORY, Measured, Rate, fingerprint, keep, spoken
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.bounds import ARITHMETIC, EXCHANGE, INPUT, Bounds
from dlcompare.core.records.circumstances import Circumstances
from dlcompare.core.records.recompute import recomputed
from dlcompare.core.reports.words import sentences

JOB = job()
GRAPH = plugins().model("resnet50").graph(64, None)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path))


def measure(flops: float = 200e9) -> None:
    """Keep what a machine like SYSTEM was measured to do."""
    rates = (Rate(MATRIX, "fp32", flops, 0.9 * flops, 1.1 * flops, flops, 5, "FLOP/s", "pytorch-ddp",
                  spoken(VERSIONS["pytorch-ddp"]), threads=2, size=2048),
             Rate(MEMORY, "triad", 20e9, 19e9, 21e9, 21e9, 5, "B/s", "triad in C", threads=2))
    keep(Measured(fingerprint(SYSTEM), "2026-11-30T10:00:00+00:00", 60.0, rates))


def record(feed: float | None = 400.0, **given: object) -> TrainingRecord:
    results = ranks(JOB, feed_rate=feed)
    known = folding.look_up(JOB, results, Circumstances(system=SYSTEM))
    return finished(JOB, results, bounds=known.bounds, multiply_adds=known.multiply_adds, verified=CERTIFICATE, **given)


def test_a_record_carries_its_share_of_what_the_machine_was_measured_to_do() -> None:
    measure()
    made = record()
    assert made.status == "ok" and made.bounds and made.throughput and made.flops_per_second
    assert made.bounds.shares[ARITHMETIC] == pytest.approx(made.flops_per_second / 200e9)
    assert made.bounds.limits[INPUT] == 800.0  # of two processes, the slower of which both wait for
    assert made.bounds.shares[INPUT] == pytest.approx(made.throughput.value / 800.0)
    again = TrainingRecord.from_json(made.to_json())
    assert again == made and recomputed(again) == made


def test_a_share_that_was_written_otherwise_is_computed_anew_and_told() -> None:
    measure()
    made = record()
    assert made.bounds
    flattered = dataclasses.replace(made, bounds=dataclasses.replace(made.bounds, shares={ARITHMETIC: 0.99}))
    read = recomputed(flattered)
    assert read.bounds == made.bounds and any("bounds.shares.arithmetic" in one for one in sentences(read.warnings))


def test_a_result_above_what_the_machine_can_do_is_invalid() -> None:
    measure(flops=1e9)
    made = record()
    assert made.status == "failed" and made.reason and "this machine's matrix units" in made.reason
    forged = dataclasses.replace(made, status="ok", reason=None, throughput=finished(JOB).throughput)
    assert recomputed(forged).status == "failed"


def test_a_result_above_what_its_input_was_measured_to_bring_is_doubted() -> None:
    measure()
    made = record(feed=1.0)
    assert made.status == "ok" and any("the input pipeline was measured to allow" in one
                                       for one in sentences(made.warnings))


@pytest.mark.parametrize("width", [80, 120])
def test_the_share_stands_beside_the_number(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    measure()
    monkeypatch.setenv("COLUMNS", str(width))
    made = record()
    assert made.bounds
    text = kind("training").report(Answer([made]), "table", None)
    share = f"{100 * made.bounds.shares[ARITHMETIC]:.2g} %"
    assert "of peak" in text and text.count(share) == 2
    flowing = " ".join(text.split())
    assert f"1 pytorch-ddp: {share} of what its matrix units give (pytorch-ddp, fp32)" in flowing
    assert "the input pipeline would allow" in flowing and max(map(len, text.splitlines())) <= width


def test_the_exchange_is_bounded_by_the_frameworks_own_all_reduce_where_that_was_measured(
        monkeypatch: pytest.MonkeyPatch) -> None:
    measure()
    line = Line("pytorch-ddp", spoken(VERSIONS["pytorch-ddp"]), "cpu", "all_reduce", 2, JOB.threads, 1e-3, 1e-9,
                (1 << 24,), (1 << 24,), "run", "2026-11-29T10:00:00+00:00")
    others = [dataclasses.replace(line, **other, alpha=9.0) for other in (
        {"workers": 4}, {"version": "torch 1"}, {"collective": "broadcast"}, {"framework": "jax"}, {"device": "cuda"},
        {"threads": JOB.threads + 1})]
    collectives.keep(SYSTEM, others)
    assert JOB.workers == 2 and record().bounds.line is None  # type: ignore[union-attr]
    collectives.keep(SYSTEM, [line])
    made = record()
    assert made.bounds and made.bounds.line == line and made.bounds.exchange is None
    seconds = 1e-3 + 4 * made.parameters * 1e-9 if made.parameters else 0.0
    assert made.bounds.limits[EXCHANGE] == pytest.approx(2 * JOB.batch / seconds)
    assert TrainingRecord.from_json(made.to_json()) == made
    monkeypatch.setenv("COLUMNS", "120")
    text = " ".join(kind("training").report(Answer([made]), "table", None).split())
    assert "handing gradients over (by its own all-reduce, measured 2026-11-29) would allow" in text


def test_without_a_measured_machine_it_is_said_how_to_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = kind("training").report(Answer([record(feed=None)]), "table", None)
    assert "dlcompare machine measures it, once" in text and "of peak" not in text


def test_a_record_of_before_has_no_bounds_and_is_read() -> None:
    data = finished(JOB).to_dict()
    del data["bounds"]
    read = recomputed(TrainingRecord.from_dict(data))
    assert read.bounds is None and read.status == "ok"
    assert kind("training").report(Answer([read]), "table", None)


def test_bounds_have_their_place_in_the_schema() -> None:
    from dlcompare.core.typed_json import json_schema

    assert set(json_schema(Bounds)["properties"]) >= {"limits", "shares", "ceiling", "intensity"}
