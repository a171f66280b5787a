"""An engine's INT8 beside FP32, layer by layer, on real samples: where noise comes from, and where values are cut."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core.errors import JobError
from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.onnx.export import save

from .exact import Preparation, held, outputs
from .scratch import scratch

if TYPE_CHECKING:
    import onnx

SAMPLES = 8  # all that a network's layers hold for them is kept for a moment
Json = dict[str, Any]


def layers(preparation: Preparation, engine: Engine, file: Path, base: onnx.ModelProto) -> Json:
    """Return the ``rows`` of an engine's INT8 file against the network that it was made of, or the ``reason`` why there
    are none."""
    import onnx

    from dlcompare.inference.precision.histograms import instrument
    from dlcompare.inference.precision.parting import layer_rows, watch, watched

    model = onnx.load(file)
    seen = watched(model)
    judge = next(one for one in plugins().engines().values() if one.exact)
    try:
        with scratch(file.parent / "layers") as folder:
            save(instrument(base, [one.source for one in seen]), folder / "fp32.onnx")
            save(watch(model), folder / file.name)
            fp32, found = (answers(preparation, *how) for how in ((judge, folder / "fp32.onnx", "fp32"),
                                                                  (engine, folder / file.name, "int8")))
    except JobError as error:
        return {"samples": SAMPLES, "rows": [], "reason": str(error)}
    return {"samples": len(next(iter(found.values()))), "rows": layer_rows(seen, fp32, found), "reason": None}


def answers(preparation: Preparation, engine: Engine, file: Path, precision: str) -> Any:
    """Return all that a file returns."""
    job = held(preparation, engine, file, count=SAMPLES, task="audit", precision=precision)
    return outputs(preparation, dataclasses.replace(job, device="cpu") if engine.exact else job,
                   f"{engine.name} {precision} layers")
