"""One PyTorch process of a data-parallel job: the graph as one ``torch.fx`` module, DDP, SGD."""

from __future__ import annotations

import atexit
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch._dynamo  # DistributedDataParallel imports it when it is made: seconds that are none of building
import torch.distributed as dist
from torch import Tensor, fx
from torch.nn.parallel import DistributedDataParallel

from dlcompare.core.graph import Graph
from dlcompare.core.graph.ops.recurrent import runs
from dlcompare.core.plugins.backend import Arrays, Trainer, need_ampere
from dlcompare.core.plugins.collectives import CollectiveJob, Message
from dlcompare.core.plugins.job import Job

from .compiler import compile_module, compiler_settings
from .messages import buckets
from .module import build, fx_graph, path, target, tie
from .optimisers import optimiser, shorten

JOIN_SECONDS = 300  # a rank that has not joined by then never will
LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}  # what autocast computes in
GROWTH_STEPS = 2000  # good steps in a row after which the loss scale doubles; see docs/semantics.md


class TorchTrainer(Trainer):
    """See :class:`dlcompare.core.plugins.backend.Trainer` for the contract."""

    def __init__(self, graph: Graph, params: Arrays, job: Job) -> None:
        self.graph, self.job = graph, job
        self.device = self._join()
        torch.manual_seed(job.seed * self.world + self.rank)  # dropout differs between ranks
        self.layout = layout(graph, job)
        with torch.device("meta"):  # as there is no use in drawing parameters that are loaded at once
            modules = build(graph)
        self.evaluator = fx.GraphModule(modules, fx_graph(graph, graph.needed(), list(graph.outputs)))
        self.follows = {name: spec.follows for name, spec in graph.inputs.items() if spec.follows is not None}
        self.module = fx.GraphModule(modules, fx_graph(graph, graph.needed("loss"), ["loss", *self.follows.values()]))
        self._load(params)
        self.weights = {name: self.evaluator.get_parameter(target(name))
                        for name, declared in graph.params().items() if declared.trained}
        for name, parameter in self.weights.items():
            parameter.requires_grad_(name in graph.trained())
        self.parallel = self._parallel()
        self.optimiser = optimiser(self.module, job)
        # One check decides for every rank alike: it reads gradients that have been all-reduced.
        self.scaler = torch.amp.GradScaler(self.device.type, init_scale=job.loss_scale, growth_interval=GROWTH_STEPS,
                                           enabled=job.precision == "fp16")
        self.copies = torch.cuda.Stream() if self.device.type == "cuda" else None
        self.loss = torch.zeros(())
        self.carried, self.made = dict[str, Tensor](), dict[str, Tensor]()  # of the last step, of the last pass

    def _join(self) -> torch.device:
        """Become one of the processes of the job; return this one's device."""
        device = join(self.job)
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        return device

    def _parallel(self) -> Callable[..., dict[str, Tensor]]:
        """Return what trains the module on all devices of the job."""
        ids = [self.device.index] if self.job.device == "cuda" else None
        # Every rank has loaded the same arrays, so there is nothing to broadcast at the start.
        parallel = DistributedDataParallel(self.module, device_ids=ids, init_sync=False)
        return compile_module(parallel, rank=self.rank) if self.job.execution == "compiled" else parallel

    def _load(self, params: Arrays) -> None:
        state = {target(name): torch.from_numpy(np.array(value)) for name, value in params.items()}
        state |= {name: torch.zeros_like(buffer, device="cpu") for name, buffer in self.evaluator.named_buffers()
                  if name.endswith("num_batches_tracked")}
        missing, unexpected = self.evaluator.load_state_dict(state, strict=False, assign=True)
        tie(self.graph, self.evaluator)  # assigning has parted them
        shared = {f"{path(node.name)}.{local}" for node in self.graph.nodes for local in node.shared}
        wrong = [*(name for name in missing if name not in shared), *unexpected]
        if wrong:
            raise ValueError(f"parameters do not fit the graph: {', '.join(wrong)}")
        self.evaluator.to(device=self.device, memory_format=self.layout)

    def place(self, batch: Arrays) -> dict[str, Tensor]:
        return self._place({k: v for k, v in batch.items() if k not in self.follows})

    def _place(self, batch: Arrays) -> dict[str, Tensor]:
        if self.copies is None:
            return {k: self._tensor(v) for k, v in batch.items()}
        with torch.cuda.stream(self.copies):
            placed = {k: self._tensor(v) for k, v in batch.items()}
        self.copies.synchronize()  # blocks the feeding thread alone
        for tensor in placed.values():
            tensor.record_stream(torch.cuda.default_stream())
        return placed

    def _tensor(self, array: np.ndarray) -> Tensor:
        host = torch.from_numpy(np.ascontiguousarray(array))
        if self.copies is not None:
            host = host.pin_memory().to(self.device, non_blocking=True)
        return host.contiguous(memory_format=self.layout) if host.ndim == 4 else host

    @contextmanager
    def _precision(self) -> Iterator[None]:
        low = LOW.get(self.job.precision)
        with torch.autocast(self.device.type, low, enabled=low is not None):
            yield

    def _backward(self, placed: dict[str, Tensor]) -> Tensor:
        """Leave the gradients, averaged over ranks and times the loss scale, in the parameters; return the loss."""
        self.optimiser.zero_grad(set_to_none=True)
        with self._precision():
            loss = self._mean_loss(placed)
        self.scaler.scale(loss).backward()
        return loss.detach()

    def _mean_loss(self, placed: dict[str, Tensor]) -> Tensor:
        found = self.parallel(**self._with_carried(placed))
        self.made = {name: found[output].detach().float() for name, output in self.follows.items()}
        return found["loss"]

    def _with_carried(self, placed: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a batch with what the step before has left, zeros before the first."""
        rows = len(next(iter(placed.values())))
        return placed | {name: self.carried[name] if self.carried else torch.zeros(
            (rows, *self.graph.inputs[name].shape), device=self.device) for name in self.follows}

    def step(self, placed: dict[str, Tensor], lr: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.loss = self._backward(placed)
        self.carried = self.made
        if self.job.clip is not None:
            self.scaler.unscale_(self.optimiser)  # nothing without fp16
            shorten(self.optimiser, self.job.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()

    def forward(self, placed: dict[str, Tensor]) -> None:
        with torch.no_grad(), self._precision():
            self.loss = self._mean_loss(placed)

    def wait(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.loss.item()

    def gather(self, value: float) -> list[float]:
        values = torch.zeros(self.world, dtype=torch.float64, device=self.device)
        values[self.rank] = value
        dist.all_reduce(values)
        return values.tolist()

    def predict(self, batch: Arrays) -> Arrays:
        self.evaluator.eval()
        with torch.no_grad(), self._precision():
            outputs = self.evaluator(**self._place(batch))
        self.evaluator.train()
        return {k: array(v) for k, v in outputs.items()}

    def activations(self, batch: Arrays) -> Arrays:
        seen: Arrays = {}
        nodes = {path(n.name): n for n in self.graph.nodes}

        class Watch(fx.Interpreter):
            def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
                result = super().call_module(target, args, kwargs)
                # Now: a later op may overwrite it in place.
                seen.update({name: array(value) for name, value in nodes[target].named(result).items()})
                return result

        with self._preserve_statistics(), torch.no_grad(), self._precision():
            Watch(self.module).run(*self._in_order(self._with_carried(self.place(batch))))
        return seen

    def _in_order(self, placed: dict[str, Tensor]) -> list[Tensor]:
        return [placed[n.target] for n in self.module.graph.nodes if n.op == "placeholder"]

    def gradients(self, batch: Arrays) -> Arrays:
        with self._preserve_statistics():
            self._backward(self.place(batch))
        scale = self.scaler.get_scale()
        found = {name: array(self.weights[name].grad / scale) for name in self.graph.trained()}
        self.optimiser.zero_grad(set_to_none=True)
        return found

    @contextmanager
    def _preserve_statistics(self) -> Iterator[None]:
        """Put the running statistics back afterwards."""
        before = {k: v.clone() for k, v in self.module.named_buffers()}
        yield
        for name, buffer in self.module.named_buffers():
            buffer.copy_(before[name])

    def params(self) -> Arrays:
        state = self.evaluator.state_dict()
        return {name: array(state[target(name)]) for name in self.graph.params()}

    def messages(self, placed: dict[str, Tensor]) -> list[Message]:
        if not isinstance(self.parallel, DistributedDataParallel):
            return super().messages(placed)
        return buckets(self.parallel, lambda: self.step(placed, 0.0))

    def settings(self) -> dict[str, Any]:
        cuda, low = self.device.type == "cuda", LOW.get(self.job.precision)
        return {
            "layout": "NHWC" if self.layout is torch.channels_last else "NCHW",
            "execution": self.job.execution or "eager",
            **(compiler_settings() if self.job.execution == "compiled" else {}),
            "autocast": str(low).removeprefix("torch.") if low else None,
            "loss_scale": self.scaler.get_scale() if self.scaler.is_enabled() else None,  # as it is now
            **self._parallel_settings(),
            "intra_op_threads": torch.get_num_threads(),
            "inter_op_threads": torch.get_num_interop_threads(),
            **({"recurrent": "torch.nn.LSTM, torch.nn.GRU: fused kernels"} if runs(self.graph) else {}),
            "onednn": torch.backends.mkldnn.is_available(),
            "tf32": cuda and torch.backends.cudnn.allow_tf32,
            "autotune": cuda and torch.backends.cudnn.benchmark,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        }

    def _parallel_settings(self) -> dict[str, Any]:
        return {"all_reduce": dist.get_backend(), "gradient_buckets": "DistributedDataParallel, 25 MiB",
                "buffers_broadcast": True}

    def versions(self) -> dict[str, str]:
        return versions(self.device)

    def peak_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None

    def device_ids(self) -> tuple[str, ...] | None:
        devices = self._devices() if self.device.type == "cuda" else []
        found = [str(getattr(torch.cuda.get_device_properties(one), "uuid", "")) for one in devices]
        return tuple(found) if all(found) else None

    def _devices(self) -> list[int]:
        """Return the numbers of the GPUs that this process trains on."""
        return [self.device.index]

    def close(self) -> None:
        if self.job.execution == "compiled":
            torch.compiler.reset()  # what was compiled for one trainer is of no use to the next


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy().copy()


def layout(graph: Graph, job: Job) -> torch.memory_format:
    """Return how images lie in memory: as the job asks for, else as is fastest."""
    if not any(node.op == "conv" for node in graph.nodes):
        return torch.contiguous_format
    # On CPU channels-last was 1.1 times faster (ResNet-50, fp32); on CUDA it is a guess, untested, for 16 bits.
    usual = "NHWC" if job.device == "cpu" or job.precision in LOW else "NCHW"
    return torch.channels_last if (job.layout or usual) == "NHWC" else torch.contiguous_format


def versions(device: torch.device) -> dict[str, str]:
    """Return the versions of what computes, whatever is measured: lines of collectives are found by them."""
    found = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    if device.type == "cuda":
        found |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    return found


def join(job: Job | CollectiveJob) -> torch.device:
    """Join the process group, once per process, and return this rank's device."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local) if job.device == "cuda" else torch.device("cpu")
    if dist.is_initialized():
        return device
    prepare(job, device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(seconds=JOIN_SECONDS))
    # Gloo aborts now and then while a process ends ("terminate called without an active exception"): 5 of 12 runs of a
    # bare loop with destroy_process_group, 2 of 12 without, 0 of 20 that ended in os._exit themselves. The worker's
    # files are written by then.
    atexit.register(os._exit, 0)
    return device


def prepare(job: Job | CollectiveJob, device: torch.device) -> None:
    """Set what holds for the whole process: threads, TensorFloat-32, autotuning.

    Raises:
        JobError: the GPU lacks the precision.
    """
    torch.set_num_threads(job.threads)
    if torch.get_num_interop_threads() != 1:  # it can be set only once
        torch.set_num_interop_threads(1)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        need_ampere(job, torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device))
        torch.set_float32_matmul_precision("high" if job.precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = job.precision == "tf32"
        torch.backends.cudnn.benchmark = job.kind != "verification"
