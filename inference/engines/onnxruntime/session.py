"""The inside of ONNX Runtime: the optimised file is the build, and what it holds says what really runs."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime

from dlcompare.core.errors import JobError
from dlcompare.core.machine.accelerators import cuda_uuids
from dlcompare.core.plugins.engine import Engine, Ran, Session
from dlcompare.core.plugins.inference_job import InferenceJob

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays

OPTIMISED, WEIGHTS = "model.onnx", "model.onnx.data"
INTEGER = {"QLinearConv", "QGemm", "QLinearMatMul", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat",
           "DynamicQuantizeMatMul", "QAttention"}
FLOAT = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "TransposeMatMul"}
LAYERS = {"Conv", "Gemm", "MatMul"}
KINDS = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16", onnx.TensorProto.BFLOAT16: "bf16"}
AFFIXES = re.compile(r"^InsertedPrecisionFreeCast_|_nchwc$|_token_\d+$|/DuplicateInitializer.*$")
TENSORRT = "onnxruntime-tensorrt"  # its provider compiles the nodes, which then nobody can look at
EMULATION = "tensorrt-emulated"  # nothing is fused: a Q/DQ pair then rounds as the device is told to


def options(engine: Engine, job: InferenceJob, *, optimise: bool) -> onnxruntime.SessionOptions:
    """Return what a session is opened with."""
    found = onnxruntime.SessionOptions()
    found.intra_op_num_threads, found.inter_op_num_threads = job.threads, 1
    found.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    found.log_severity_level = 3  # errors: it warns that an optimised file belongs to this machine, which we see to
    levels = onnxruntime.GraphOptimizationLevel
    fuse = optimise and engine.name != EMULATION
    found.graph_optimization_level = levels.ORT_ENABLE_ALL if fuse else levels.ORT_DISABLE_ALL
    return found


def providers(engine: Engine, job: InferenceJob, folder: Path | None = None) -> list[Any]:
    """Return who runs the nodes, first come first, with their options; on a GPU the CPU takes what no other can."""
    if job.device == "cpu":
        return ["CPUExecutionProvider"]
    cuda = ("CUDAExecutionProvider", {"use_tf32": "0"})  # FP32 is FP32; the variable tells TensorRT and the libraries
    own = [("TensorrtExecutionProvider", tensorrt(job, folder))] if engine.name == TENSORRT and folder else []
    return [*own, cuda, "CPUExecutionProvider"]


def tensorrt(job: InferenceJob, folder: Path) -> dict[str, str]:
    """Return the options of TensorRT's provider: engines kept in the folder, for all batches up to the largest."""
    inputs = [(name, spec.shape) for name, spec in job.inputs.items() if spec.role not in ("label", "position")]

    def shapes(batch: int) -> str:
        return ",".join(f"{name}:{'x'.join(map(str, (batch, *shape)))}" for name, shape in inputs)

    return {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(folder),
            "trt_fp16_enable": str(job.precision == "fp16"), "trt_int8_enable": str(job.precision == "int8"),
            "trt_profile_min_shapes": shapes(1), "trt_profile_opt_shapes": shapes(job.batch),
            "trt_profile_max_shapes": shapes(max(job.batch, job.largest_batch))}


def identity(engine: Engine, job: InferenceJob) -> dict[str, str]:
    return {"onnxruntime": onnxruntime.__version__, "cpu": processor()}


