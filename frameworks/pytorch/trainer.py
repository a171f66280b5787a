"""One PyTorch process of a data-parallel job: the graph as one ``torch.fx`` module, DDP, SGD."""

from __future__ import annotations

import atexit
import os
import platform
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, fx, nn
from torch.nn.parallel import DistributedDataParallel

from dlcompare.core.backend import Arrays, Trainer
from dlcompare.core.graph import Graph, Node
from dlcompare.core.job import Job

from .ops import IN_PLACE, OVERWRITABLE, TABLE

JOIN_SECONDS = 300  # a rank that has not joined by then never will


class TorchTrainer(Trainer):
    """See :class:`dlcompare.core.backend.Trainer` for the contract."""

    def __init__(self, graph: Graph, params: Arrays, job: Job) -> None:
        self.graph, self.job = graph, job
        self.device = join(job)
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        torch.manual_seed(job.seed * self.world + self.rank)  # dropout differs between ranks
        # On CPU channels-last was 1.1 times faster (ResNet-50, fp32); on CUDA it is a guess, untested, for bf16.
        wants_last = any(n.op == "conv" for n in graph.nodes) and (job.device == "cpu" or job.precision == "bf16")
        self.layout = torch.channels_last if wants_last else torch.contiguous_format
        modules = build(graph)
        self.evaluator = fx.GraphModule(modules, fx_graph(graph, graph.needed(), list(graph.outputs)))
        self.module = fx.GraphModule(modules, fx_graph(graph, graph.needed("loss"), ["loss"]))
        self._load(params)
        trained = {target(name) for name in graph.trained()}
        for name, parameter in self.evaluator.named_parameters():
            parameter.requires_grad_(name in trained)
        ids = [self.device.index] if job.device == "cuda" else None
        # Every rank has loaded the same arrays, so there is nothing to broadcast at the start.
        self.ddp = DistributedDataParallel(self.module, device_ids=ids, init_sync=False)
        self.optimiser = torch.optim.SGD(
            [p for p in self.module.parameters() if p.requires_grad],
            lr=0.0, momentum=job.momentum, weight_decay=job.weight_decay)
        self.copies = torch.cuda.Stream() if self.device.type == "cuda" else None
        self.loss = torch.zeros(())

    def _load(self, params: Arrays) -> None:
        state = {target(name): torch.from_numpy(np.array(value)) for name, value in params.items()}
        missing, unexpected = self.evaluator.load_state_dict(state, strict=False)
        wrong = [k for k in missing if not k.endswith("num_batches_tracked")] + list(unexpected)
        if wrong:
            raise ValueError(f"parameters do not fit the graph: {', '.join(wrong)}")
        self.evaluator.to(device=self.device, memory_format=self.layout)

    def place(self, batch: Arrays) -> dict[str, Tensor]:
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
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.job.precision == "bf16"):
            yield

    def step(self, placed: dict[str, Tensor], lr: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.zero_grad(set_to_none=True)
        with self._precision():
            self.loss = self.ddp(**placed)["loss"]
        self.loss.backward()
        self.optimiser.step()

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
            outputs = self.evaluator(**self.place(batch))
        self.evaluator.train()
        return {k: array(v) for k, v in outputs.items()}

    def activations(self, batch: Arrays) -> Arrays:
        seen: Arrays = {}
        names = {path(n.name): n.name for n in self.graph.nodes}

        class Watch(fx.Interpreter):
            def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
                result = super().call_module(target, args, kwargs)
                seen[names[target]] = array(result)  # now: a later op may overwrite it in place
                return result

        with self._unchanged(), torch.no_grad(), self._precision():
            Watch(self.module).run(*self._in_order(self.place(batch)))
        return seen

    def _in_order(self, placed: dict[str, Tensor]) -> list[Tensor]:
        return [placed[n.target] for n in self.module.graph.nodes if n.op == "placeholder"]

    def gradients(self, batch: Arrays) -> Arrays:
        self.optimiser.zero_grad(set_to_none=True)
        with self._unchanged():
            with self._precision():
                loss = self.ddp(**self.place(batch))["loss"]
            loss.backward()
        parameters = dict(self.module.named_parameters())
        found = {name: array(parameters[target(name)].grad) for name in self.graph.trained()}
        self.optimiser.zero_grad(set_to_none=True)
        return found

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Put the running statistics back afterwards."""
        before = {k: v.clone() for k, v in self.module.named_buffers()}
        yield
        for name, buffer in self.module.named_buffers():
            buffer.copy_(before[name])

    def params(self) -> Arrays:
        state = self.evaluator.state_dict()
        return {name: array(state[target(name)]) for name in self.graph.params()}

    def settings(self) -> dict[str, Any]:
        cuda = self.device.type == "cuda"
        return {
            "layout": "NHWC" if self.layout is torch.channels_last else "NCHW",
            "execution": "eager",
            "all_reduce": dist.get_backend(),
            "gradient_buckets": "DistributedDataParallel, 25 MiB",
            "buffers_broadcast": True,
            "intra_op_threads": torch.get_num_threads(),
            "inter_op_threads": torch.get_num_interop_threads(),
            "onednn": torch.backends.mkldnn.is_available(),
            "tf32": cuda and torch.backends.cudnn.allow_tf32,
            "autotune": cuda and torch.backends.cudnn.benchmark,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        }

    def versions(self) -> dict[str, str]:
        found = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
        if self.device.type == "cuda":
            found |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
        return found

    def peak_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None


def path(node: str) -> str:
    """Return where a node's module stands in the module tree; prefixed, for names like ``half`` are taken there."""
    return ".".join(f"n_{part}" for part in node.split("."))


def target(param: str) -> str:
    """Return where a parameter stands in the module tree."""
    node, _, local = param.rpartition(".")
    return f"{path(node)}.{local}"


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy().copy()


def join(job: Job) -> torch.device:
    """Join the process group, once per process, and return this rank's device."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local) if job.device == "cuda" else torch.device("cpu")
    if dist.is_initialized():
        return device
    torch.set_num_threads(job.threads)
    torch.set_num_interop_threads(1)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = job.task == "train"
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(seconds=JOIN_SECONDS))
    # Gloo aborts now and then while a process ends ("terminate called without an active exception"): 5 of 12 runs of a
    # bare loop with destroy_process_group, 2 of 12 without, 0 of 20 that ended in os._exit themselves. The worker's
    # files are written by then.
    atexit.register(os._exit, 0)
    return device


def build(graph: Graph) -> dict[str, nn.Module]:
    """Return a native module per node, by its path."""
    shapes = {k: v.shape for k, v in graph.inputs.items()} | {n.name: n.shape for n in graph.nodes}
    producer = {n.name: n for n in graph.nodes}
    uses = Counter(name for n in graph.nodes for name in n.inputs) + Counter(graph.outputs.values())
    modules = {}
    for node in graph.nodes:
        first = producer.get(node.inputs[0])
        if node.op in IN_PLACE and first is not None and first.op in OVERWRITABLE and uses[first.name] == 1:
            modules[path(node.name)] = IN_PLACE[node.op]()
        else:
            modules[path(node.name)] = TABLE[node.op](node, [shapes[name] for name in node.inputs])
    return modules


def fx_graph(graph: Graph, nodes: tuple[Node, ...], outputs: list[str]) -> fx.Graph:
    """Return straight-line code over the modules: what a hand-written ``forward`` would do, and nothing more."""
    flow = fx.Graph()
    values = {name: flow.placeholder(name) for name in graph.inputs}
    for node in nodes:
        values[node.name] = flow.call_module(path(node.name), tuple(values[name] for name in node.inputs))
    flow.output({name: values[graph.outputs[name]] for name in outputs})
    return flow
