"""What eight bits cost each activation by itself, rounding apart from clipping, and the weights of each layer, measured
in the network's answers."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.onnx.export import save
from dlcompare.inference.onnx.wiring import Wiring
from dlcompare.inference.precision.switches import CLIPPING, ROUNDING, WEIGHTS, clipped, layers, switched

from .exact import Preparation, decibels, held, outputs, rows, score
from .scratch import scratch

if TYPE_CHECKING:
    from .model_files import Files

SAMPLES = 16
Json = dict[str, Any]


def measure(preparation: Preparation, files: Files, scheme: str, rule: str, *, bits: int) -> list[Json]:
    """Return rows, worst first, each with the logits' signal to noise ``sqnr_db``, None where nothing changes.

    Of an activation ``tensor``, when it alone is quantised, also when it is only rounded (``rounding_db``) and only
    clipped (``clipping_db``); of the ``weights`` of a layer, by what it makes, when they alone are, with the ``tensor``
    that it reads.

    Raises:
        JobError: there are no samples, or the network could not be run.
    """
    ranges, reads = files.ranges(scheme, rule), layers(Wiring.of(files.base), scheme)
    cut = clipped(files.artifact, ranges)
    names = [f"{tensor}/{kind}" for tensor in ranges for kind in (ROUNDING, CLIPPING)
             if kind == ROUNDING or tensor in cut] + [f"{layer}/{WEIGHTS}" for layer in reads]
    engine = next(one for one in plugins().engines().values() if one.exact)
    with scratch(files.folder / "sensitivity") as folder:
        save(switched(files.base, ranges, cut, scheme=scheme, bits=bits), folder / "switched.onnx")
        job = held(preparation, engine, folder / "switched.onnx", count=SAMPLES, task="sensitivity")
        found = outputs(preparation, dataclasses.replace(job, tensors=tuple(names), device="cpu"),
                        f"sensitivity to INT8 by {rule}")
    answers = [answers_of(found, number, preparation) for number in range(len(names) + 1)]
    noise = {name: score(answers[0], one)["sqnr_db"] for name, one in zip(names, answers[1:], strict=True)}
    made = [tensor_row(tensor, noise[f"{tensor}/{ROUNDING}"], noise.get(f"{tensor}/{CLIPPING}")) for tensor in ranges]
    made += [{"tensor": tensor, "weights": layer, "sqnr_db": noise[f"{layer}/{WEIGHTS}"]}
             for layer, tensor in reads.items()]
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
