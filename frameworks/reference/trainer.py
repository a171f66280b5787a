"""The oracle's trainer: walks the graph node by node in float64, for one worker or an emulated group."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.errors import JobError
from dlcompare.core.graph import Graph, Node
from dlcompare.core.plugins.backend import Trainer
from dlcompare.core.plugins.job import Job, decay_of
from dlcompare.core.plugins.optimiser import MOMENTUM, parse

from .ops import TABLE
from .optimisers import TABLE as DIRECTIONS
from .optimisers import Asked, Direction, shortened
from .unit import Array, Call, Op

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays

Noise = Callable[[np.ndarray], np.ndarray]


@dataclass
class Tape:
    """What one forward pass leaves behind: every value by name, and each node's call with what its backward needs."""

    values: Arrays
    calls: list[tuple[Node, Call, Any]] = field(default_factory=list)


class ReferenceTrainer(Trainer):
    """Trains in float64; parameters, outputs, activations and gradients come back as float64, never rounded.

    Args:
        replicas: how many data-parallel workers to emulate. A batch is then the *global* batch, split evenly in rank
            order: batch-norm statistics are per replica, gradients and loss the mean over replicas, activations the
            replicas' joined along the batch axis, and ``params`` and ``predict`` use rank 0's running statistics.
        table: the ops by name; a test puts a wrong op into a copy of it.
        noise: applied to every op's result and to every gradient array an op's backward makes; returns a new array.
            Multiplying by ``1 + eps * u`` shows what a precision of ``eps`` does to a network.

    Raises:
        JobError: a parameter is missing or misshapen, or there are no replicas.
    """

    def __init__(self, graph: Graph, params: Arrays, job: Job, *, replicas: int = 1,
                 table: Mapping[str, Op] = TABLE, noise: Noise | None = None) -> None:
        if replicas < 1:
            raise JobError(f"the reference emulates at least one worker, not {replicas}")
        check_params(graph, params)
        self.graph, self.job, self.table, self.replicas = graph, job, table, replicas
        self.noise: Noise = noise or (lambda array: array)
        declared = graph.params()
        self.weights = {k: np.array(params[k], np.float64) for k, p in declared.items() if p.trained}
        statistics = {k: np.array(params[k], np.float64) for k, p in declared.items() if not p.trained}
        self.statistics = [dict(statistics) for _ in range(replicas)]
        adaptive = parse(job.optimiser).name not in MOMENTUM
        self.velocity = {k: np.zeros_like(self.weights[k]) for k in graph.trained()}
        self.second = {k: np.zeros_like(v) for k, v in self.velocity.items()} if adaptive else self.velocity
        self.updates = 0  # optimiser steps
        self.carried: list[Arrays] = [{} for _ in range(replicas)]  # from the step before
        self.directions: Mapping[str, Direction] = DIRECTIONS  # a test puts a wrong one into a copy
        self.loss = float("nan")

    def place(self, batch: Arrays) -> Arrays:
        """Return the batch in float64 and int64, but for what is carried; JobError if one is missing or misshapen."""
        return self.widened(batch, self.graph.inputs.keys() - self.graph.carried().keys())

    def widened(self, batch: Arrays, names: Collection[str]) -> Arrays:
        placed = {}
        for name, declared in ((k, v) for k, v in self.graph.inputs.items() if k in names):
            if name not in batch:
                raise JobError(f"the batch has no input {name!r}; it has: {', '.join(sorted(batch)) or 'none'}")
            if batch[name].shape[1:] != declared.shape:
                raise JobError(f"input {name!r} has shape {batch[name].shape}, not {('batch', *declared.shape)}")
            placed[name] = np.asarray(batch[name], np.float64 if declared.dtype.startswith("float") else np.int64)
        if len({len(array) for array in placed.values()}) != 1:
            raise JobError(f"the inputs differ in batch size: { {k: len(v) for k, v in placed.items()} }")
        return placed

    def step(self, placed: Arrays, lr: float) -> None:
        tapes, gradients = self.differentiate(placed)
        for rank, tape in enumerate(tapes):
            self.follow(tape, rank=rank)
            self.carry(tape, rank=rank)
        self.update(gradients, lr)
        self.loss = float(np.mean([tape.values[self.graph.outputs["loss"]] for tape in tapes]))

    def forward(self, placed: Arrays) -> None:
        tapes = self.passes(placed, self.graph.needed("loss"))
        self.loss = float(np.mean([tape.values[self.graph.outputs["loss"]] for tape in tapes]))

    def wait(self) -> float:
        """Return the last step's loss, the mean over replicas; NaN before the first step."""
        return self.loss

    def gather(self, value: float) -> list[float]:
        return [value]

    def predict(self, batch: Arrays) -> Arrays:
        tape = self.run(self.widened(batch, self.graph.inputs), nodes=self.graph.needed(), training=False)
        return {name: tape.values[node] for name, node in self.graph.outputs.items()}

    def activations(self, batch: Arrays) -> Arrays:
        nodes = self.graph.needed()
        tapes = self.passes(self.place(batch), nodes)
        return {name: join([tape.values[name] for tape in tapes]) for n in nodes for name in n.results}

    def gradients(self, batch: Arrays) -> Arrays:
        return self.differentiate(self.place(batch))[1]

    def params(self) -> Arrays:
        state = self.state(rank=0)
        return {name: state[name].copy() for name in self.graph.params()}

    def settings(self) -> dict[str, Any]:
        return {"execution": "numpy, node by node", "layout": "channels first", "arithmetic": "float64",
                "threads": self.job.threads, "emulated_workers": self.replicas}

    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__}

    def differentiate(self, placed: Arrays) -> tuple[list[Tape], Arrays]:
        """Return each replica's forward pass on its share of a batch, and the gradients of the mean loss."""
        tapes = self.passes(placed, self.graph.needed("loss"))
        return tapes, self.average([self.backward(tape) for tape in tapes])

    def passes(self, placed: Arrays, nodes: Sequence[Node]) -> list[Tape]:
        """Return each replica's forward pass on its share of a batch; changes no state."""
        return [self.run(share, nodes=nodes, rank=rank) for rank, share in enumerate(self.shares(placed))]

    def begin(self, share: Arrays, *, rank: int) -> Arrays:
        """Return the carried inputs of a replica, where its share has none: what the step before left, or zeros."""
        rows = len(next(iter(share.values())))
        return {name: self.carried[rank].get(name, np.zeros((rows, *self.graph.inputs[name].shape)))
                for name in self.graph.carried()}

    def carry(self, tape: Tape, *, rank: int) -> None:
        self.carried[rank] = {name: tape.values[result] for name, result in self.graph.carried().items()}

    def average(self, shares: Sequence[Arrays]) -> Arrays:
        """Return the mean of the replicas' gradients; here a test makes them a sum."""
        return {name: mean(share[name] for share in shares) for name in self.velocity}

    def update(self, gradients: Arrays, lr: float) -> None:
        """Apply one step of the job's optimiser to the trained parameters."""
        self.updates += 1
        gradients = shortened(gradients, self.job.clip)
        optimiser = parse(self.job.optimiser)
        for name, velocity in self.velocity.items():
            weight = self.weights[name]
            asked = Asked(optimiser, self.job.momentum, decay_of(self.job, velocity.shape), self.updates)
            weight -= lr * self.directions[optimiser.name](asked, weight, gradients[name], velocity, self.second[name])

    def follow(self, tape: Tape, *, rank: int) -> None:
        """Move a replica's running statistics on by one training pass."""
        for node, call, saved in tape.calls:
            running = self.table[node.op].running(call, saved)
            self.statistics[rank].update({node.param_name(k): v for k, v in running.items()})

    def shares(self, placed: Arrays) -> list[Arrays]:
        """Split a global batch into the replicas' shares, in rank order."""
        size = len(next(iter(placed.values())))
        if not size or size % self.replicas:
            raise JobError(f"a global batch of {size} does not divide among {self.replicas} workers")
        part = size // self.replicas
        return [{k: v[r * part:(r + 1) * part] for k, v in placed.items()} for r in range(self.replicas)]

    def state(self, *, rank: int) -> Mapping[str, Array]:
        return {**self.weights, **self.statistics[rank]}

    def operands(self, *, rank: int) -> Mapping[str, Array]:
        """Return what a replica's ops compute with."""
        return self.state(rank=rank)

    def run(self, share: Arrays, *, nodes: Iterable[Node], rank: int = 0, training: bool = True) -> Tape:
        """Run the nodes in order on one replica's share; changes no state."""
        state, tape = self.operands(rank=rank), Tape(self.begin(share, rank=rank) | share)
        for node in nodes:
            inputs = tuple(tape.values[name] for name in node.inputs)
            call = Call(node.name, node.attrs, inputs, {k: state[node.param_name(k)] for k in node.params}, training)
            result, saved = self.table[node.op].forward(call)
            tape.values.update({k: self.noise(v) for k, v in node.named(result).items()})
            tape.calls.append((node, call, saved))
        return tape

    def backward(self, tape: Tape) -> Arrays:
        """Return the loss's gradient by parameter name; what a value's users send back is added up, parameters too."""
        values, params = {self.graph.outputs["loss"]: np.ones(())}, dict[str, Array]()
        for node, call, saved in reversed(tape.calls):
            if values.keys().isdisjoint(node.results):
                continue  # whole numbers, whose readers send nothing back
            inputs, own = self.table[node.op].backward(call, saved, self.sent_back(node, tape, values))
            self.add_up(params, ((node.param_name(k), v) for k, v in own.items()))
            self.add_up(values, ((k, v) for k, v in zip(node.inputs, inputs, strict=True) if v is not None))
        return params

    def sent_back(self, node: Node, tape: Tape, values: Arrays) -> Any:
        """Take out the gradient of a node's result; of several all of them, zeros for one that nobody reads."""
        if not node.more:
            return values.pop(node.name)
        return tuple(values.pop(name) if name in values else np.zeros_like(tape.values[name]) for name in node.results)

    def add_up(self, total: Arrays, gradients: Iterable[tuple[str, Array]]) -> None:
        """Add gradients to those of the same name; here a test lets the last one count alone."""
        for name, grad in gradients:
            total[name] = total[name] + self.noise(grad) if name in total else self.noise(grad)


def check_params(graph: Graph, params: Arrays) -> None:
    """Raise JobError naming the first parameter of the graph that is missing or misshapen."""
    for name, declared in graph.params().items():
        if name not in params:
            raise JobError(f"parameter {name!r} of {graph.name!r} is missing")
        if np.shape(params[name]) != declared.shape:
            raise JobError(f"parameter {name!r} has shape {np.shape(params[name])}, not {declared.shape}")


def mean(arrays: Iterable[Array]) -> Array:
    first, *others = arrays
    return sum(others, start=first) / (1 + len(others)) if others else first


def join(parts: Sequence[Array]) -> Array:
    """Join the replicas' values along the batch axis; of scalars, which have none, take the mean."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts[0].ndim else np.asarray(np.mean(parts))
