"""The pure functions of a data-parallel training: per shard under ``shard_map``, over a mesh of devices.

Nothing here needs a device: the same program is lowered for a topology that is not at hand (``topology.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, shard_map
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dlcompare.core.graph import Graph, Node
from dlcompare.core.plugins.backend import Arrays
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.optimiser import MOMENTUM, parse

from .ops import KERNEL, LAST, Context, Params, to_device_form, walk
from .optimisers import rule, shortened

AXIS = "data"
COMPUTE = {"fp32": jnp.float32, "tf32": jnp.float32, "bf16": jnp.bfloat16, "fp16": jnp.float16}
# Without it XLA takes tf32 on CUDA and one bfloat16 pass on a TPU for what is called float32.
MATMUL = {"fp32": "highest", "tf32": "tensorfloat32", "bf16": "default", "fp16": "default"}
GROWTH_STEPS = 2000  # good steps in a row, after which the loss scale doubles


class State(NamedTuple):
    """All that a step reads and moves. ``stats`` has a leading axis, a row for each shard's running statistics."""

    trained: Params
    still: Params  # trainable, but the loss does not reach them
    stats: Params
    velocity: Params
    second: Params  # moments of optimisers that have them
    scale: Any  # of the loss in fp16, else 1
    good: Any  # steps since the scale was changed
    step: Any
    taken: Any  # of the steps, those that were not skipped


SPECS = State(P(), P(), P(AXIS), P(), P(), P(), P(), P(), P())


