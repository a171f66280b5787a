"""The inside of OpenVINO: an exported blob is the build, and the executed graph says what really runs."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from dlcompare.core.errors import JobError
from dlcompare.core.plugins.engine import Ran, Session
from dlcompare.core.plugins.inference_job import InferenceJob

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays

BLOB = "model.blob"
LAYERS = ("Convolution", "Deconvolution", "FullyConnected")  # its MatMul multiplies activations with one another
# "f32" must be said: on CPUs with bf16 arithmetic OpenVINO computes an FP32 file in bf16 where nobody does. What is
# not quantised of an INT8 file is then FP32 as well.
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "u8": "int8", "i8": "int8"}


def settings(job: InferenceJob) -> dict[str, Any]:
    """Return OpenVINO's own settings of a job."""
    return {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": job.threads,
            "INFERENCE_PRECISION_HINT": HINTS[job.precision]}


def identity() -> dict[str, str]:
    return {"openvino": openvino.get_version(), "cpu": str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")),
            "can": ",".join(sorted(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")))}


def build(job: InferenceJob, folder: Path) -> None:
    """Compile the file and write the blob; JobError naming what OpenVINO does not take."""
    file = Path(str(job.file))
    try:
        compiled = openvino.Core().compile_model(openvino.Core().read_model(file), "CPU", settings(job))
    except Exception as error:  # its exceptions are plain RuntimeErrors
        raise JobError(f"OpenVINO {openvino.__version__} does not take {file.name}: "
                       f"{' '.join(str(error).split())[:1000]}") from error
    (folder / BLOB).write_bytes(compiled.export_model().getvalue())


class OpenVinoSession(Session):
    """One compiled model and one request; a run is started and waited for apart."""

    def __init__(self, job: InferenceJob, folder: Path) -> None:
        self.job = job
        blob = (folder / BLOB).read_bytes()
        try:
            self.model: Any = openvino.Core().import_model(blob, "CPU", settings(job))
        except Exception as error:
            raise JobError(f"OpenVINO {openvino.__version__} cannot load {folder / BLOB}: "
                           f"{' '.join(str(error).split())[:500]}; remove it, and it is built anew") from error
        self.inputs = [value.get_any_name() for value in self.model.inputs]
        self.outputs = [next((name for name in job.outputs if name in value.get_names()), value.get_any_name())
                        for value in self.model.outputs]
        self.request: Any = self.model.create_infer_request()

    def place(self, batch: Arrays) -> dict[str, Any]:
        """Return the inputs the network reads, as OpenVINO's tensors over the same memory."""
        return {name: openvino.Tensor(np.asarray(batch[name], order="C")) for name in self.inputs}

    def run(self, placed: dict[str, Any]) -> None:
        for name, tensor in placed.items():
            self.request.set_tensor(name, tensor)
        self.request.infer()

    def fetch(self) -> Arrays:
        return {name: np.array(self.request.get_tensor(name).data, np.float32) for name in self.outputs}

    def ran(self) -> Ran:
        """Read off the executed graph in which precision each layer ran.

        A layer that makes an output of the network bears the output's name there; the file's is not kept.
        """
        found: dict[str, str] = {}
        for op in self.model.get_runtime_model().get_ordered_ops():
            info = {key: str(getattr(value, "value", value)) for key, value in op.get_rt_info().items()}
            if info.get("layerType") in LAYERS:
                name = info.get("originalLayersNames", "").split(",")[0] or op.get_friendly_name()
                found[name.removesuffix("/WithoutBiases")] = precision(info)
        ran = max(set(found.values()), key=list(found.values()).count, default=self.job.precision)
        return Ran(ran, len(found), tuple(name for name, one in found.items() if one != self.job.precision))

    def settings(self) -> dict[str, Any]:
        return {name: str(self.model.get_property(name)) for name in settings(self.job)} | {
            "threads": self.job.threads, "telemetry": "not installed"}

    def versions(self) -> dict[str, str]:
        return {"python": platform.python_version(), "openvino": openvino.get_version(), "numpy": np.__version__}

    def close(self) -> None:
        self.request = self.model = None


def precision(info: dict[str, str]) -> str:
    """Return what a layer computes in: its kernel's type tells, where its results' may be converted already."""
    kind = info.get("primitiveType", "").rpartition("_")[2]
    return NAMES.get(kind, NAMES.get(info.get("runtimePrecision", ""), kind))
