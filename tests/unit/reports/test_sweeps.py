"""A sweep shown: every cell once, what each axis makes of it, and figures that hold what was measured."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fabricated import RUN, SETTINGS, failed, finished, in_rounds, job, ranks, refused

from dlcompare.core.errors import UsageError
from dlcompare.core.judging.judging import AS_USUAL
from dlcompare.core.kinds.kind import Answer, kind
from dlcompare.core.machine.measured import Rate
from dlcompare.core.records.bounds import ARITHMETIC, Bounds
from dlcompare.core.records.energy import Spent
from dlcompare.core.records.record import Record
from dlcompare.core.reports.sweeps import cells, drawing, figure
from dlcompare.core.run.stored import parse

NO_MEMORY = "memory ran out (MemoryError: Unable to allocate 9 GiB)"
TRIED = tuple({"batch": batch, "fits": batch < 32, "seconds": 3.0, "reason": None} for batch in (8, 16, 32, 24))


def at(point: dict[str, Any], framework: str, factor: float, *, rounds: int = 1) -> Iterator[Record]:
    """Yield the records of a side at a point: so much slower than usual, in each round a little otherwise."""
    asked = job(framework, **point)
    factors = [factor * (1 + 0.002 * number) for number in range(rounds)]
    made = in_rounds(asked, factors) if rounds > 1 else [finished(asked, ranks(asked, [2 * factor] * 5, slower=0.0))]
    yield from (dataclasses.replace(one, point=point) for one in made)


def swept(rounds: int = 1) -> list[Record]:
    """Return a sweep over batch and threads of two frameworks, of which one is out of memory at the largest batch."""
    found = [record for threads in (1, 2) for batch in (8, 16) for name, factor in (("pytorch-ddp", 1.0), ("jax", 1.5))
             for record in at({"threads": threads, "batch": batch}, name, factor / threads ** 0.9, rounds=rounds)]
    for threads in (1, 2):
        point = {"threads": threads, "batch": 32}
        found += at(point, "pytorch-ddp", 1.0 / threads ** 0.9, rounds=rounds)
        lost = job("jax", **point)
        made = failed(lost, NO_MEMORY) if threads == 1 else refused(lost, "not tried: with batch 16 memory ran out")
        found.append(dataclasses.replace(made, point=point, run=RUN, round=0 if rounds > 1 else None))
    return found


def shown(records: list[Record], monkeypatch: pytest.MonkeyPatch, width: int, *, judged: bool = False) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    return kind("training").report(Answer(records), "table", AS_USUAL if judged else None)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("rounds", [1, 3])
def test_every_cell_has_a_row_and_every_axis_a_table(monkeypatch: pytest.MonkeyPatch, width: int, rounds: int) -> None:
    text = shown(swept(rounds), monkeypatch, width, judged=rounds > 1)
    rows = re.findall(r"^ ?(\d+) .*(?:pytorch-ddp|jax) .*(?:ok|failed|refused)", text.partition("samples/s:")[0],
                      re.MULTILINE)
    assert [int(number) for number in rows] == list(range(1, 13))
    assert "samples/s by threads; x: times the first of the row that ran, %: of" in " ".join(text.split())
    assert "samples/s by batch; x: times the first of the row that ran" in " ".join(text.split())
    assert re.search(r"^jax, batch 16 .*\n +1\.87x, 93 %$", text, re.MULTILINE), "2 ** 0.9 of 2"
    assert re.search(r"^jax, threads 2 .* refused$", text, re.MULTILINE)
    assert ("0.667" in text) if rounds == 1 else ("0.6667" in text and text.count("slower") >= 4)
    assert max(map(len, text.splitlines())) <= width or "log:" in max(text.splitlines(), key=len)


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_share_of_this_machines_peak_stands_beside_each_number(monkeypatch: pytest.MonkeyPatch,
                                                                   rounds: int) -> None:
    assert "of peak" not in shown(swept(rounds), monkeypatch, 120, judged=rounds > 1)
    peak = Rate("matrix", "fp32", 1e12, None, None, 1e12, 5, "FLOP/s", "jax", "")
    records: list[Any] = swept(rounds)
    known = [dataclasses.replace(one, bounds=Bounds(measured="2026-11-30", peak=peak, limits={ARITHMETIC: 1000.0})
                                 .beside(one.throughput.value)) if one.throughput else one for one in records]
    text = shown(known, monkeypatch, 120, judged=rounds > 1)
    of = re.findall(r"\d % of peak", text)
    assert len(of) == 2 * len([cell for cell in cells.cells(known) if cell.side.throughput]), "in each axis' table"
    one = cells.cells(known)[0]
    assert one.side.throughput and f"{100 * one.side.throughput / 1000.0:.2g} % of peak" in text
    assert "1 pytorch-ddp: " in text and "of what its matrix units give (jax, fp32)" in text


def test_ratios_join_no_two_points(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(swept(3), monkeypatch, 120, judged=True)
    assert len(re.findall(r"\bbaseline\b", text.partition("samples/s:")[0])) == 6, "one of each point"
    assert "no ratio joins two points" in text


def test_warnings_are_said_once_with_the_rows_they_are_of(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(shown(swept(), monkeypatch, 80).split())
    assert text.count("memory ran out (MemoryError") == 1 and text.count("short measurement") <= 1
    assert "Fairness of rows 1-2" in text and "That is at threads 1, batch 8." in text


def test_what_is_unlike_at_one_point_alone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    records = swept()
    odd = next(one for one in records if one.point == {"threads": 2, "batch": 16} and one.framework == "jax")
    changed = dataclasses.replace(odd, first_batch_sha256="0" * 64)  # type: ignore[call-arg]
    text = " ".join(shown([changed if one is odd else one for one in records], monkeypatch, 100).split())
    assert "(threads 2, batch 16): NOT the same: first batch (2 different sha256)" in text


def test_largest_batches_are_told_with_how_they_were_found(monkeypatch: pytest.MonkeyPatch) -> None:
    records = []
    for name, batch in (("pytorch-ddp", 16), ("jax", 24)):
        asked = job(name, batch=batch)
        one = finished(asked)
        for point in ({"batch": "max", "threads": 1}, {"batch": "max", "threads": 2}):
            records.append(dataclasses.replace(one, point=point, job={**one.job, "tried": list(TRIED)}))
    text = " ".join(shown(records, monkeypatch, 120).split())
    assert "1 pytorch-ddp: 16 is the largest batch that fits of 4 that were tried (24 did not), 12 s" in text or (
        "16 is the largest batch that fits of 4 that were tried (32 did not), 12 s" in text)
    alone = [dataclasses.replace(one, point={}) for one in records if one.point["threads"] == 1]
    plain = " ".join(shown(alone, monkeypatch, 120).split())
    assert "2 jax: 24 is the largest batch that fits" in plain and "a ratio of them is no verdict" in plain
    assert "max (16)" in text and "max (24)" in text and "unlike batch" in text


def test_energy_is_shown_along_every_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = {batch: (Spent("gpu 0", batch / 2, 1.0, 20.0, "counter", 150.0, 5),) for batch in (8, 16, 32)}
    records = [dataclasses.replace(one, energy=spent[one.batch_per_worker]) if one.status == "ok" else one
               for one in swept()]
    text = shown(records, monkeypatch, 100)
    assert "J/sample and W by batch: gpu 0" in text and re.search(r"pytorch-ddp, threads 1 +4\.000 +8\.000", text)
    panels = [panel.title for panel in figure.panels_of(cells.cells(records), "batch")]
    assert panels == ["samples/s", "J/sample, gpu 0", "W, gpu 0"]


def test_programs_get_all(monkeypatch: pytest.MonkeyPatch) -> None:
    records = swept()
    whole = kind("training").report(Answer(records), "json", None)
    assert [one.point for one in parse(whole)] == [one.point for one in records]
    rows = list(csv.DictReader(io.StringIO(kind("training").report(Answer(records), "csv", None))))
    assert [json.loads(row["point"]) for row in rows] == [one.point for one in records]
    assert {(row["threads"], row["batch_per_worker"]) for row in rows} == {
        (str(threads), str(batch)) for threads in (1, 2) for batch in (8, 16, 32)}
    judged = list(csv.DictReader(io.StringIO(kind("training").report(Answer(swept(3)), "csv", AS_USUAL))))
    assert len({row["point"] for row in judged}) == 6
    compared = json.loads(kind("training").report(Answer(swept(3)), "json", AS_USUAL))["comparisons"]
    assert [one["point"]["batch"] for one in compared][:2] == [8, 16]


def test_a_figure_for_each_axis_is_named_after_it(tmp_path: Path) -> None:
    made = figure.draw(swept(), tmp_path / "sweep.svg")
    assert [file.name for file in made] == ["sweep-threads.svg", "sweep-batch.svg"]
    one = [record for record in swept() if record.point["threads"] == 1]
    lone = [dataclasses.replace(record, point={"batch": record.point["batch"]}) for record in one]
    assert [file.name for file in figure.draw(lone, tmp_path / "lone.png")] == ["lone.png"]
    assert (tmp_path / "lone.png").read_bytes().startswith(b"\x89PNG")


def points(canvas: Any) -> dict[str, list[tuple[float, float]]]:
    """Return by colour the marked points of a figure's first panel."""
    found: dict[str, list[tuple[float, float]]] = {}
    for container in canvas.axes[0].containers:
        line = container.lines[0]
        found.setdefault(line.get_color(), []).extend(zip(*map(list, line.get_data()), strict=True))
    return found


