"""Published measurements of training, found by model, batch and accelerator; shown beside ours, of another machine."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass

from .tables import here, precision, table

END_TO_END = "wang2020_table8_end_to_end"
MODELS = "wang2020_table5_models"
THROUGHPUT = "throughput"


@dataclass(frozen=True)
class Figure:
    """One published measurement. ``accelerator`` and ``model`` are as we name them, ``printed`` as the source does.

    ``value`` is None where the source has a word, ``said``, instead of a number: OOM, or a dash for what did not run.
    ``image_size`` is the side of the square images in pixels, None for a model that reads none.
    """

    metric: str
    unit: str
    printed: str
    accelerator: str
    model: str
    batch: int
    precision: str
    image_size: int | None
    value: float | None
    said: str
    cited: str


@functools.cache
def figures() -> tuple[Figure, ...]:
    """Return all published end-to-end measurements."""
    found = table(END_TO_END)
    sizes = image_sizes()
    return tuple(Figure(row["metric"], row["unit"], row["accelerator"], here("accelerator", row["accelerator"]),
                        here("model", row["model"]), int(row["batch_size"]), precision(row["accelerator"]),
                        sizes.get(row["model"]), number(row["value"]), row["value"], found.cited)
                 for row in found.rows)


def image_sizes() -> dict[str, int]:
    """Return by published model the side of the images that it was measured with."""
    return {row["model"]: int(row["input"].partition("x")[0]) for row in table(MODELS).rows
            if row["input"].partition("x")[0].isdigit()}


def number(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        return float(text)
    return None


def throughputs(accelerator: str, model: str) -> dict[int, float]:
    """Return published throughputs of an accelerator in samples per second by batch size; empty if there are none."""
    return {one.batch: one.value for one in figures() if one.value is not None and one.metric == THROUGHPUT
            and (one.accelerator, one.model) == (accelerator, model)}


def like(model: str, *, batch: int, image_size: int | None, arithmetic: str) -> list[Figure]:
    """Return the published throughputs of one device training the same network on as many and as large samples.

    Those in the same precision, if there are any; else of all. A model of ours whose images were larger or smaller
    there has none.
    """
    found = [one for one in figures() if one.metric == THROUGHPUT and one.value is not None
             and (one.model, one.batch, one.image_size) == (model, batch, image_size)]
    return [one for one in found if one.precision == arithmetic] or found


def in_words(found: Sequence[Figure]) -> str:
    """Return published throughputs as one sentence, largest first; "" for none."""
    ranked = sorted(found, key=lambda one: -(one.value or 0.0))
    told = ", ".join(f"{one.printed} {one.value:.2f} ({one.precision})" for one in ranked)
    return f"{told} samples/s ({ranked[0].cited})" if ranked else ""
