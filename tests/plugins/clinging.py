"""Backends that leave something behind, or stand still: threads, children, a rank that others wait for."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
import time
from itertools import count
from typing import Any

import slow

from dlcompare.core import hookimpl
from dlcompare.core.graph.model import Model
from dlcompare.core.graph.ops import Tensor
from dlcompare.core.variables import JOB_MARK

DEMON = f"""
import os, pathlib, sys
if os.fork():
    os._exit(0)
os.setsid()
pathlib.Path(f"demon-{{sys.argv[1]}}").write_text(str(os.getpid()))
{slow.DEAF}
"""


def pacing(image: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Return the light network; rank 1, however it is launched, gets a thread that does not end."""
    if "1" in map(os.environ.get, ("RANK", "HOROVOD_RANK", "DLCOMPARE_RANK", "SLOW_RANK")):
        threading.Thread(target=time.sleep, args=(600,), name="pacemaker").start()
    return slow.speck(image, label)


def parting(image: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Return the light network; whoever has built it in a job never ends when he has done his work."""
    if JOB_MARK in os.environ:
        atexit.register(time.sleep, 600)
    return slow.speck(image, label)


class Stuck(slow.Several):
    """Rank 1 never ends its fortieth step, which is no warm-up any more."""

    name = "stuck"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        trainer = super().trainer(graph, params, job)
        plain, calls = trainer.step, count()

        def step(placed: Any, lr: float) -> None:
            if trainer.rank == 1 and next(calls) == 39:
                time.sleep(600)
            plain(placed, lr)

        trainer.step = step
        return trainer


class Littering(slow.Several):
    """Each worker starts a process that is deaf to SIGTERM, knows of no job, and has no parent."""

    name = "littering"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        trainer = super().trainer(graph, params, job)
        subprocess.run([sys.executable, "-c", DEMON, str(trainer.rank)], env={}, check=True)
        return trainer


@hookimpl
def dlcompare_backends() -> list[slow.Slow]:
    return [Stuck(), Littering()]


@hookimpl
def dlcompare_models() -> list[Model]:
    return [Model(name, network, slow.INPUTS, task="classification", reference="the tests")
            for name, network in (("pacing", pacing), ("parting", parting))]
