"""A preparation whose jobs run here, by onnxruntime without optimisations: real files, real arithmetic."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import int8
import numpy as np
import onnx

from dlcompare.core.graph import Input
from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.inference.cell.files import PREDICTIONS
from dlcompare.inference.precision.samples import Samples
from dlcompare.inference.preparation.weight_bits import Done


@dataclass
class Bench:
    """``images`` are the samples held for judging; ``faults`` change what an engine makes of a file, by its name."""

    folder: Path
    images: np.ndarray
    faults: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    inputs: Mapping[str, Input] = field(default_factory=dict)

    @property
    def samples(self) -> Samples:
        return Samples((), True, (), tuple(range(len(self.images))))

    def blank(self, engine: Engine, **more: Any) -> InferenceJob:
        return InferenceJob(engine.name, "tiny-residual", **more)

    def job(self, job: InferenceJob, file: Path | None) -> InferenceJob:
        return dataclasses.replace(job, file=str(file))

    def do(self, job: InferenceJob, label: str) -> Done:
        self.labels.append(label)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        found: dict[str, Any] = {}
        for name, file in (job.files or {"output": str(job.file)}).items():
            model = self.faults.get(job.engine, lambda same: same)(onnx.load(file))
            one = int8.session(model, level="DISABLE_ALL")
            names = [value.name for value in one.get_outputs()]
            given = {one.get_inputs()[0].name: self.images[:len(job.samples)]}
            found |= {f"{name}/{key}": value for key, value in zip(names, one.run(names, given), strict=True)}
        np.savez(folder / PREDICTIONS, **found)
        return Done(folder, None, None)
