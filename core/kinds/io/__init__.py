"""Input pipelines: how many images a second they give, cold and warm, by loaders, and what training waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Kind
from dlcompare.core.plugins.runtime import Runtime

if TYPE_CHECKING:
    from .request import IoJob


class Io(Kind):
    """Measure input pipelines: images/s by loader processes, bytes really read, cold and warm, CPU use, stalls.

    Each cell is a process of its own that reads the training split several times: first with the pages dropped from
    memory, then with whatever that pass has left there. With --model a network is trained on the data as well,
    and it is told how much of its time it waits for input.
    """

    name = "io"
    title = "input pipelines and storage"
    command = "io"
    refused = ("pipeline",)
    repeats = False

    def runtime(self, job: IoJob) -> Runtime:
        found: Runtime = self.part("request").runtime_of(job)
        return found

    def results(self, job: IoJob) -> int:
        return 1


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Io()]
