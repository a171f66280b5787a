"""One MXNet process: a hybridised Gluon block, gradients summed over workers, SGD by MXNet's fused kernel."""

from __future__ import annotations

import functools
import gc
import os
import platform
from typing import TYPE_CHECKING, Any

import mxnet as mx
import numpy as np
from mxnet import autograd, nd
from mxnet.contrib import amp

from dlcompare.core.errors import JobError
from dlcompare.core.graph import Graph
from dlcompare.core.graph.ops.recurrent import runs
from dlcompare.core.plugins.backend import Trainer
from dlcompare.core.plugins.collectives import ALL_REDUCE, Message
from dlcompare.core.plugins.job import Job

from .exchange import Exchange, KvStore
from .ops import Network, build, parameters
from .optimisers import optimiser
from .statistics import Statistics

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays


class MxnetTrainer(Trainer):
    """See :class:`Trainer`. ``step`` returns when its ops are queued, and queues at most one step ahead."""

    def __init__(self, graph: Graph, params: Arrays, job: Job) -> None:
        self.graph, self.job = graph, job
        self.exchange = self._join()
        self.rank, self.world = self.exchange.rank, self.exchange.world
        mx.random.seed(job.seed * self.world + self.rank)  # dropout differs between ranks
        if job.precision == "bf16":
            amp.init("bfloat16")  # rewrites MXNet's operators for the rest of the process; the second time does nothing
        self.blocks = build(graph)
        self.parameters = parameters(graph, self.blocks)
        self._load(params)
        self.gradient = {name: self.parameters[name].grad() for name in graph.trained()}
        weights = {name: self.parameters[name].data() for name in self.gradient}
        self.exchange.start(weights)
        self.optimiser = optimiser(list(weights.values()), list(self.gradient.values()), job)
        self.statistics = Statistics(graph, self.parameters)
        self.follows = graph.carried()
        self.carried: dict[str, Any] = {}
        self.made: dict[str, Any] = {}  # of the last pass, which a step carries on
        self.network = self._network("loss", values=[graph.outputs["loss"], *self.follows.values()],
                                     static_alloc=True, static_shape=True)
        self.loss = nd.zeros(1)

    def _join(self) -> Exchange:
        return KvStore() if self.job.workers > 1 else Exchange()

    def _load(self, params: Arrays) -> None:
        declared, trained = self.graph.params(), self.graph.trained()
        for name, parameter in self.parameters.items():
            if name not in params or params[name].shape != declared[name].shape:
                raise JobError(f"parameter {name!r} is missing or has the wrong shape")
            parameter.grad_req = "write" if name in trained else "null"
            parameter.initialize(init=mx.init.Zero())
            parameter.set_data(nd.array(params[name]))

    def _network(self, *outputs: str, values: list[str] | None = None, **how: bool) -> Network:
        """Return the block of what some outputs need; it results in them, or in the nodes ``values``."""
        found = values or [self.graph.outputs[name] for name in outputs]
        network = Network(self.graph, self.graph.needed(*outputs), found, blocks=self.blocks)
        if self.job.execution != "eager":
            network.hybridize(**how)
        return network

    def place(self, batch: Arrays) -> dict[str, Any]:
        return self._place({k: v for k, v in batch.items() if k not in self.follows})

    def _place(self, batch: Arrays) -> dict[str, Any]:
        wide = "int32" if self.job.precision == "bf16" else "int64"  # AMP casts int64 by oneDNN, which cannot
        return {name: nd.array(value, dtype=wide if value.dtype == np.int64 else value.dtype)
                for name, value in batch.items()}

    def step(self, placed: dict[str, Any], lr: float) -> None:
        self.loss.wait_to_read()  # else Python queues steps, and holds their batches, without an end
        self.statistics.divide_for(len(next(iter(placed.values()))))
        self._backward(placed)
        self.carried = self.made
        self.optimiser.step(lr)

    def _backward(self, placed: dict[str, Any]) -> None:
        """Start to compute the loss, and the gradients summed over workers."""
        with autograd.record():
            self.loss, *made = run(self.network, self._with_carried(placed))
        self.loss.backward()
        self.made = {name: value.detach() for name, value in zip(self.follows, made, strict=True)}
        self.exchange.add(self.gradient)

    def _with_carried(self, placed: dict[str, Any]) -> dict[str, Any]:
        """Return a batch with what the step before has left, zeros before the first."""
        rows = len(next(iter(placed.values())))
        return placed | {name: self.carried[name] if self.carried else nd.zeros((rows, *self.graph.inputs[name].shape))
                         for name in self.follows}

    def forward(self, placed: dict[str, Any]) -> None:
        self.loss.wait_to_read()
        with autograd.train_mode():
            self.loss, *_ = run(self.network, self._with_carried(placed))

    def wait(self) -> float:
        nd.waitall()
        return float(self.loss.asscalar())

    def gather(self, value: float) -> list[float]:
        values = nd.zeros(self.world, dtype="float64")
        values[self.rank] = value
        self.exchange.add_now(values)
        return values.asnumpy().tolist()

    def predict(self, batch: Arrays) -> Arrays:
        with self.statistics.in_use():
            found = self._results(self._evaluator, self._place(batch))
        return {name: found[node] for name, node in self.graph.outputs.items()}

    @functools.cached_property
    def _evaluator(self) -> Network:
        return self._network(*self.graph.outputs)

    def activations(self, batch: Arrays) -> Arrays:
        nodes = [name for node in self.graph.needed("loss") for name in node.results]
        network = self._network("loss", values=nodes)
        with self.statistics.preserve(), autograd.train_mode():
            return self._results(network, self._with_carried(self.place(batch)))

    def _results(self, network: Network, placed: dict[str, Any]) -> Arrays:
        """Return a network's results by node name; MXNet has no scalars, but arrays of one element."""
        found = run(network, placed)
        scalar = {node.name for node in self.graph.nodes if not node.shape}
        return {name: value.astype("float32").asnumpy().reshape(() if name in scalar else value.shape)
                for name, value in zip(network.outputs, found, strict=True)}

    def gradients(self, batch: Arrays) -> Arrays:
        with self.statistics.preserve():
            self._backward(self.place(batch))
            return {name: gradient.asnumpy() / self.world for name, gradient in self.gradient.items()}

    def params(self) -> Arrays:
        with self.statistics.in_use():
            return {name: parameter.data().asnumpy() for name, parameter in self.parameters.items()}

    def messages(self, placed: dict[str, Any]) -> list[Message]:
        with self.exchange.watched() as pushed:
            self.step(placed, 0.0)
            self.wait()
        return [Message(ALL_REDUCE, value.size * np.dtype(value.dtype).itemsize, 1) for value in pushed]

    def settings(self) -> dict[str, Any]:
        graph = self.job.execution != "eager"
        return {
            "layout": "NCHW",
            "amp": "bfloat16" if self.job.precision == "bf16" else None,
            "execution": self.job.execution or "graph",
            "static_alloc": graph,
            "static_shape": graph,
            **({"recurrent": "the fused operator RNN"} if runs(self.graph) else {}),
            "batch_norm_running_variance": "unbiased",
            **self.exchange.settings(),
            "buffers_broadcast": False,
            "intra_op_threads": int(os.environ["OMP_NUM_THREADS"]),
            "engine": os.environ.get("MXNET_ENGINE_TYPE", "ThreadedEnginePerDevice"),
            "engine_threads": int(os.environ["MXNET_CPU_WORKER_NTHREADS"]),
            "onednn": mx.runtime.Features().is_enabled("MKLDNN"),
            "tf32": False,
            "autotune": False,
        }

    def versions(self) -> dict[str, str]:
        return versions()

    def close(self) -> None:
        vars(self).clear()
        gc.collect()  # blocks refer to themselves


def versions() -> dict[str, str]:
    """Return the versions of what computes, whatever is measured: lines of collectives are found by them."""
    return {"python": platform.python_version(), "mxnet": mx.__version__, "numpy": np.__version__}


def run(network: Network, placed: dict[str, Any]) -> list[Any]:
    return network(*[placed[name] for name in network.inputs])
