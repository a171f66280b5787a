"""A backend held against the float64 reference, judged, and certified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Kind, Prepared, Run
from dlcompare.core.plan.plan import Plan


class Verification(Kind):
    """Hold frameworks against the float64 reference and write certificates.

    Forward, loss, gradients, parameters and running statistics after several steps, evaluation, one worker and
    several. Small images keep the reference quick: --image-size defaults to 64 here where the network's is larger.
    """

    name = "verification"
    title = "frameworks held against the float64 reference"
    command = "verify"
    # The learning rate changes at each step, samples are synthetic and few; --check-workers says how many workers.
    refused = ("workers", "data", "loaders", "lr", "schedule", "optimiser", "momentum", "weight_decay", "decay",
               "clip", "steps", "windows", "save", "on_bad_sample", "pipeline")
    repeats = False
    forms = ("table", "json")

    def prepare(self, plan: Plan, run: Run) -> Prepared:
        """Have the reference work while the workers do, for the jobs to come as well."""
        def begin(job: Any) -> Any:
            self.part("reference").begin(self.part("request").judged_by(plan, job))
            return job

        return begin

    def passed(self, records: Sequence[Any]) -> bool:
        return all(record.passed for record in records)


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Verification()]
