"""One Horovod process: a Keras functional model whose whole optimiser step is, by default, one ``tf.function``."""

from __future__ import annotations

import gc
import os
import platform
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import horovod
import horovod.tensorflow as hvd
import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.util import _pywrap_util_port

from dlcompare.core.errors import JobError
from dlcompare.core.graph import Graph
from dlcompare.core.graph.ops.recurrent import runs
from dlcompare.core.machine.accelerators import cuda_uuids
from dlcompare.core.plugins.backend import AMPERE, Trainer, need_ampere
from dlcompare.core.plugins.collectives import CollectiveJob, Message
from dlcompare.core.plugins.job import Job

from .loss_scale import LossScale
from .messages import fused
from .ops import FIRST, LAST, POLICIES, network, stored_shape
from .optimisers import Optimiser

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays

INTER_OP_THREADS = 1


class TfTrainer(Trainer):
    """See :class:`Trainer`. ``step`` returns when the step is over, for ``tf.function`` runs synchronously on CPU."""

    def __init__(self, graph: Graph, params: Arrays, job: Job) -> None:
        join(job)
        self.graph, self.job = graph, job
        self.rank, self.world = hvd.rank(), hvd.size()
        self.device = "/GPU:0" if job.device == "cuda" else "/CPU:0"
        random.seed(job.seed * self.world + self.rank)  # seeds Keras' layers: dropout differs between ranks
        with tf.device(self.device):
            self.network = network(graph, job.precision)
            self._load(params)
            self.trained = {name: self.network.weights[name].variable for name in graph.trained()}
            self.optimiser = Optimiser(list(self.trained.values()), job)
        self.follows = graph.carried()
        self.carried: dict[str, Any] = {}
        self.model = self.network.model({graph.outputs["loss"], *self.follows.values()})
        self.scale = LossScale(job.loss_scale) if job.precision == "fp16" else None
        eager, xla = job.execution == "eager", job.execution == "compiled"
        self.train = self._train if eager else tf.function(self._train, autograph=False)
        self.derive = tf.function(self._derive, autograph=False, jit_compile=True) if xla else self._derive
        self.infer = self._infer if eager else tf.function(self._infer, autograph=False, jit_compile=xla or None)
        self.loss: Any = float("nan")

    def _load(self, params: Arrays) -> None:
        for name, weight in self.network.weights.items():
            if name not in params or params[name].shape != self.graph.params()[name].shape:
                raise JobError(f"parameter {name!r} is missing or has the wrong shape")
            weight.load(params[name])  # the same on every rank, so there is nothing to broadcast, which takes seconds

    def place(self, batch: Arrays) -> list[Any]:
        with tf.device(self.device):
            return [tf.constant(channels_last(batch[name])) for name in self.graph.inputs if name not in self.follows]

    def _place(self, batch: Arrays) -> list[Any]:
        with tf.device(self.device):
            return [tf.constant(channels_last(batch[name])) for name in self.graph.inputs]

    def _with_carried(self, placed: list[Any]) -> list[Any]:
        """Return a batch, in the order of the inputs, with what the step before has left, zeros before the first."""
        if not self.follows:
            return placed
        given, inputs = iter(placed), self.graph.inputs
        if not self.carried:
            with tf.device(self.device):
                self.carried = {name: tf.zeros((placed[0].shape[0], *stored_shape(inputs[name].shape)))
                                for name in self.follows}
        return [self.carried[name] if name in self.follows else next(given) for name in inputs]

    def step(self, placed: list[Any], lr: float) -> None:
        self.loss, self.carried = self.train(tf.constant(lr, tf.float32), self._with_carried(placed))

    def _train(self, lr: Any, inputs: list[Any]) -> tuple[Any, dict[str, Any]]:
        loss, gradients, carried = self._backward(inputs)
        if self.scale is None:
            self.optimiser.step(lr, gradients)
        else:
            tf.cond(self.scale.adjust(gradients), lambda: self.optimiser.step(lr, gradients), lambda: False)
        return loss, carried

    def _backward(self, inputs: list[Any]) -> tuple[Any, list[Any], dict[str, Any]]:
        """Return this rank's loss, the gradients, averaged over ranks, of trained parameters, and what is carried."""
        if self.job.execution == "compiled":  # XLA has no Horovod on a CPU: the all-reduce comes after it
            loss, gradients, carried = self.derive(inputs)
            gradients = [hvd.allreduce(g, op=hvd.Average) for g in gradients]
        else:
            loss, gradients, carried = self.derive(
                inputs, lambda tape: hvd.DistributedGradientTape(tape, sparse_as_dense=True))
        return loss, gradients if self.scale is None else self.scale.unscale(gradients), carried

    def _derive(self, inputs: list[Any], wrap: Callable[[Any], Any] = lambda tape: tape
                ) -> tuple[Any, list[Any], dict[str, Any]]:
        """Return as ``_backward``, the gradients by the tape that ``wrap`` makes of one, and times the loss scale."""
        with tf.GradientTape() as tape:
            loss, carried = self._infer(inputs)
            scaled = loss if self.scale is None else loss * self.scale.scale
        gradients = wrap(tape).gradient(scaled, list(self.trained.values()))
        return loss, [tf.convert_to_tensor(g) for g in gradients], carried

    def forward(self, placed: list[Any]) -> None:
        self.loss, _ = self.infer(self._with_carried(placed))

    def _infer(self, inputs: list[Any]) -> tuple[Any, dict[str, Any]]:
        """Return the loss, and the carried inputs of the next step."""
        found = self.model(inputs, training=True)
        carried = {name: tf.cast(found[result], tf.float32) for name, result in self.follows.items()}
        return found[self.graph.outputs["loss"]], carried

    def wait(self) -> float:
        return float(self.loss)

    def gather(self, value: float) -> list[float]:
        values = np.zeros(self.world)
        values[self.rank] = value
        return hvd.allreduce(tf.constant(values), op=hvd.Sum, name="dlcompare.gather").numpy().tolist()

    def predict(self, batch: Arrays) -> Arrays:
        found = self._evaluate(self._place(batch))
        return {name: channels_first(found[node]) for name, node in self.graph.outputs.items()}

    def activations(self, batch: Arrays) -> Arrays:
        with self._preserve_statistics():
            found = self._activate(self._with_carried(self.place(batch)))
        return {name: channels_first(value) for name, value in found.items()}

    def gradients(self, batch: Arrays) -> Arrays:
        with self._preserve_statistics():
            _, gradients, _ = self._differentiate(self._with_carried(self.place(batch)))
        return {k: self.network.weights[k].neutral(g) for k, g in zip(self.trained, gradients, strict=True)}

    @cached_property
    def _evaluate(self) -> Callable[[list[Any]], Any]:
        model = self.network.model(set(self.graph.outputs.values()))
        return self._traced(lambda inputs: model(inputs, training=False))

    @cached_property
    def _activate(self) -> Callable[[list[Any]], Any]:
        model = self.network.model([name for node in self.graph.needed("loss") for name in node.results])
        return self._traced(lambda inputs: model(inputs, training=True))

    @cached_property
    def _differentiate(self) -> Callable[[list[Any]], Any]:
        return self._traced(self._backward)

    def _traced(self, function: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
        """Return a function of the inputs traced once for every batch size; as it is, under eager execution."""
        if self.job.execution == "eager":
            return function
        declared = self.graph.inputs.values()
        signature = [tf.TensorSpec((None, *stored_shape(i.shape)), i.dtype) for i in declared]
        return tf.function(function, input_signature=[signature], autograph=False)

    @contextmanager
    def _preserve_statistics(self) -> Iterator[None]:
        """Put the running statistics back afterwards."""
        declared = self.graph.params()
        before = [(w.variable, w.variable.numpy()) for k, w in self.network.weights.items() if not declared[k].trained]
        yield
        for variable, value in before:
            variable.assign(value)

    def params(self) -> Arrays:
        return {name: weight.neutral(weight.variable) for name, weight in self.network.weights.items()}

    def messages(self, placed: list[Any]) -> list[Message]:
        return fused(lambda: self.step(placed, 0.0))

    def settings(self) -> dict[str, Any]:
        cuda = self.job.device == "cuda"
        return {
            "layout": "NHWC",
            "execution": self.job.execution or "graph",
            "compiler": "xla" if self.job.execution == "compiled" else None,
            "precision_policy": POLICIES[self.job.precision],
            "loss_scale": None if self.scale is None else float(self.scale.scale),  # as it is now
            **({"recurrent": f"Keras: {'cuDNN' if cuda else 'a loop of operators'}"} if runs(self.graph) else {}),
            "batch_norm_running_variance": "unbiased",
            "all_reduce": "nccl" if cuda and hvd.nccl_built() else "gloo",
            "gradient_buckets": f"Horovod, {int(os.environ.get('HOROVOD_FUSION_THRESHOLD', 128 << 20)) >> 20} MiB",
            "all_reduce_cycle_ms": float(os.environ.get("HOROVOD_CYCLE_TIME", 1)),
            "buffers_broadcast": False,
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
            "onednn": _pywrap_util_port.IsMklEnabled(),
            "tf32": cuda and tf.config.experimental.tensor_float_32_execution_enabled(),
            "autotune": cuda and os.environ.get("TF_CUDNN_USE_AUTOTUNE", "1") != "0",
        }

    def versions(self) -> dict[str, str]:
        return versions()

    def peak_bytes(self) -> int | None:
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] if self.job.device == "cuda" else None

    def device_ids(self) -> tuple[str, ...] | None:
        """Return the UUIDs of the visible GPUs: TensorFlow numbers physical ones ("/physical_device:GPU:1") as CUDA."""
        visible = tf.config.get_visible_devices("GPU") if self.job.device == "cuda" else []
        return cuda_uuids(int(one.name.rpartition(":")[2]) for one in visible)

    def close(self) -> None:
        for name in ("network", "model", "trained", "optimiser", "train", "derive", "infer", "scale", "carried",
                     "_evaluate", "_activate", "_differentiate"):
            vars(self).pop(name, None)
        tf.keras.backend.clear_session()
        gc.collect()


