"""The figure tells precisions apart and bridges nothing that was not measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from test_report import cell, window

from dlcompare.inference.results.figure import draw
from dlcompare.inference.results.summary import Results, pixels

BATCHES = (1, 8, 32, 128)


def results(left_out: int | None = None, **network: Any) -> Results:
    """Return a run of two precisions; the second has no such batch."""
    cells = [cell(precision, [window(100 + batch)]) | {"batch": batch} for precision in ("fp32", "int8")
             for batch in BATCHES if (precision, batch) != ("int8", left_out)]
    plan = {"engines": ["onnxruntime"], "precisions": ["fp32", "int8"], "batches": list(BATCHES), "threads": 2,
            "device": "cpu"}
    return Results(run="r", started="2026-01-01T00:00:00+00:00", data="digits", plan=plan, system={}, cells=cells,
                   network={"name": "net", "image_size": 192, **network})


def lines(found: Results, folder: Path) -> dict[str, list[str]]:
    """Return by colour the drawn data lines."""
    draw(found, folder / "figure.svg")
    drawn = re.findall(r'<path d="([^"]*)" clip-path="[^"]*" style="fill: none; stroke: (#\w+); stroke-width: 1.5',
                       (folder / "figure.svg").read_text())
    by_colour: dict[str, list[str]] = {}
    for path, colour in drawn:
        by_colour.setdefault(colour, []).append(path)
    return by_colour


@pytest.mark.parametrize(("left_out", "strokes"), [(None, 1), (8, 2)])
def test_each_precision_has_its_colour_and_a_batch_that_is_not_there_is_a_gap(tmp_path: Path, left_out: int | None,
                                                                              strokes: int) -> None:
    fp32, int8 = lines(results(left_out), tmp_path).values()
    assert (fp32[-1].count("M"), int8[-1].count("M")) == (1, strokes)


def test_an_image_that_is_no_square_is_not_called_one(tmp_path: Path) -> None:
    assert pixels({"image_size": 192, "pixels": [48, 192]}) == " at 48 x 192"
    assert pixels({"image_size": 192}) == " at 192 x 192" and not pixels({"image_size": None, "pixels": None})
    draw(results(pixels=[48, 192]), tmp_path / "figure.svg")
    assert "net at 48 x 192" in (tmp_path / "figure.svg").read_text()


def test_the_name_of_a_network_is_no_formula(tmp_path: Path) -> None:
    draw(results(name="a$\\frac{$b<script>"), tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text()
    assert "<script>" not in text and "frac" in text
