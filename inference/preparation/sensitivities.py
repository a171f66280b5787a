"""What eight bits cost each activation by itself, measured in the network's answers; rounding apart from clipping."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.onnx.export import save
from dlcompare.inference.precision.switches import CLIPPING, ROUNDING, clipped, switched

from .exact import Preparation, decibels, held, outputs, rows, score
from .scratch import scratch

if TYPE_CHECKING:
    from .model_files import Files

SAMPLES = 16
Json = dict[str, Any]


def measure(preparation: Preparation, files: Files, scheme: str, rule: str) -> list[Json]:
    """Return by ``tensor``, worst first, the logits' signal to noise when it alone is quantised (``sqnr_db``), only
    rounded (``rounding_db``) and only clipped (``clipping_db``); None where nothing changes.

    Raises:
        JobError: there are no samples, or the network could not be run.
    """
    ranges = files.ranges(scheme, rule)
    cut = clipped(files.artifact, ranges)
    names = [f"{tensor}/{kind}" for tensor in ranges for kind in (ROUNDING, CLIPPING)
             if kind == ROUNDING or tensor in cut]
    engine = next(one for one in plugins().engines().values() if one.exact)
    with scratch(files.folder / "sensitivity") as folder:
        save(switched(files.base, ranges, cut, scheme=scheme), folder / "switched.onnx")
        job = held(preparation, engine, folder / "switched.onnx", count=SAMPLES, task="sensitivity")
        found = outputs(preparation, dataclasses.replace(job, tensors=tuple(names), device="cpu"),
                        f"sensitivity to INT8 by {rule}")
    answers = [answers_of(found, number, preparation) for number in range(len(names) + 1)]
    noise = {name: score(answers[0], one)["sqnr_db"] for name, one in zip(names, answers[1:], strict=True)}
    made = [tensor_row(tensor, noise[f"{tensor}/{ROUNDING}"], noise.get(f"{tensor}/{CLIPPING}")) for tensor in ranges]
    return sorted(made, key=lambda one: decibels(one["sqnr_db"]))


def answers_of(found: Any, number: int, preparation: Preparation) -> Any:
    """Return the answers with one switch on, counted from 1; 0: none."""
    own = {key.partition("/")[2]: value for key, value in found.items() if key.partition("/")[0] == str(number)}
    return rows(own, preparation.inputs)


def tensor_row(tensor: str, rounding: float | None, clipping: float | None) -> Json:
    """Return a tensor's row; noise of rounding and of clipping adds up, for neither follows the other."""
    noise = sum(10 ** (-ratio / 10) for ratio in (rounding, clipping) if ratio is not None)
    return {"tensor": tensor, "sqnr_db": -10 * math.log10(noise) if noise else None, "rounding_db": rounding,
            "clipping_db": clipping}