def processor() -> str:
    """Return the name of the CPU: an optimised file holds layouts made for it."""
    names = re.findall(r"^(?:model name|flags)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[:2]
    return " ".join(names) or platform.machine()


def build(engine: Engine, job: InferenceJob, folder: Path) -> None:
    """Write the optimised file; JobError naming the operator or node that ONNX Runtime does not take.

    Weights go into a file beside it, since one protocol buffer holds 2 GB at most.
    What TensorRT's provider compiles ONNX Runtime refuses to write; that provider keeps its engines there itself.
    """
    how = options(engine, job, optimise=True)
    if engine.name != TENSORRT:
        how.optimized_model_filepath = str(folder / OPTIMISED)
        how.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
    open_session(engine, job, Path(str(job.file)), how, folder)


def open_session(engine: Engine, job: InferenceJob, file: Path, how: onnxruntime.SessionOptions,
           folder: Path) -> onnxruntime.InferenceSession:
    """Return ONNX Runtime's own session; JobError if it does not take the file, or would fall back to the CPU."""
    wanted = providers(engine, job, folder)
    first = wanted[0] if isinstance(wanted[0], str) else wanted[0][0]
    if first not in onnxruntime.get_available_providers():
        raise JobError(f"this ONNX Runtime {onnxruntime.__version__} has no {first}, only "
                       f"{', '.join(onnxruntime.get_available_providers())}; install onnxruntime-gpu, or use "
                       "--device cpu")
    if job.device == "cuda":
        onnxruntime.preload_dlls()  # CUDA and cuDNN from NVIDIA's wheels in this environment
    try:
        session = onnxruntime.InferenceSession(str(file), how, providers=wanted)
    except Exception as error:  # its exceptions share no base but this one
        raise JobError(f"ONNX Runtime {onnxruntime.__version__} does not take {file.name}: "
                       f"{' '.join(str(error).split())}") from error
    if first not in session.get_providers():
        raise JobError(f"ONNX Runtime fell back from {first} to {', '.join(session.get_providers())}: its "
                       "libraries of CUDA, cuDNN or TensorRT are missing, or there is no GPU; the log says which")
    return session


class OnnxRuntimeSession(Session):
    """One session on the optimised file. On a CPU a run is done when it returns."""

    def __init__(self, engine: Engine, job: InferenceJob, folder: Path) -> None:
        self.engine, self.job, self.folder = engine, job, folder
        whole = engine.name == TENSORRT  # its provider reads the file itself, and keeps its engines
        file = Path(str(job.file)) if whole else folder / OPTIMISED
        self.session: Any = open_session(engine, job, file, options(engine, job, optimise=whole), folder)
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]
        self.results: list[Any] = []

    def place(self, batch: Arrays) -> dict[str, Any]:
        """Return the inputs the network reads; on a GPU as values that live there."""
        found = {name: np.asarray(batch[name], order="C") for name in self.inputs}
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
        """Read off the optimised file which layers multiply what; TensorRT's provider hides that in its engines."""
        if self.engine.name == TENSORRT:
            return Ran(self.job.precision, layers=0)
        graph = onnx.load(self.folder / OPTIMISED, load_external_data=False).graph
        origin, found = Origin.of(str(self.job.file)), {}
        for node, precision in layers(graph, by_value=self.engine.name == EMULATION):
            found[origin.layer(node)] = precision
        most = Counter(found.values()).most_common(1)
        left = [name for name, precision in found.items() if precision != self.job.precision]
        return Ran(most[0][0] if most else self.job.precision, len(found), tuple(left))

    def settings(self) -> dict[str, Any]:
        return {"threads": self.job.threads, "inter_op_threads": 1, "spinning": True,
                "providers": self.session.get_providers(), "optimisations": self.engine.name != EMULATION,
                "emulation": self.engine.name == EMULATION}

    def versions(self) -> dict[str, str]:
        return {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__, "numpy": np.__version__}

    def device_ids(self) -> tuple[str, ...] | None:
        return cuda_uuids([0] if self.job.device == "cuda" else [])  # the providers' own first device

    def close(self) -> None:
        self.session, self.results = None, []


def layers(graph: onnx.GraphProto, *, by_value: bool) -> Iterator[tuple[onnx.NodeProto, str]]:
    """Yield the nodes that multiply with weights, and in which precision; an emulation's is that of what they read."""
    fixed = {tensor.name: KINDS.get(tensor.data_type, "") for tensor in graph.initializer}
    quantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    for node in graph.node:
        weights = [fixed[name] for name in node.input if name in fixed]
        if node.op_type in INTEGER or (by_value and node.op_type in FLOAT and quantised.issuperset(node.input[:2])):
            yield node, "int8"
        elif node.op_type in FLOAT and (weights or "MatMul" not in node.op_type):  # attention's has no weights
            yield node, next(filter(None, weights), "fp32")


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
