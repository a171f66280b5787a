"""JAX over ``jax.distributed`` processes or one process's local devices, seen from outside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dlcompare.core import hookimpl
from dlcompare.core.data.stream import Source, Stream
from dlcompare.core.graph import Graph
from dlcompare.core.machine.ports import LOOPBACK
from dlcompare.core.plugins.backend import Backend, Trainer
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.runtime import EnvironmentSpec
from dlcompare.frameworks import gloo

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays
    from dlcompare.core.plugins.collectives import CollectiveJob, Collectives

NO_TPU = "no TPU was at hand; what was tried is compiling for one (--compile-only)"


class Jax(Backend):
    """A jitted pure step, per shard under ``shard_map``; gloo between CPU processes, NCCL between GPUs."""

    name = "jax"
    title = "JAX, jit and shard_map over jax.distributed processes (gloo on CPU, NCCL on CUDA), TPU"
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda", "tpu")
    precisions = ("fp32", "tf32", "bf16", "fp16")
    # No eager: under jax.disable_jit a case of four tiny ops took 45 s with two processes, compiling op after op.
    executions = {"compiled": "the whole step compiled by XLA under jax.jit"}
    layouts = ("NHWC", "NCHW")
    pipelines = {"imagefolder": "grain, if it is in the environment"}
    offered_collectives = {"all_reduce": "lax.psum", "all_gather": "lax.all_gather",
                           "reduce_scatter": "lax.psum_scatter",
                           "broadcast": "lax.psum of a mask, which costs an all-reduce"}

    def environment(self, device: str) -> EnvironmentSpec:
        return EnvironmentSpec(
            lock=Path(__file__).parent / f"{device}.lock",
            python=((3, 11), (3, 14)),
            check="import jax; print(jax.__version__)",
            note={"cuda": "untested: no GPU was at hand", "tpu": NO_TPU}.get(device, ""),
        )

    def refuse(self, job: Job) -> str | None:
        if job.precision == "fp16" and job.device == "tpu":
            return "TPUs have no fp16 arithmetic; use --precision bf16"
        if job.device == "tpu" and not job.topology and not list(Path("/dev").glob("accel*")):
            return ("this machine has no TPU (no /dev/accel*); --compile-only compiles for one without it, as in "
                    "--device tpu --compile-only --topology v3:2x2")
        return super().refuse(job)

    def processes(self, job: Job) -> int:
        return 1 if job.device == "tpu" else job.workers  # one process drives all the chips of a TPU host

    def command(self, job: Job, python: str) -> list[str]:
        return [python, "-m", f"{__name__}.launcher", str(job.port or 0), str(self.processes(job)), python]

    def variables(self, job: Job) -> dict[str, str]:
        threads = str(job.threads)
        platform = "cpu" if job.topology else job.device
        flags = {"TF_CPP_MIN_LOG_LEVEL": "2", "JAX_PLATFORMS": platform, "NPROC": threads, "PJRT_NPROC": threads,
                 "OMP_NUM_THREADS": threads, "NCCL_SOCKET_IFNAME": "lo"}
        if job.kind == "verification":
            flags["XLA_FLAGS"] = "--xla_gpu_autotune_level=0"
        if job.topology:
            flags |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": LOOPBACK, "TPU_LIBRARY_LOG": "0"}
        return flags

    def load(self) -> None:
        from . import trainer  # noqa: F401  # one of the modules that import the framework

    def pipeline(self, source: Source) -> Stream:
        from .pipeline import Grain

        return Grain(source)

    def trainer(self, graph: Graph, params: Arrays, job: Job) -> Trainer:
        from .trainer import JaxTrainer

        return JaxTrainer(graph, params, job)

    def refuse_collective(self, job: CollectiveJob, *, size: int | None = None) -> str | None:
        return (gloo.refuse_wrong(job, call="lax.psum_scatter of JAX 0.10.2", size=size)
                or super().refuse_collective(job, size=size))

    def collectives(self, job: CollectiveJob) -> Collectives:
        from .collectives import JaxCollectives

        return JaxCollectives(job)

    def compile_only(self, graph: Graph, params: Arrays, job: Job) -> dict[str, Any]:
        from .topology import compiled_for

        return compiled_for(graph, job)


class JaxLocal(Jax):
    """The same with one process that drives several local devices, as JAX's users do on one machine."""

    name = "jax-local"
    title = "JAX, one process with several local devices (on CPU: virtual ones)"
    devices = ("cpu", "cuda")
    offered_collectives = {}  # nothing passes between processes

    def environment(self, device: str) -> EnvironmentSpec:
        return replace(super().environment(device), owner=Jax.name)

    def processes(self, job: Job) -> int:
        return 1

    def variables(self, job: Job) -> dict[str, str]:
        found = super().variables(job)
        if job.device == "cpu":  # the devices share one pool of threads
            virtual = f"--xla_force_host_platform_device_count={job.workers}"
            threads = str(job.threads * job.workers)
            found |= {"XLA_FLAGS": f"{found.get('XLA_FLAGS', '')} {virtual}".strip(), "NPROC": threads,
                      "PJRT_NPROC": threads}
        return found


@hookimpl
def dlcompare_backends() -> list[Backend]:
    return [Jax(), JaxLocal()]
