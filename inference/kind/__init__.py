"""The kind of measurement `inference`, with the file names that every kind has; see core/kinds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Answer, Kind, Prepared, Request, Run
from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.cell.files import OLD

if TYPE_CHECKING:
    from dlcompare.core.judging.judging import Judging
    from dlcompare.core.judging.verdict import Comparison
    from dlcompare.core.plan.plan import Plan
    from dlcompare.core.plugins.inference_job import InferenceJob
    from dlcompare.core.plugins.runtime import Runtime
    from dlcompare.core.records.circumstances import Circumstances
    from dlcompare.core.records.record import Record
    from dlcompare.inference.cell.request import InferenceRequest


class Inference(Kind):
    """Run a trained network under inference engines in FP32, FP16 and INT8: accuracy and speed side by side.

    INT8 is calibrated on real samples, held against FP32 on the same samples one by one, and says which layers really
    ran in INT8. With --rounds cells are interleaved, and engines and precisions get a verdict.
    """

    name = "inference"
    title = "accuracy and speed of a trained network under inference engines"
    command = "infer"
    old_file = OLD

    def runtime(self, job: InferenceJob) -> Runtime:
        return plugins().engine(job.engine)

    def answer(self, request: Request, carry_out: Callable[[Plan], list[Record]]) -> Answer:
        from dlcompare.core.reports.sweeps import asked, drawing
        from dlcompare.inference.results import figure
        from dlcompare.inference.results.rows import summary

        plan, plot = self.plan(request), Path(request.own.plot) if request.own.plot else None
        if plot:
            drawing.check(plot)
        records: list[Any] = carry_out(plan)
        if plan.points:
            missed = asked.draw(self.cells(records), plot)
        else:
            missed = drawing.attempt(lambda: figure.draw(summary(records), plot)) if plot else ""
        return Answer(records, missed=missed)

    def prepare(self, plan: Plan, run: Run) -> Prepared:
        from dlcompare.inference.preparation.preparation import Preparation

        return Preparation.of(run, self.request(plan))

    def request(self, plan: Plan) -> InferenceRequest:
        """Return the request that a plan was made of."""
        from dlcompare.core.typed_json import from_plain

        found: InferenceRequest = from_plain(self.own, plan.asked, what="request")
        return found

    def outline(self, job: Any, about: Circumstances, *, status: str, reason: str | None = None,
                **more: Any) -> Any:
        short = dataclasses.replace(job, samples=(), calibration=())  # thousands; job.json beside the record has them
        return super().outline(short, about, status=status, reason=reason, id=job.id, task=job.task, **more)

    def conclude(self, plan: Plan, run: Run, records: Sequence[Any], prepared: Prepared) -> Iterator[Record]:
        from .answers import searches

        asked = self.request(plan)
        if asked.search:
            yield from searches(self, asked, run, records, prepared)

    def cells(self, records: Sequence[Any]) -> Sequence[Any]:
        return [record for record in records if record.task == "measure"]

    def compare(self, records: Sequence[Any], judging: Judging) -> list[Comparison]:
        from dlcompare.inference.results.verdicts import comparisons

        return comparisons(records, judging)

    def passed(self, records: Sequence[Any]) -> bool:
        from dlcompare.inference.results.rows import summaries

        return all(one.well for one in summaries(records))

    def stored(self, data: Any) -> list[Record] | None:
        from dlcompare.inference.results.rows import read_old

        return read_old(data)  # type: ignore[return-value]  # lists of a kind's own records are read alone


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Inference()]
