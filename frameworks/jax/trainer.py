"""One JAX process of a data-parallel job: a jitted pure step over a mesh of all processes' devices."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np
from jax import Array
from jax._src import xla_bridge
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from dlcompare.core.errors import JobError
from dlcompare.core.graph import Graph
from dlcompare.core.graph.ops.recurrent import runs
from dlcompare.core.machine.accelerators import cuda_uuids
from dlcompare.core.machine.ports import LOOPBACK
from dlcompare.core.plugins.backend import Arrays, Trainer
from dlcompare.core.plugins.collectives import CollectiveJob, Message
from dlcompare.core.plugins.job import Job

from .hlo import exchanged
from .ops import neutral, to_device_form
from .program import AXIS, MATMUL, SPECS, Program, State

JOIN_SECONDS = int(os.environ.get("DLCOMPARE_JOIN_SECONDS", "120"))  # a rank that has not joined by then never will


class JaxTrainer(Trainer):
    """See :class:`dlcompare.core.plugins.backend.Trainer` for the contract."""

    def __init__(self, graph: Graph, params: Arrays, job: Job) -> None:
        self.graph, self.job = graph, job
        devices = join(job)
        self.rank, self.world = jax.process_index(), jax.process_count()
        self.program = Program(graph, job, Mesh(np.array(devices), (AXIS,)))
        parts = zip(SPECS, self.program.initial(params), strict=True)
        self.state = State(*(jax.tree.map(partial(self._put, spec), part) for spec, part in parts))
        self.carried: dict[str, Array] = {}
        self.loss = self._put(P(AXIS), np.zeros(len(devices), np.float32))

    def _put(self, spec: P, array: np.ndarray) -> Array:
        """Return an array that every process holds whole, placed on the mesh."""
        return jax.make_array_from_callback(np.shape(array), self.program.sharding(spec), lambda i: array[i])

    def place(self, batch: Arrays) -> dict[str, Array]:
        where = self.program.sharding(P(AXIS))
        return {k: jax.make_array_from_process_local_data(where, to_device_form(v, self.program.layout))
                for k, v in batch.items() if k not in self.graph.carried()}

    def _with_carried(self, placed: dict[str, Array]) -> dict[str, Array]:
        """Return a batch with what the step before has left, zeros before the first."""
        names, rows = self.graph.carried(), len(next(iter(placed.values())))
        if names and not self.carried:
            self.carried = {k: self._put(P(AXIS), np.zeros((rows, *self.graph.inputs[k].shape), np.float32))
                            for k in names}
        return placed | self.carried

    def step(self, placed: dict[str, Array], lr: float) -> None:
        placed = self._with_carried(placed)
        self.state, self.loss, self.carried = self._step(self.state, placed, np.float32(lr))

    def forward(self, placed: dict[str, Array]) -> None:
        self.loss = self._loss(self.state, self._with_carried(placed))

    def wait(self) -> float:
        jax.block_until_ready(self.state)
        return float(np.mean(self._own(self.loss)))

    def gather(self, value: float) -> list[float]:
        local = self.program.mesh.size // self.world
        mine = np.full(local, value, np.float32)
        values = jax.make_array_from_process_local_data(self.program.sharding(P(AXIS)), mine)
        return [float(v) for v in self._own(self._everywhere(values))[::local]]

    def predict(self, batch: Arrays) -> Arrays:
        local = {k: to_device_form(v, self.program.layout) for k, v in batch.items()}
        found = self._predict(self._local(), local)
        return {name: neutral(value, self.program.layout) for name, value in found.items()}

    def activations(self, batch: Arrays) -> Arrays:
        placed = self._with_carried(self.place(batch))
        seen = {k: self._own(v) for k, v in self._activations(self.state, placed).items()}
        scalars = {node.name for node in self.graph.nodes if not node.shape}
        return {k: np.asarray(v.mean() if k in scalars else neutral(v, self.program.layout)) for k, v in seen.items()}

    def gradients(self, batch: Arrays) -> Arrays:
        placed = self._with_carried(self.place(batch))
        return {k: self._neutral(k, v) for k, v in self._gradients(self.state, placed).items()}

    def params(self) -> Arrays:
        found = self._local()
        return {name: self._neutral(name, found[name]) for name in self.graph.params()}

    def _local(self) -> dict[str, Array]:
        """Return all parameters on this process's first device; the running statistics are that one's own."""
        state = self.state
        whole = state.trained | state.still
        return ({k: v.addressable_data(0) for k, v in whole.items()}
                | {k: v.addressable_data(0)[0] for k, v in state.stats.items()})

    def _neutral(self, name: str, array: Array) -> np.ndarray:
        """Return a parameter or its gradient in float32 and the neutral layout, in memory of its own."""
        axes, host = self.program.axes(name), np.array(array.addressable_data(0), np.float32)
        return host if axes is None else np.ascontiguousarray(host.transpose(np.argsort(axes)))

    def _own(self, array: Array) -> np.ndarray:
        """Return this process's part of an array, in the order of its devices; one copy of what all hold whole."""
        shards = array.addressable_shards
        if array.is_fully_replicated:
            return np.asarray(shards[0].data)
        return np.concatenate([np.asarray(s.data) for s in sorted(shards, key=lambda s: s.index[0].start or 0)])

    @cached_property
    def _step(self) -> Any:
        return jax.jit(self.program.step(), donate_argnums=0)

    @cached_property
    def _loss(self) -> Callable[..., Any]:
        return jax.jit(self.program.forward())

    @cached_property
    def _gradients(self) -> Callable[..., Any]:
        return jax.jit(self.program.gradients())

    @cached_property
    def _activations(self) -> Callable[..., Any]:
        return jax.jit(self.program.activations())

    @cached_property
    def _predict(self) -> Callable[..., Any]:
        return jax.jit(self.program.predict())

    @cached_property
    def _everywhere(self) -> Callable[[Array], Array]:
        """Return what copies an array to every device: an all-gather, which nobody passes before all have come."""
        return jax.jit(lambda x: x, out_shardings=self.program.sharding(P()))

    def messages(self, placed: dict[str, Array]) -> list[Message]:
        """As the compiled step has them. A CPU sends each array of a combined all-reduce by itself."""
        compiled = self._step.lower(self.state, self._with_carried(placed), np.float32(0)).compile()
        self.step(placed, 0.0)
        self.wait()
        return [Message(op.replace("-", "_"), size, 1) for op, sizes in exchanged(compiled.as_text())
                for size in (sizes if self.job.device == "cpu" else [sum(sizes)])]

    def settings(self) -> dict[str, Any]:
        program, cuda = self.program, self.job.device == "cuda"
        return {
            "layout": program.layout,
            "execution": "compiled",
            "compiler": "XLA",
            **({"recurrent": "composed, lax.scan: JAX has no fused layer"} if runs(program.graph) else {}),
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
            "matmul_precision": MATMUL[self.job.precision],
            "all_reduce": "nccl" if cuda else "gloo" if self.world > 1 else "XLA, in the process",
            "gradient_buckets": "XLA's choice",
            "buffers_broadcast": False,
            "devices_per_process": program.mesh.size // self.world,
            "intra_op_threads": int(os.environ.get("NPROC", 0)),
            "tf32": self.job.precision == "tf32",
            "donated_state": True,
        }

    def versions(self) -> dict[str, str]:
        return versions()

    def peak_bytes(self) -> int | None:
        return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

    def device_ids(self) -> tuple[str, ...] | None:
        if self.job.device != "cuda":
            return () if self.job.device == "cpu" else None
        own = [device for device in self.program.mesh.devices.flat if device.process_index == self.rank]
        numbers = [device.local_hardware_id for device in own]  # CUDA's own, or None
        return None if None in numbers else cuda_uuids(numbers)

    def close(self) -> None:
        vars(self).clear()
        jax.clear_caches()


