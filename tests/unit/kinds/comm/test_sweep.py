"""Collectives with several numbers of workers or threads: one plan, cells by size, bandwidth against each setting."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from two_ranks import record

from dlcompare.core.judging.judging import Judging
from dlcompare.core.judging.verdict import compare
from dlcompare.core.kinds.comm import report
from dlcompare.core.kinds.comm.request import Own
from dlcompare.core.kinds.comm.result import Carried, CommRecord, Wrong
from dlcompare.core.kinds.kind import Answer, Request, kind
from dlcompare.core.plugins.collectives import CollectiveJob
from dlcompare.core.reports.sweeps import figure

COMM = kind("comm")


def swept(rounds: int = 1) -> list[CommRecord]:
    """Return a collective by two numbers of workers, each in so many rounds."""
    return [dataclasses.replace(record(curve=0.01 * number), workers=workers, point={"workers": workers},
                                round=number if rounds > 1 else None, rounds=rounds if rounds > 1 else None)
            for workers in (2, 4) for number in range(rounds)]


def test_workers_and_threads_are_axes_and_threads_are_chosen_at_each_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    plan = COMM.plan(Request({"framework": "pytorch-ddp", "device": "cpu", "workers": (4, 2)}, Own()))
    assert [(job.workers, job.threads, dict(plan.points[job.id])) for job in plan.jobs
            if isinstance(job, CollectiveJob)] == [(2, 4, {"workers": 2}), (4, 2, {"workers": 4})]


def test_a_cell_is_one_size_and_its_throughput_the_bandwidth_of_the_bus() -> None:
    found = COMM.cells(swept())
    assert len(found) == 2 * 3 * 2 and all(isinstance(one, Carried) for one in found)
    assert {tuple(one.point) for one in found} == {("way", "bytes", "workers")}, "one collective is no axis"
    first = found[0]
    assert first.throughput.value == pytest.approx(first.sizes[0].figures.bus_bandwidth)
    assert first.throughput.low <= first.throughput.value <= first.throughput.high
    assert first.windows[0].rate == pytest.approx(first.throughput.value, rel=0.15)  # mean of the calls, not median
    wrong = dataclasses.replace(swept()[0], status="failed", reason="rank 1 died", sizes=())
    (cell,) = COMM.cells([wrong])
    assert (cell.status, cell.point, cell.throughput) == ("failed", {"workers": 2}, None)


def test_bandwidth_stands_against_workers_and_size_and_no_share_of_an_ideal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    text = " ".join(report.render(Answer(swept()), "table", None).split())
    assert "bus MB/s by workers; x: times the first of the row that ran workers 2 4" in text
    assert "would give" not in text, "links do not grow with those at their ends"
    assert "bus MB/s by bytes" in text and "1.50x" in text, "2 (n - 1) / n of 4 workers over that of 2"


def test_a_size_that_was_cut_for_some_workers_is_called_as_it_was_asked_for() -> None:
    records = [dataclasses.replace(one, sizes=tuple(dataclasses.replace(size, asked=size.size + one.workers)
                                                    for size in one.sizes)) for one in swept()]
    assert {one.point["bytes"] - one.sizes[0].size for one in COMM.cells(records)} == {2, 4}


def test_points_that_differ_in_threads_alone_are_not_compared() -> None:
    records = [dataclasses.replace(record(), point={"threads": threads}) for threads in (1, 2)]
    found = COMM.compare(records, Judging())
    assert [one.point for one in found] == [{"threads": 1}] * 6 + [{"threads": 2}] * 6


def test_what_limits_a_record_is_said_of_all_its_cells_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    busy = [dataclasses.replace(record(foreign=1.5), point={"workers": workers}, workers=workers) for workers in (2, 4)]
    text = " ".join(report.render(Answer(busy), "table", None).split())
    assert "rows 1-12, first: others used the machine (up to 1.50 cores)" in text
    assert text.count("others used the machine") == 1


def test_a_wrong_result_is_told_with_rank_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    first, second = swept()
    spoilt = dataclasses.replace(first.sizes[0], wrong=Wrong(1, 2, 0, 5.0, 7.0, 3), figures=None)
    bad = dataclasses.replace(first, sizes=(spoilt, *first.sizes[1:]))
    bad = dataclasses.replace(bad, status="failed", reason=bad.refutation())
    text = " ".join(report.render(Answer([bad, second]), "table", None).split())
    assert "all_reduce, workers 2 failed: wrong payload of all_reduce: 1K: rank 1 got 2 wrong values in call 3" in text


def test_verdicts_are_of_one_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    records = swept(rounds=3)
    assert len(compare([part for one in records for part in one.by_size()])) == 2 * 3 * 2
    assert "no ratio joins two points" in " ".join(report.render(Answer(records), "table", Judging()).split())


def test_spreadsheets_and_figures_hold_the_point(tmp_path: Path) -> None:
    rows: list[Any] = list(csv.DictReader(io.StringIO(report.render(Answer(swept()), "csv", None))))
    assert [json.loads(row["point"])["workers"] for row in rows] == [2] * 6 + [4] * 6
    pytest.importorskip("matplotlib")
    drawn = figure.draw(COMM.cells(swept()), tmp_path / "comm.svg")
    assert [one.name for one in drawn] == ["comm-way.svg", "comm-bytes.svg", "comm-workers.svg"]