def test_a_figure_holds_what_was_measured() -> None:
    found = cells.cells(swept())
    canvas = figure.figure(found, "batch")
    drawn = points(canvas)
    assert drawn.keys() == {drawing.colour("pytorch-ddp"), drawing.colour("jax")}
    rates = sorted(cell.side.throughput for cell in found if cell.side.name == "jax" and cell.side.throughput)
    assert sorted(y for _, y in drawn[drawing.colour("jax")]) == pytest.approx(rates)
    assert canvas.axes[0].get_ylim()[0] == 0 and canvas.axes[0].get_xscale() == "log"
    crosses = [line for line in canvas.axes[0].lines if line.get_marker() == "x"]
    assert len(crosses) == 2 and "crosses: no memory" in canvas._supxlabel.get_text()
    assert "bars: 95 %" in canvas._supxlabel.get_text()
    threads = figure.figure(found, "threads")
    assert len(threads.axes) == 2 and any(text.get_text() == "ideal" for text in threads.axes[1].texts)


def test_words_are_dots_that_no_line_joins() -> None:
    records = [record for precision, factor in (("fp32", 1.0), ("bf16", 0.5))
               for record in at({"precision": precision}, "pytorch-ddp", factor)]
    canvas = figure.figure(cells.cells(records), "precision")
    assert all(container.lines[0].get_linestyle() == "None" for axes in canvas.axes for container in axes.containers)
    assert [text.get_text() for text in canvas.axes[0].get_xticklabels()] == ["fp32", "bf16"]
    relative = canvas.axes[1].containers[0].lines[0].get_ydata()
    assert list(relative) == pytest.approx([1.0, 2.0])