def versions() -> dict[str, str]:
    """Return the versions of what computes, whatever is measured: lines of collectives are found by them."""
    return {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__,
            "horovod": horovod.__version__, "numpy": np.__version__}


def join(job: Job | CollectiveJob) -> None:
    """Join Horovod's group, once per process, before TensorFlow starts its threads and touches a device."""
    if hvd.is_initialized():
        return
    tf.config.threading.set_intra_op_parallelism_threads(job.threads)
    tf.config.threading.set_inter_op_parallelism_threads(INTER_OP_THREADS)
    tf.config.experimental.enable_tensor_float_32_execution(job.precision == "tf32")  # fp32 means fp32
    tf.get_logger().setLevel("ERROR")  # "excessive retracing": several trainers in one process is no mistake here
    hvd.init()
    cards = tf.config.list_physical_devices("GPU") if job.device == "cuda" else []
    mine = cards[hvd.local_rank():hvd.local_rank() + 1]
    if job.device == "cuda" and not mine:
        raise JobError(f"worker {hvd.rank()} finds no GPU of its own: TensorFlow sees {len(cards)}; use fewer workers")
    tf.config.set_visible_devices(mine, "GPU")
    for card in mine:
        about = tf.config.experimental.get_device_details(card)
        need_ampere(job, about.get("device_name", "the GPU"), about.get("compute_capability", AMPERE))
        tf.config.experimental.set_memory_growth(card, True)


def channels_last(array: np.ndarray) -> np.ndarray:
    """Return an image batch in one contiguous piece with the channels last, any other array as it is."""
    return np.ascontiguousarray(array.transpose(LAST)) if array.ndim == 4 else array


def channels_first(tensor: Any) -> np.ndarray:
    """Return a result as float32, images with the channels first."""
    array = tf.cast(tensor, tf.float32).numpy()
    return np.ascontiguousarray(array.transpose(FIRST)) if array.ndim == 4 else array