@dataclass(frozen=True, eq=False)
class Program:
    """One network under one job, for any mesh."""

    graph: Graph
    job: Job
    mesh: Mesh

    @property
    def layout(self) -> str:
        return self.job.layout or "NHWC"  # measured on CPU: a fifth faster than NCHW with 64 channels, else alike

    @property
    def _needed(self) -> tuple[Node, ...]:
        return self.graph.needed("loss")

    def axes(self, name: str) -> tuple[int, ...] | None:
        """Return the transposition from a parameter's neutral layout to the stored one, if any."""
        return KERNEL[self.layout] if len(self.graph.params()[name].shape) == 4 else None

    def initial(self, params: Arrays) -> State:
        """Return the first state in host memory, in stored layouts."""
        declared, trained = self.graph.params(), self.graph.trained()
        kept = {k: np.array(v if self.axes(k) is None else v.transpose(self.axes(k)), np.float32)
                for k, v in params.items()}
        stats = {k: np.stack([kept[k]] * self.mesh.size) for k, p in declared.items() if not p.trained}
        weights = {k: kept[k] for k in trained}
        return State(
            trained=weights, still={k: v for k, v in kept.items() if k not in weights and k not in stats}, stats=stats,
            velocity={k: np.zeros_like(v) for k, v in weights.items()},
            scale=np.float32(self.job.loss_scale if self.job.precision == "fp16" else 1), good=np.int32(0),
            step=np.int32(0), taken=np.int32(0), second={} if parse(self.job.optimiser).name in MOMENTUM else
            {k: np.zeros_like(v) for k, v in weights.items()})

    def sharding(self, spec: P) -> NamedSharding:
        return NamedSharding(self.mesh, spec)

    def sharded(self, function: Callable[..., Any], specs: tuple[Any, ...], out: Any) -> Callable[..., Any]:
        """Return a per-shard function over the mesh. Its gradients are a shard's own: nothing is summed unasked."""
        return shard_map(function, mesh=self.mesh, in_specs=specs, out_specs=out, check_vma=False)

    def step(self) -> Callable[[State, dict[str, Array], Any], tuple[State, Array, Params]]:
        """Return (state, global batch, learning rate) -> (state, loss by shard, what is carried); it may overwrite."""
        return self._with_precision(self.sharded(self._step, (SPECS, P(AXIS), P()), (SPECS, P(AXIS), P(AXIS))))

    def forward(self) -> Callable[[State, dict[str, Array]], Array]:
        """Return (state, global batch) -> loss by shard, in training mode."""
        def loss(state: State, batch: dict[str, Array]) -> Array:
            return self._forward(state, state.trained, batch)[0][self.graph.outputs["loss"]][None]
        return self._with_precision(self.sharded(loss, (SPECS, P(AXIS)), P(AXIS)))

    def gradients(self) -> Callable[[State, dict[str, Array]], Params]:
        """Return (state, global batch) -> gradients averaged over the shards."""
        return self._with_precision(self.sharded(lambda s, b: self._backward(s, b)[0], (SPECS, P(AXIS)), P()))

    def activations(self) -> Callable[[State, dict[str, Array]], dict[str, Array]]:
        """Return (state, global batch) -> every node's result in training mode, scalars as one value a shard."""
        def forward(state: State, batch: dict[str, Array]) -> dict[str, Array]:
            values = self._forward(state, state.trained, batch)[0]
            return {name: value if value.ndim else value[None] for name, value in values.items()}
        return self._with_precision(self.sharded(forward, (SPECS, P(AXIS)), P(AXIS)))

    def predict(self) -> Callable[[Params, dict[str, Array]], dict[str, Array]]:
        """Return (all parameters, batch) -> outputs in evaluation mode, on one device."""
        def forward(params: Params, batch: dict[str, Array]) -> dict[str, Array]:
            values = walk(self.graph, self.graph.needed(), params, batch, self._context(train=False))
            return {name: values[node] for name, node in self.graph.outputs.items()}
        return self._with_precision(forward)

    def _with_precision(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with jax.default_matmul_precision(MATMUL[self.job.precision]):
                return function(*arguments)
        return call

    def _context(self, *, train: bool, key: Array | None = None) -> Context:
        return Context(train, self.layout, COMPUTE[self.job.precision], key, {})

    def _forward(self, state: State, trained: Params, batch: dict[str, Array]) -> tuple[dict[str, Array], Params]:
        """Return every node's result on a shard, and its moved running statistics."""
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self.job.seed), state.step), lax.axis_index(AXIS))
        context = self._context(train=True, key=key)
        stats = {k: v[0] for k, v in state.stats.items()}
        values = walk(self.graph, self._needed, trained | stats, batch, context)
        return values, stats | context.moved

    def _backward(self, state: State, batch: dict[str, Array]) -> tuple[Params, Array, Params, Params]:
        """Return the gradients averaged over the shards, and of this one loss, moved statistics, what it carries on."""
        def objective(trained: Params) -> tuple[Array, tuple[Array, Params, Params]]:
            values, moved = self._forward(state, trained, batch)
            loss = values[self.graph.outputs["loss"]]
            carried = {k: values[v].astype(jnp.float32) for k, v in self.graph.carried().items()}
            return loss * state.scale, (loss, moved, carried)

        scaled, (loss, moved, carried) = jax.grad(objective, has_aux=True)(state.trained)
        return jax.tree.map(lambda g: g / state.scale, lax.pmean(scaled, AXIS)), loss, moved, carried

    def _step(self, state: State, batch: dict[str, Array], lr: Array) -> tuple[State, Array, Params]:
        job = self.job
        gradients, loss, moved, carried = self._backward(state, batch)
        gradients = shortened(gradients, job.clip)
        taken, move = state.taken + 1, rule(job)
        moved_on = {k: move(w, gradients[k], state.velocity[k], state.second.get(k), lr, taken)
                    for k, w in state.trained.items()}
        trained, velocity, second = ({k: new[part] for k, new in moved_on.items()} for part in range(3))
        second = second if state.second else {}
        scale, good = state.scale, state.good
        if job.precision == "fp16":
            fine = jnp.stack([jnp.isfinite(g).all() for g in gradients.values()]).all()
            keep = partial(jnp.where, fine)
            trained, velocity, second, taken = (jax.tree.map(keep, new, old) for new, old in (
                (trained, state.trained), (velocity, state.velocity), (second, state.second), (taken, state.taken)))
            grown = good + 1 == GROWTH_STEPS
            scale = jnp.where(fine, jnp.where(grown, scale * 2, scale), scale / 2)
            good = jnp.where(fine & ~grown, good + 1, 0)
        stats = {k: v[None] for k, v in moved.items()}
        new = State(trained, state.still, stats, velocity, second, scale, good, state.step + 1, taken)
        return new, loss[None], carried

    def batch_shapes(self, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes and places of a global batch of so many samples, as ``place`` makes it."""
        found = {}
        for name, declared in self.graph.inputs.items():
            shape = (rows, *declared.shape)
            if len(shape) == 4 and self.layout == "NHWC":
                shape = tuple(shape[axis] for axis in LAST)
            dtype = to_device_form(np.zeros(1, declared.dtype), self.layout).dtype
            found[name] = jax.ShapeDtypeStruct(shape, dtype, sharding=self.sharding(P(AXIS)))
        return found
