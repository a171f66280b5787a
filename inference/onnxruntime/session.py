"""The inside of ONNX Runtime: the optimised file is the build, and what it holds says what really runs."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime

from ...core.engine import Ran, Session
from ...core.errors import JobError
from ...core.inference_job import InferenceJob

if TYPE_CHECKING:
    from ...core.backend import Arrays
    from . import OnnxRuntime

OPTIMISED = "model.onnx"
INTEGER = {"QLinearConv", "QGemm", "QLinearMatMul", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat",
           "DynamicQuantizeMatMul", "QAttention"}
FLOAT = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "TransposeMatMul"}
LAYERS = {"Conv", "Gemm", "MatMul"}
AFFIXES = re.compile(r"^InsertedPrecisionFreeCast_|_nchwc$|_token_\d+$|/DuplicateInitializer.*$")
EMULATION = "tensorrt-emulated"  # nothing is fused: a Q/DQ pair then rounds as the device is told to


def options(engine: OnnxRuntime, job: InferenceJob, *, optimise: bool) -> onnxruntime.SessionOptions:
    """Return what a session is opened with."""
    found = onnxruntime.SessionOptions()
    found.intra_op_num_threads, found.inter_op_num_threads = job.threads, 1
    found.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    found.log_severity_level = 3  # errors: it warns that an optimised file belongs to this machine, which we see to
    levels = onnxruntime.GraphOptimizationLevel
    fuse = optimise and engine.name != EMULATION
    found.graph_optimization_level = levels.ORT_ENABLE_ALL if fuse else levels.ORT_DISABLE_ALL
    return found


def providers(engine: OnnxRuntime, job: InferenceJob) -> list[str]:
    """Return who runs the nodes, first come first; on a GPU its provider, and the CPU for what that cannot."""
    return ["CPUExecutionProvider"] if job.device == "cpu" else [str(engine.provider), "CPUExecutionProvider"]


def identity(engine: OnnxRuntime, job: InferenceJob) -> dict[str, str]:
    return {"onnxruntime": onnxruntime.__version__, "cpu": processor(), "providers": ",".join(providers(engine, job))}


def processor() -> str:
    """Return the name of the CPU: an optimised file holds layouts made for it."""
    names = re.findall(r"^(?:model name|flags)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[:2]
    return " ".join(names) or platform.machine()


def build(engine: OnnxRuntime, job: InferenceJob, folder: Path) -> None:
    """Write the optimised file; JobError naming the operator or node that ONNX Runtime does not take."""
    how = options(engine, job, optimise=True)
    how.optimized_model_filepath = str(folder / OPTIMISED)
    opened(engine, job, Path(str(job.file)), how)


def opened(engine: OnnxRuntime, job: InferenceJob, file: Path,
           how: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """Return ONNX Runtime's own session; JobError if it takes the file not, or another provider than asked for."""
    wanted = providers(engine, job)
    missing = [name for name in wanted if name not in onnxruntime.get_available_providers()]
    if missing:
        raise JobError(f"this ONNX Runtime {onnxruntime.__version__} has no {', '.join(missing)}, only "
                       f"{', '.join(onnxruntime.get_available_providers())}; install onnxruntime-gpu, or use "
                       "--device cpu")
    try:
        session = onnxruntime.InferenceSession(str(file), how, providers=wanted)
    except Exception as error:  # its exceptions share no base but this one
        raise JobError(f"ONNX Runtime {onnxruntime.__version__} does not take {file.name}: "
                       f"{' '.join(str(error).split())}") from error
    if wanted[0] not in session.get_providers():
        raise JobError(f"ONNX Runtime fell back from {wanted[0]} to {', '.join(session.get_providers())}: its "
                       "libraries of CUDA, cuDNN or TensorRT are missing, or there is no GPU; the log says which")
    return session


class OnnxRuntimeSession(Session):
    """One session on the optimised file. On a CPU a run is done when it returns."""

    def __init__(self, engine: OnnxRuntime, job: InferenceJob, folder: Path) -> None:
        self.engine, self.job, self.folder = engine, job, folder
        self.session: Any = opened(engine, job, folder / OPTIMISED, options(engine, job, optimise=False))
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]
        self.results: list[Any] = []

    def place(self, batch: Arrays) -> dict[str, Any]:
        """Return the inputs the network reads; on a GPU as values that live there."""
        found = {name: np.ascontiguousarray(batch[name]) for name in self.inputs}
        if self.job.device == "cpu":
            return found
        binding = self.session.io_binding()
        for name, value in found.items():
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value, "cuda", 0))
        for name in self.outputs:
            binding.bind_output(name, "cuda", 0)
        binding.synchronize_inputs()
        return {"": binding}

    def run(self, placed: Mapping[str, Any]) -> None:
        if self.job.device == "cpu":
            self.results = self.session.run(self.outputs, placed)
        else:
            self.session.run_with_iobinding(placed[""])
            self.results = [placed[""]]

    def wait(self) -> None:
        if self.job.device != "cpu":
            self.results[0].synchronize_outputs()

    def fetch(self) -> Arrays:
        values = self.results if self.job.device == "cpu" else self.results[0].copy_outputs_to_cpu()
        return {name: np.asarray(value, np.float32) for name, value in zip(self.outputs, values, strict=True)}

    def ran(self) -> Ran:
        """Read off the optimised file which layers multiply integers."""
        graph = onnx.load(self.folder / OPTIMISED, load_external_data=False).graph
        fixed = {tensor.name for tensor in graph.initializer}
        integer = [node for node in graph.node if node.op_type in INTEGER]
        floating = [node for node in graph.node if node.op_type in FLOAT
                    and (node.op_type not in ("MatMul", "FusedMatMul") or not fixed.isdisjoint(node.input))]
        if self.engine.name == EMULATION:
            return Ran(self.job.precision, len(floating))  # in integers as to the values, in floats as to the kernels
        names = tuple(Origin.of(str(self.job.file)).layer(node) for node in floating)
        if self.job.precision != "int8":
            return Ran("int8" if len(integer) > len(floating) else self.job.precision, len(integer) + len(floating))
        return Ran("int8" if len(integer) > len(floating) else "fp32", len(integer) + len(floating), names)

    def settings(self) -> dict[str, Any]:
        return {"threads": self.job.threads, "inter_op_threads": 1, "spinning": True,
                "providers": self.session.get_providers(), "optimisations": self.engine.name != EMULATION,
                "emulation": self.engine.name == EMULATION}

    def versions(self) -> dict[str, str]:
        return {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__, "numpy": np.__version__}

    def close(self) -> None:
        self.session, self.results = None, []


class Origin:
    """Traces nodes of an optimised file back to the layers of the one it was made from."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.producers = {name: node for node in graph.node for name in node.output}
        self.nodes = {node.name: node for node in graph.node}

    @classmethod
    def of(cls, file: str) -> Origin:
        """Return the tracer of a file."""
        return cls(onnx.load(file, load_external_data=False).graph)

    def layer(self, node: onnx.NodeProto) -> str:
        """Return the name of the layer that a node comes from; its own, bare of affixes, if that cannot be told."""
        name, before = node.name, ""
        while name != before:
            name, before = AFFIXES.sub("", name), name
        found = self.nodes.get(name)
        for _ in range(4):  # a fused node is named after the last one that went into it
            if found is None or found.op_type in LAYERS:
                break
            found = next((self.producers[i] for i in found.input if i in self.producers), None)
        return found.name if found is not None and found.op_type in LAYERS else name
