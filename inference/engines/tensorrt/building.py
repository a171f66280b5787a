"""Building a TensorRT engine: ONNX file -> plan, with what it was built by and for."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorrt as trt

from dlcompare.core.errors import JobError
from dlcompare.core.plugins.inference_job import InferenceJob

from .cudart import WHAT_TO_DO, Cuda
from .limits import REMOVED, batch_trouble, fours
from .versions import Api, allow, api_of, create_network, missing, node_name

PLAN, ABOUT = "engine.plan", "engine.json"
MULTIPLYING = ("CONVOLUTION", "DECONVOLUTION", "FULLY_CONNECTED", "MATRIX_MULTIPLY")
PASSING = ("QUANTIZE", "DEQUANTIZE", "SHUFFLE", "IDENTITY", "CAST")  # what may stand between a constant and its layer
Json = dict[str, Any]


class Log(trt.ILogger):
    """Prints what TensorRT warns of, and keeps it: its exceptions say nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        kinds = trt.ILogger.Severity
        if severity in (kinds.INTERNAL_ERROR, kinds.ERROR, kinds.WARNING):
            print(f"TensorRT {severity.name.lower()}: {message}", flush=True)
            self.lines.append(message)

    def last(self, lines: int = 3) -> str:
        """Return the newest lines as one."""
        return " ".join(" ".join(self.lines[-lines:]).split()) or "it gave no reason"


LOG = Log()  # the only one: TensorRT keeps the first for the whole process


@functools.cache
def cuda() -> Cuda:
    """Return CUDA's runtime; JobError if there is no GPU."""
    return Cuda()


def identity(job: InferenceJob) -> dict[str, str]:
    """Return what a plan depends on: the version, the GPU, and the samples if TensorRT calibrates."""
    major, minor = cuda().capability()
    found = {"tensorrt": trt.__version__, "gpu": cuda().gpu(), "capability": f"{major}.{minor}",
             "cuda": cuda().versions()["cuda"]}
    if job.calibrator:
        fed = json.dumps([job.calibrator, job.data, job.calibration_train, job.seed, job.calibration, job.skip])
        found["calibration"] = hashlib.sha256(fed.encode()).hexdigest()
    return found


def new_builder() -> Any:
    """Return TensorRT's builder. JobError saying what to do where there is no GPU."""
    try:
        return trt.Builder(LOG)
    except TypeError as error:  # all that its bindings say; the reason is in the log
        raise JobError(f"{WHAT_TO_DO} (TensorRT {trt.__version__}: {LOG.last(1)})") from error


def build(job: InferenceJob, folder: Path) -> None:
    """Write the plan and what it was built by and for into a folder. JobError names what TensorRT does not take."""
    api, about = api_of(trt), identity(job)
    if reason := trouble(job, api):
        raise JobError(reason)
    typed = api.strongly_typed and not job.calibrator  # a calibrator chooses precisions itself
    builder = new_builder()
    network = create_network(trt, builder, typed=typed)
    parser = parse(network, Path(str(job.file)))
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default; FP32 is to be FP32
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else the inspector says names alone
    flags = () if typed else allow(trt, config, job.precision)
    largest = job.largest_batch + (-job.largest_batch % 4 if fours(job, cuda().capability()) else 0)
    config.add_optimization_profile(profile(builder, network, 1, largest))
    plan = serialise(job, builder, network, config)
    del parser  # not before: the network's weights are in its memory
    (folder / PLAN).write_bytes(memoryview(plan))
    about_all = {**about, "layers": list(layers_with_weights(network)), "strongly_typed": typed,
                 "precision_flags": flags, "largest_batch": largest, "calibrator": job.calibrator,
                 "workspace_bytes": config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE)}
    (folder / ABOUT).write_text(json.dumps(about_all, indent=1))


def trouble(job: InferenceJob, api: Api) -> str | None:
    """Return why this library or this GPU cannot build a job."""
    if absent := missing(trt):
        return f"TensorRT {trt.__version__} has no {', '.join(absent)}; 8.5 to 11 have, so install one of these"
    if job.calibrator and not api.calibrators:
        return REMOVED.format(trt.__version__)
    if job.precision == "bf16" and not api.bf16:
        return f"TensorRT {trt.__version__} has no bf16, which came with version 9; use --precision fp16"
    return batch_trouble(job, cuda().capability(), cuda().gpu())


def parse(network: Any, file: Path) -> Any:
    """Fill a network from a file, weights beside it included; return its parser. JobError names node and operator."""
    parser = trt.OnnxParser(network, LOG)
    if parser.parse_from_file(str(file)):
        return parser
    told = [f"{node_name(trt, error, LOG.last())}: {error.desc()}" for error in map(parser.get_error,
                                                                               range(parser.num_errors))]
    raise JobError(f"TensorRT {trt.__version__} does not take {file.name}: "
                   f"{' '.join('; '.join(told).split())[:1000] or LOG.last()}")


def profile(builder: Any, network: Any, least: int, largest: int) -> Any:
    """Return the batch sizes that an engine is for; it is made fastest for the largest."""
    made = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        one = network.get_input(index)
        small, large = ([size if dim == -1 else dim for dim in one.shape] for size in (least, largest))
        made.set_shape(one.name, small, large, large)
    return made


def serialise(job: InferenceJob, builder: Any, network: Any, config: Any) -> Any:
    """Return the built plan; JobError with the newest words of the log if there is none."""
    calibrator, stream = None, cuda().stream()
    if job.calibrator:
        from .calibrator import BATCH, Calibrator

        inputs = [network.get_input(index) for index in range(network.num_inputs)]
        calibrator = Calibrator(job, cuda(), stream, {one.name: trt.nptype(one.dtype) for one in inputs})
        config.int8_calibrator = calibrator
        config.set_calibration_profile(profile(builder, network, BATCH, BATCH))
    plan = builder.build_serialized_network(network, config)
    stream.close()
    if calibrator is not None and calibrator.error is not None:
        raise calibrator.error
    if plan is None:
        raise JobError(f"TensorRT {trt.__version__} could not build {Path(str(job.file)).name} in {job.precision} on "
                       f"{cuda().gpu()}: {LOG.last()}")
    return plan


def layers_with_weights(network: Any) -> Iterator[str]:
    """Yield the names of the layers that multiply with weights; attention's products have none."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    producers = {one.get_output(index).name: one for one in layers for index in range(one.num_outputs)}
    for one in layers:
        if one.type.name not in MULTIPLYING:
            continue
        if one.type.name != "MATRIX_MULTIPLY" or any(constant(one.get_input(index), producers) for index in (0, 1)):
            yield one.name


def constant(tensor: Any, producers: dict[str, Any]) -> bool:
    """Return whether a tensor is a constant, perhaps quantised on its way."""
    one = producers.get(tensor.name)
    while one is not None and one.type.name in PASSING:
        one = producers.get(one.get_input(0).name)
    return one is not None and one.type.name == "CONSTANT"
