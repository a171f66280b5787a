"""Compile the train step for a TPU topology that is not at hand, with the real compiler, and tell what it says."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import jax
import jaxlib
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from dlcompare.core.errors import JobError
from dlcompare.core.graph import Graph
from dlcompare.core.plugins.job import Job

from .hlo import exchanged
from .program import AXIS, SPECS, Program, State
from .trainer import one_line

Json = dict[str, Any]
KNOWN = "v2:2x2, v3:2x2, v4:2x2x1, v5e:2x2, v5p:2x2x1, v6e:2x2"


def compiled_for(graph: Graph, job: Job) -> Json:
    """Return what the compiler says of a job's train step on all devices of its topology.

    Keys: ``devices`` (their number), ``device_kind``, ``workers``, ``compile_seconds``, ``memory`` (bytes on each
    device), ``cost`` (``flops`` and ``bytes`` of each device and step, by the compiler's own analysis), ``collectives``
    ({op, count, bytes} with the bytes of their results on each device), ``versions``.

    Raises:
        JobError: there is no such topology, or the compiler refuses.
    """
    devices = devices_of(str(job.topology))
    if job.workers not in (1, len(devices)):
        raise JobError(f"the topology {job.topology} has {len(devices)} devices, so it takes {len(devices)} workers, "
                       f"not {job.workers}; leave --workers out to use all")
    program = Program(graph, job, Mesh(np.array(devices), (AXIS,)))
    begin = time.perf_counter()
    try:
        step = jax.jit(program.step(), donate_argnums=0)
        compiled = step.lower(shapes(program), program.batch_shapes(job.batch * len(devices)),
                              jax.ShapeDtypeStruct((), np.float32)).compile()
    except jax.errors.JaxRuntimeError as error:
        raise JobError(f"the compiler refuses: {one_line(error)}") from error
    return {
        "devices": len(devices), "device_kind": devices[0].device_kind, "workers": len(devices),
        "compile_seconds": time.perf_counter() - begin, "memory": memory(compiled), "cost": cost(compiled),
        "collectives": collectives(compiled.as_text()),
        "versions": {"jax": jax.__version__, "jaxlib": jaxlib.__version__, "libtpu": libtpu_version()},
    }


def devices_of(topology: str) -> list[Any]:
    """Return the devices of a topology by its name."""
    try:
        return list(topologies.get_topology_desc(topology, platform="tpu").devices)
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        raise JobError(f"there is no TPU topology {topology!r} ({one_line(error)}); names are VERSION:SIZE, such as "
                       f"{KNOWN}") from error


def shapes(program: Program) -> State:
    """Return the state's shapes and places, without a device."""
    host = program.initial({k: np.zeros(p.shape, np.float32) for k, p in program.graph.params().items()})

    def shape(array: np.ndarray, spec: P) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=program.sharding(spec))
    return State(*(jax.tree.map(lambda a, s=spec: shape(a, s), part) for part, spec in zip(host, SPECS, strict=True)))


def memory(compiled: Any) -> Json:
    """Return bytes on each device: what goes in, what comes out beyond that, and what is needed meanwhile."""
    found = compiled.memory_analysis()
    parts = {"arguments": found.argument_size_in_bytes,
             "results": found.output_size_in_bytes - found.alias_size_in_bytes,  # most overwrite their arguments
             "temporary": found.temp_size_in_bytes, "program": found.generated_code_size_in_bytes}
    return {**parts, "total": sum(parts.values())}


def cost(compiled: Any) -> Json:
    """Return the compiler's own count of arithmetic and of memory traffic, of each device and step."""
    found = compiled.cost_analysis() or {}
    return {"flops": found.get("flops"), "bytes": found.get("bytes accessed")}


def collectives(text: str) -> list[Json]:
    """Return the collective operations of a compiled program: how many of each kind, and their bytes."""
    count, size = defaultdict[str, int](int), defaultdict[str, int](int)
    for op, sizes in exchanged(text):
        count[op] += 1
        size[op] += sum(sizes)
    return [{"op": op, "count": count[op], "bytes": size[op]} for op in sorted(count)]


def libtpu_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("libtpu")
    except PackageNotFoundError:
        return "not installed"
