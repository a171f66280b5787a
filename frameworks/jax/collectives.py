"""XLA's collectives as JAX calls them: a jitted program of nothing else, over the mesh of all processes' devices."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, shard_map
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dlcompare.core.plugins.collectives import (
    ALL_GATHER,
    ALL_REDUCE,
    BROADCAST,
    REDUCE_SCATTER,
    Call,
    CollectiveJob,
    Collectives,
)

from .program import AXIS
from .trainer import join, versions

WAYS: dict[str, tuple[Callable[[Any], Any], P]] = {  # of each shard, and how the results lie on the mesh
    ALL_REDUCE: (lambda x: lax.psum(x, AXIS), P()),
    # lax.pbroadcast has no lowering for a CPU.
    BROADCAST: (lambda x: lax.psum(jnp.where(lax.axis_index(AXIS) == 0, x, 0), AXIS), P()),
    ALL_GATHER: (lambda x: lax.all_gather(x, AXIS, tiled=True), P()),
    REDUCE_SCATTER: (lambda x: lax.psum_scatter(x, AXIS, tiled=True), P(AXIS)),
}


class JaxCollectives(Collectives):
    """See :class:`Collectives`; one device a process."""

    def __init__(self, job: CollectiveJob) -> None:
        self.mesh = Mesh(np.array(join(job)), (AXIS,))
        self.rank, self.world = jax.process_index(), jax.process_count()
        self.cuda = job.device == "cuda"
        self.ways = {name: self.jitted(*way) for name, way in WAYS.items()}
        self.everywhere = self.jitted(lambda x: lax.all_gather(x, AXIS, tiled=True), P())
        self.one = self.put(np.zeros(1, np.float32))

    def jitted(self, function: Callable[[Any], Any], out: P) -> Callable[[Any], Any]:
        return jax.jit(shard_map(function, mesh=self.mesh, in_specs=P(AXIS), out_specs=out, check_vma=False))

    def put(self, own: np.ndarray) -> Any:
        """Return this process's part of an array as a shard of it."""
        return jax.make_array_from_process_local_data(NamedSharding(self.mesh, P(AXIS)), own,
                                                      (self.world * own.shape[0],))

    def barrier(self) -> None:
        self.ways[ALL_REDUCE](self.one).block_until_ready()

    def gather(self, value: float) -> list[float]:
        found = self.everywhere(self.put(np.array([value], np.float32)))
        return [float(one) for one in np.asarray(found.addressable_data(0))]

    def call(self, collective: str, payloads: Sequence[np.ndarray], *, in_place: bool) -> Call:
        return JaxCall(self.ways[collective], [self.put(one) for one in payloads])

    def settings(self) -> dict[str, Any]:
        return {"engine": "XLA over " + ("NCCL" if self.cuda else "gloo"), "xla_flags": os.environ.get("XLA_FLAGS", ""),
                "intra_op_threads": int(os.environ.get("NPROC", 0))}

    def versions(self) -> dict[str, str]:
        return versions()


class JaxCall(Call):
    """A program that leaves arrays of its own."""

    def __init__(self, program: Callable[[Any], Any], payloads: Sequence[Any]) -> None:
        self.program, self.payloads = program, payloads
        self.found: Any = None

    def run(self, turn: int) -> None:
        self.found = self.program(self.payloads[turn])
        self.found.block_until_ready()

    def result(self) -> np.ndarray:
        return np.asarray(self.found.addressable_data(0))
