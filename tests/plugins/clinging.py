"""Backends that leave something behind, or stand still: threads, children, a rank that others wait for."""

from __future__ import annotations

import os
import threading
import time

import slow

from dlcompare.core import hookimpl
from dlcompare.core.graph.model import Model
from dlcompare.core.graph.ops import Tensor


def pacing(image: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Return the light network; rank 1, however it is launched, gets a thread that does not end."""
    if "1" in map(os.environ.get, ("RANK", "HOROVOD_RANK", "DLCOMPARE_RANK", "SLOW_RANK")):
        threading.Thread(target=time.sleep, args=(600,), name="pacemaker").start()
    return slow.speck(image, label)


@hookimpl
def dlcompare_models() -> list[Model]:
    return [Model("pacing", pacing, slow.INPUTS, task="classification", reference="the tests")]