def test_a_speed_up_has_the_interval_of_its_rounds() -> None:
    (line, *_) = cells.lines(cells.cells(swept(3)), "threads")
    low, high = line.interval_over_first(2)
    assert low is not None and high is not None and low <= (line.over_first(2) or 0) * (1 + 1e-9) <= high * (1 + 2e-9)
    assert line.interval_over_first(1) == (None, None), "it is what others are related to"
    (once, *_) = cells.lines(cells.cells(swept()), "threads")
    assert once.interval_over_first(2) == (None, None) and once.over_first(2) == pytest.approx(2 ** 0.9)


def test_frameworks_have_colours_of_their_own_that_do_not_change() -> None:
    shades = {name: drawing.colour(name) for name in (*SETTINGS, "jax", "jax-local", "mxnet", "mxnet-horovod",
                                                      "pytorch-dp", "reference")}
    assert len(set(shades.values())) == len(shades)


@pytest.mark.parametrize("places", [[0.5, 0.5, 0.5], [0.0, 0.01, 0.99, 1.0], [1.0, 1.0, 0.98], [0.2, 0.8]])
def test_labels_are_moved_apart(places: list[float]) -> None:
    moved = drawing.spread(places)
    order = sorted(moved)
    assert all(two - one >= drawing.GAP - 1e-9 for one, two in itertools.pairwise(order))
    assert max(moved) <= 1.0 and sorted(places) == [p for _, p in sorted(zip(moved, places, strict=True))]


def test_records_of_several_runs_and_of_none_that_swept_stand_together(monkeypatch: pytest.MonkeyPatch) -> None:
    other = [dataclasses.replace(one, run="20251122-080000-ffff") for one in swept() if one.point["threads"] == 1]
    records = [finished(job("pytorch-ddp")), *swept(), *other]
    text = shown(records, monkeypatch, 100)
    assert text.partition("samples/s:")[0].count("20251122-080000-ffff") == 6
    assert "pytorch-ddp, run 20251122-080000-ffff, threads 1" in text
    assert {line.name for line in cells.lines(cells.cells(records), "batch")} == {"pytorch-ddp", "jax"}
    assert len(figure.figure(cells.cells(records), "threads").axes) == 2


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing was swept; give a setting several values, as in --batch 8,16,32"):
        figure.draw([finished(job())], tmp_path / "a.png")
    none = [dataclasses.replace(refused(job(batch=batch), "no"), point={"batch": batch}) for batch in (8, 16)]
    with pytest.raises(UsageError, match="no cell of the sweep has a number"):
        figure.draw(none, tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"draws .png or .svg files, not 'a.pdf'"):
        drawing.check(tmp_path / "a.pdf")
    with pytest.raises(UsageError, match="there is no folder"):
        drawing.check(tmp_path / "none" / "a.png")
    with pytest.raises(UsageError, match="cannot write"):
        (tmp_path / "b.png").mkdir()
        drawing.save(figure.figure(cells.cells(swept()), "batch"), tmp_path / "b.png")
