"""The inside of TensorRT: one run path for 8.5 to 11, set_tensor_address and execute_async_v3."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorrt as trt

from dlcompare.core.errors import JobError
from dlcompare.core.machine.accelerators import cuda_uuids
from dlcompare.core.plugins.engine import Ran, Session
from dlcompare.core.plugins.inference_job import InferenceJob

from . import inspector
from .building import ABOUT, LOG, PLAN, build, cuda, identity
from .cudart import Memory
from .limits import batch_trouble, fours
from .versions import api_of, foreign

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays

__all__ = ["TensorRTSession", "build", "identity"]


@dataclass(frozen=True)
class Placed:
    """A batch on the GPU: how many samples were meant, and each input's shape and memory."""

    samples: int
    inputs: dict[str, tuple[tuple[int, ...], Memory]]


class TensorRTSession(Session):
    """One engine, one context, one stream. Runs are queued on the stream and waited for by it."""

    def __init__(self, job: InferenceJob, folder: Path) -> None:
        self.job, self.cuda = job, cuda()
        self.about = json.loads((folder / ABOUT).read_text())
        if reason := foreign(self.about, identity(job)):
            raise JobError(f"{folder / PLAN} {reason}")
        if reason := batch_trouble(job, self.cuda.capability(), self.cuda.gpu()):
            raise JobError(reason)  # the plan may have been built for another batch
        self.free_before = self.cuda.free_bytes()
        self.stream = self.cuda.stream()
        self.runtime = trt.Runtime(LOG)
        self.engine: Any = self.runtime.deserialize_cuda_engine((folder / PLAN).read_bytes())
        if self.engine is None:
            raise JobError(f"TensorRT {trt.__version__} cannot load {folder / PLAN}: {LOG.last()}; remove the folder, "
                           "and it is built anew")
        self.context: Any = self.engine.create_execution_context()
        tensors = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        self.types = {name: np.dtype(trt.nptype(self.engine.get_tensor_dtype(name))) for name in tensors}
        reads = {name: self.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in tensors}
        self.inputs, self.outputs = ([n for n in tensors if reads[n] == wanted] for wanted in (True, False))
        self.granule = 4 if fours(job, self.cuda.capability()) else 1
        self.placed: Placed | None = None
        self.results = self.made_room()

    def made_room(self) -> dict[str, Memory]:
        """Return memory for the outputs of the largest batch."""
        for name in self.inputs:
            self.context.set_input_shape(name, self.engine.get_tensor_profile_shape(name, 0)[2])
        found = {}
        for name in self.outputs:
            count = math.prod(tuple(self.context.get_tensor_shape(name)))
            found[name] = self.cuda.memory(count * self.types[name].itemsize)
            self.context.set_tensor_address(name, found[name].address)
        return found

    def place(self, batch: Arrays) -> Placed:
        samples = len(batch[self.inputs[0]])
        if samples > (largest := self.about["largest_batch"]):
            raise JobError(f"the engine was built for batches of 1 to {largest}, not of {samples}")
        inputs = {}
        for name in self.inputs:
            array = np.ascontiguousarray(batch[name], self.types[name])
            if more := -samples % self.granule:
                array = np.concatenate([array, np.zeros((more, *array.shape[1:]), array.dtype)])
            inputs[name] = (array.shape, self.cuda.memory(array.nbytes))
            self.stream.copy_in(inputs[name][1], array)
            self.stream.wait()  # before the array goes away
        return Placed(samples, inputs)

    def run(self, placed: Placed) -> None:
        if placed is not self.placed:
            for name, (shape, memory) in placed.inputs.items():
                if not (self.context.set_input_shape(name, shape)
                        and self.context.set_tensor_address(name, memory.address)):
                    raise JobError(f"TensorRT does not take {name} in the shape {shape}: {LOG.last()}")
            self.placed = placed
        if not self.context.execute_async_v3(self.stream.handle):
            raise JobError(f"TensorRT could not start a run: {LOG.last()}")

    def wait(self) -> None:
        self.stream.wait()

    def fetch(self) -> Arrays:
        found = {}
        for name in self.outputs:
            array = np.empty(tuple(self.context.get_tensor_shape(name)), self.types[name])
            self.stream.copy_out(array, self.results[name])
            self.stream.wait()
            found[name] = array[:self.placed.samples if self.placed else 0].astype(np.float32, copy=False)
        return found

    def ran(self) -> Ran:
        """Ask the engine's inspector, with the shapes of the last run where it wants to know them."""
        asked = self.engine.create_engine_inspector()
        asked.execution_context = self.context
        return inspector.executed(asked.get_engine_information(trt.LayerInformationFormat.JSON), self.about["layers"],
                             self.job.precision)

    def settings(self) -> dict[str, Any]:
        kept = ("strongly_typed", "precision_flags", "largest_batch", "calibrator", "workspace_bytes")
        return {**{name: self.about[name] for name in kept}, "threads": self.job.threads, "tf32": False,
                "timing_cache": None, "streams": 1,
                "device_memory_bytes": getattr(self.engine, api_of(trt).device_memory),
                "cuda_graph": False, "batches_in": self.granule,
                "optimised_for_batch": self.about["largest_batch"], "api": asdict(api_of(trt))}

    def versions(self) -> dict[str, str]:
        return {"python": platform.python_version(), "tensorrt": trt.__version__, "numpy": np.__version__,
                "gpu": self.about["gpu"], "capability": self.about["capability"], **self.cuda.versions()}

    def peak_bytes(self) -> int:
        """Return what of the GPU's memory has gone since before the engine was loaded; it never shrinks meanwhile."""
        return max(0, self.free_before - self.cuda.free_bytes())

    def device_ids(self) -> tuple[str, ...] | None:
        return cuda_uuids([0])  # the current device, which nothing here changes

    def close(self) -> None:
        self.context = self.engine = self.runtime = self.placed = None
        self.results = {}
        self.stream.close()
        self.cuda.release()
