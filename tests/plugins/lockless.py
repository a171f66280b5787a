"""A plugin whose wheel was built without its lock files."""

from __future__ import annotations

from pathlib import Path

from dlcompare.core import hookimpl
from dlcompare.core.plugins.runtime import Build, EnvironmentSpec
from dlcompare.frameworks.reference import Reference

LOCK = Path(__file__).with_name("lockless.lock")  # is not there


class Lockless(Reference):
    name = "lockless"

    def environment(self, device: str) -> EnvironmentSpec:
        return EnvironmentSpec(LOCK, ((3, 10), (3, 14)), "import lockless", builds=(Build("lockless==1.0"),))


@hookimpl
def dlcompare_backends() -> list[Reference]:
    return [Lockless()]
