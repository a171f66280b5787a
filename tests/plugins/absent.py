"""JAX with a rank that never comes: the others are started, and wait for it."""

from __future__ import annotations

from typing import Any

from dlcompare.core import hookimpl
from dlcompare.core.machine.ports import free_port
from dlcompare.frameworks.jax import Jax

ALONE = """
import os, sys
os.environ.update(DLCOMPARE_WORLD="2", DLCOMPARE_RANK="0", DLCOMPARE_COORDINATOR="127.0.0.1:{port}")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Absent(Jax):
    name = "jax-absent"

    def command(self, job: Any, python: str) -> list[str]:
        return [python, "-c", ALONE.format(port=free_port())]

    def variables(self, job: Any) -> dict[str, str]:
        return {**super().variables(job), "DLCOMPARE_JOIN_SECONDS": "5"}


@hookimpl
def dlcompare_backends() -> list[Jax]:
    return [Absent()]
