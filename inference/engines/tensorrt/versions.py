"""What TensorRT's Python API offers from 8.5 to 11, all differences in one place.

``TABLE`` says what each version has: from NVIDIA's sources of the bindings (tags 8.5.3, 8.6.1, 9.3, 10.0 to 10.16, 11.0
and 11.1), the wheel 8.5.3.1 itself, and the names in the wheels of the bindings 10.16.1.11 and 11.4.0.106. ``api_of``
looks at a library itself, by name: the numbers behind the names have moved (STRONGLY_TYPED was 2, then 1, then 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Api:
    """What one version has; everything else that is used here is the same from 8.5 to 11."""

    explicit_batch: bool  # the flag with which networks must ask for a batch axis; ignored by 10, gone in 11
    strongly_typed: bool  # networks whose types are those that the file says; the only ones in 11
    precision_flags: tuple[str, ...]  # of the builder, for networks that are not strongly typed
    bf16: bool
    calibrators: bool  # INT8 without Q/DQ in the file: IInt8EntropyCalibrator2
    device_memory: str  # the engine's attribute that says how many bytes it works in


OLDEST = (8, 5)
BOUND = ("tensorrt", "gpu", "capability")  # a plan loads only where these are what they were
TABLE = {
    (8, 5): Api(True, False, ("FP16", "INT8"), False, True, "device_memory_size"),
    (8, 6): Api(True, False, ("FP16", "INT8"), False, True, "device_memory_size"),
    (9, 0): Api(True, True, ("FP16", "BF16", "INT8"), True, True, "device_memory_size"),
    (10, 0): Api(True, True, ("FP16", "BF16", "INT8"), True, True, "device_memory_size"),
    (10, 1): Api(True, True, ("FP16", "BF16", "INT8"), True, True, "device_memory_size_v2"),
    (11, 0): Api(False, True, (), True, False, "device_memory_size_v2"),
}
SAME = (  # what is used of every version from 8.5 on, and missing before
    "Builder.build_serialized_network", "BuilderFlag.TF32", "EngineInspector.get_engine_information",
    "IBuilderConfig.clear_flag", "IBuilderConfig.get_memory_pool_limit", "ICudaEngine.create_engine_inspector",
    "ICudaEngine.get_tensor_profile_shape", "ICudaEngine.num_io_tensors", "IExecutionContext.execute_async_v3",
    "IExecutionContext.set_input_shape", "IExecutionContext.set_tensor_address", "LayerInformationFormat.JSON",
    "MemoryPoolType.WORKSPACE", "OnnxParser.parse_from_file", "ProfilingVerbosity.DETAILED")


def missing(trt: ModuleType) -> list[str]:
    """Return what a library lacks of what is used; none from 8.5 to 11."""
    return [name for name in SAME if not hasattr(getattr(trt, name.partition(".")[0], None), name.partition(".")[2])]


def expected_api(version: str) -> Api:
    """Return what the table says of a version; of one between two lines what the older line says."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return TABLE[max((line for line in TABLE if line <= (major, minor)), default=OLDEST)]


def api_of(trt: ModuleType) -> Api:
    """Return what a library has, found by name."""
    flags, networks = trt.BuilderFlag, trt.NetworkDefinitionCreationFlag
    return Api(
        explicit_batch=hasattr(networks, "EXPLICIT_BATCH"), strongly_typed=hasattr(networks, "STRONGLY_TYPED"),
        precision_flags=tuple(name for name in ("FP16", "BF16", "INT8") if hasattr(flags, name)),
        bf16=hasattr(trt.DataType, "BF16"), calibrators=hasattr(trt, "IInt8EntropyCalibrator2"),
        device_memory=next(name for name in ("device_memory_size_v2", "device_memory_size")
                           if hasattr(trt.ICudaEngine, name)))


def create_network(trt: ModuleType, builder: Any, *, typed: bool) -> Any:
    """Return an empty network; ``typed``: one whose types are the file's, where the version has such."""
    wanted = ["EXPLICIT_BATCH", *(["STRONGLY_TYPED"] if typed else [])]
    flags = trt.NetworkDefinitionCreationFlag
    return builder.create_network(sum(1 << int(getattr(flags, name)) for name in wanted if hasattr(flags, name)))


def allow(trt: ModuleType, config: Any, precision: str) -> tuple[str, ...]:
    """Let the builder use a precision, where it must be let; return the names of the flags that were set."""
    names = [name for name in (precision.upper(),) if hasattr(trt.BuilderFlag, name)]
    for name in names:
        config.set_flag(getattr(trt.BuilderFlag, name))
    return tuple(names)


def node_name(trt: ModuleType, error: Any, log: str) -> str:
    """Return which node a parser's error is about; ``log`` is what the parser printed, which names it where the
    error itself has the node's number alone."""
    if hasattr(trt.ParserError, "node_name"):
        return f"node {error.node_name()!r} ({error.node_operator()})"
    return f"node number {error.node()}" + (f", {log}" if log else "")


def foreign(about: dict[str, Any], here: dict[str, str]) -> str | None:
    """Return why a plan cannot be loaded here: it was built by another version, or for another GPU; else None."""
    if all(about[name] == here[name] for name in BOUND):
        return None
    built, wanted = (f"TensorRT {one['tensorrt']} for {one['gpu']} (compute capability {one['capability']})"
                     for one in (about, here))
    return (f"was built by {built}, and this is {wanted}; TensorRT's plans load only on the version and the GPU that "
            "built them. Remove the folder, and it is built anew")
