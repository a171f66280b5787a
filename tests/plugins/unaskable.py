"""A plugin that raises when it is asked for its environment."""

from __future__ import annotations

from dlcompare.core import hookimpl
from dlcompare.core.plugins.runtime import EnvironmentSpec
from dlcompare.frameworks.reference import Reference


class Unaskable(Reference):
    name = "unaskable"

    def environment(self, device: str) -> EnvironmentSpec:
        raise KeyError(device)


@hookimpl
def dlcompare_backends() -> list[Reference]:
    return [Unaskable()]
