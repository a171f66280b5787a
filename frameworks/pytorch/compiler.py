"""``torch.compile`` for a run that is to pay for it: nothing cached before, nothing left behind."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def compile_module(module: nn.Module, *, rank: int) -> Callable[..., dict[str, Tensor]]:
    """Return the module compiled for the shapes of its inputs, by Inductor; that happens when it is first called.

    A DistributedDataParallel module is cut at the ends of its gradient buckets, so that all-reduce and backward pass
    still overlap.
    """
    own_cache(rank)
    return torch.compile(module, dynamic=False)  # a Callable, though it says that it gives the module back


@cache
def own_cache(rank: int) -> None:
    """Let this process keep compiled code in a folder of its own beside its job's files, and remove it at the end.

    In the folder that Inductor takes by itself, one run would find what another has compiled.
    """
    folder = tempfile.mkdtemp(prefix=f"inductor-{rank}-", dir=Path.cwd())
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def compiler_settings() -> dict[str, Any]:
    """Return what a record should tell of the compiler."""
    from torch._dynamo.utils import counters
    from torch._inductor import config

    return {"compiler": "inductor", "compiler_processes": config.compile_threads,
            "compiled_graphs": counters["stats"]["unique_graphs"]}
