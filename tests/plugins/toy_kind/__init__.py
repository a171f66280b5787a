"""A plug-in that offers a whole kind of measurement: how fast Python copies memory, in one way and another.

Few lines with all that a kind has: a request, real windows, a record with a unit and a caveat of its own, a cell that
is refused, rounds and a verdict. Nothing of dlcompare knows that it exists.
"""

from __future__ import annotations

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Kind
from dlcompare.core.plugins.runtime import Runtime

from .request import Interpreter, ToyJob


class Toy(Kind):
    """How fast memory is copied."""

    name = "toy"
    title = "memory copied by Python, in several ways"
    command = "toy"
    job = ToyJob

    def runtime(self, job: ToyJob) -> Runtime:
        return Interpreter()


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Toy()]
