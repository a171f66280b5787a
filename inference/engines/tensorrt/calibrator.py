"""TensorRT's own entropy calibrator, up to version 10, fed with our batches: INT8 without Q/DQ in the file.

It finds ranges while the engine is built, on the GPU, from the FP32 file. NVIDIA deprecated it in 10.1 and removed it
in 11; it is here to repeat measurements that were made with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorrt as trt

from dlcompare.core.data.checked import open_dataset
from dlcompare.core.errors import JobError
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins

if TYPE_CHECKING:
    from .cudart import Cuda, Memory, Stream

BATCH = 25  # as in Xu et al. 2018: 50 batches of 25. TensorRT takes whole batches alone


def whole_batches(samples: tuple[int, ...]) -> list[np.ndarray]:
    """Return the samples in batches, without those that fill none. JobError if there is no batch."""
    if len(samples) < BATCH:
        raise JobError(f"TensorRT calibrates on whole batches of {BATCH}, and there are {len(samples)} samples; give "
                       f"--calibration-samples {BATCH} or more")
    return [np.array(samples[at:at + BATCH]) for at in range(0, len(samples) - BATCH + 1, BATCH)]


def batches(job: InferenceJob) -> Iterator[dict[str, np.ndarray]]:
    """Yield the job's calibration samples in whole batches."""
    kind, argument = plugins().dataset(job.data)
    found = open_dataset(kind, argument, job.inputs, seed=job.seed, train=job.calibration_train, loaders=job.loaders,
                         skip=job.skip)
    with contextlib.closing(found.unaugmented()) as data:
        for indices in whole_batches(job.calibration):
            yield data.batch(indices, epoch=0)


class Calibrator(trt.IInt8EntropyCalibrator2):
    """Hands TensorRT one batch after another. What goes wrong is kept: no exception leaves TensorRT's C++."""

    def __init__(self, job: InferenceJob, cuda: Cuda, stream: Stream, types: dict[str, Any]) -> None:
        super().__init__()
        self.cuda, self.stream, self.types = cuda, stream, types
        self.batches = batches(job)
        self.held: dict[str, Memory] = {}
        self.error: Exception | None = None

    def get_batch_size(self) -> int:
        return BATCH

    def get_batch(self, names: list[str]) -> list[int] | None:
        try:
            batch = next(self.batches, None)
            return None if batch is None else [self.copied(name, batch[name]) for name in names]
        except Exception as error:  # raised again by whoever started the build
            self.error = error
            return None

    def copied(self, name: str, value: np.ndarray) -> int:
        array = np.ascontiguousarray(value, self.types[name])
        if name not in self.held:
            self.held[name] = self.cuda.memory(array.nbytes)
        self.stream.copy_in(self.held[name], array)
        self.stream.wait()
        return self.held[name].address

    def read_calibration_cache(self) -> None:
        """There is none: a cache knows neither its network nor its samples, and builds are kept anyway."""

    def write_calibration_cache(self, cache: bytes) -> None:
        """Nothing is written, for the same reason."""
