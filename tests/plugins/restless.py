"""A backend with a thread that never rests, as engines have that look for messages all the time."""

from __future__ import annotations

import threading
from typing import Any

from slow import Slow

from dlcompare.core import hookimpl


class Restless(Slow):
    """Counts while it waits."""

    name = "restless"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        threading.Thread(target=count, daemon=True).start()
        return super().trainer(graph, params, job)


def count() -> None:
    number = 0
    while True:
        number += 1


@hookimpl
def dlcompare_backends() -> list[Slow]:
    return [Restless()]