def versions() -> dict[str, str]:
    """Return the versions of what computes, whatever is measured: lines of collectives are found by them."""
    return {"python": platform.python_version(), "jax": jax.__version__, "jaxlib": jaxlib.__version__,
            "numpy": np.__version__}


def join(job: Job | CollectiveJob) -> list[Any]:
    """Join the processes' group, once per process, and return the devices of all, in rank order."""
    world, rank = int(os.environ.get("DLCOMPARE_WORLD", "1")), int(os.environ.get("DLCOMPARE_RANK", "0"))
    if world > 1 and not jax.distributed.is_initialized():
        meet(rank, world, cuda=job.device == "cuda")
    with contextlib.suppress(RuntimeError):
        found = jax.devices()[:job.workers] if world == 1 else jax.devices()
        if len(found) == job.workers:
            return sorted(found, key=lambda d: (d.process_index, d.id))
        raise JobError(f"{job.workers} workers need as many devices, and JAX sees {len(found)} of kind {job.device}; "
                       "use fewer --workers")
    raise JobError(f"JAX finds no {job.device} device; see the log for what it tried")


def meet(rank: int, world: int, *, cuda: bool) -> None:
    """Join the processes' group; JobError if that fails or takes too long, naming the ranks that never came.

    In a thread, for JAX aborts the process when its own time-out is over, and nobody would learn why.
    """
    Path(f"joining-{rank}").touch()  # in the job's folder
    raised: list[Exception] = []
    where = os.environ["DLCOMPARE_COORDINATOR"]

    def initialise() -> None:
        try:
            jax.distributed.initialize(where, world, rank, local_device_ids=[rank] if cuda else None,
                                       initialization_timeout=JOIN_SECONDS + 600, coordinator_bind_address=where)
        except Exception as error:  # whatever it is, the main thread raises it
            raised.append(error)

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # By itself JAX has gloo listen where the host's name leads, if anywhere, and offers no option for it.
    bindings = xla_bridge._jax
    bindings.make_gloo_tcp_collectives = partial(bindings.make_gloo_tcp_collectives, hostname=LOOPBACK)
    thread = threading.Thread(target=initialise, daemon=True)
    thread.start()
    thread.join(JOIN_SECONDS)
    if raised:
        raise JobError(f"rank {rank} could not join the others: {one_line(raised[0])}") from raised[0]
    if thread.is_alive():
        missing = [str(other) for other in range(world) if not Path(f"joining-{other}").exists()]
        who = f"rank {', '.join(missing)} never started to" if missing else "all started to, but they do not meet"
        raise JobError(f"the {world} processes have not joined within {JOIN_SECONDS} s: {who}; "
                       "DLCOMPARE_JOIN_SECONDS gives them longer")


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:600]
