"""What a run's answers are worth: accuracy against the engine's own FP32, and the search for a better INT8."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlcompare.core.kinds.kind import Kind, Prepared, Run
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.circumstances import Circumstances
from dlcompare.core.records.record import Record
from dlcompare.core.variables import RECORD
from dlcompare.inference.cell import accuracy
from dlcompare.inference.cell.files import PREDICTIONS
from dlcompare.inference.cell.request import InferenceRequest
from dlcompare.inference.cell.result import InferenceRecord

from .request import cells


def accuracy_of(job: InferenceJob, folder: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return how accurate a job's answers are, and how they differ from the same engine's in FP32 if it has any."""
    task, asked = known["network"]["task"], known["asked"]
    found = accuracy.read_answers(folder, task)
    scores = accuracy.scores(found, task)
    reference = None if job.precision == "fp32" else of_fp32(folder.parent, job.engine, asked)
    if reference is None:
        return scores
    fp32 = accuracy.read_answers(reference, task)
    return scores | {"against_fp32": accuracy.against(fp32, found, floor=asked["floor"])}


def of_fp32(run: Path, engine: str, asked: Mapping[str, Any]) -> Path | None:
    """Return the folder in which an engine's FP32 answers are; None if there are none."""
    from dlcompare.core.typed_json import from_plain

    _, predicting, _ = cells(from_plain(InferenceRequest, asked, what="request"))
    folder = next(run / job.id for job in predicting if (job.engine, job.precision) == (engine, "fp32"))
    return folder if (folder / PREDICTIONS).is_file() and (folder / RECORD).is_file() else None


def searches(kind: Kind, asked: InferenceRequest, run: Run, records: Sequence[InferenceRecord],
             prepared: Prepared) -> Iterator[Record]:
    """Yield for each engine that answered in FP32 and has INT8 the record of its search."""
    from dlcompare.inference.preparation.int8_search import FLOOR, Search
    from dlcompare.inference.preparation.preparation import Preparation

    assert isinstance(prepared, Preparation)
    for name in asked.engines:
        engine, reference = plugins().engine(name), of_fp32(run.folder, name, dataclasses.asdict(asked))
        if reference is None or "int8" not in engine.precisions:
            continue
        job = prepared.blank(engine, task="search", precision="int8")
        if (kept := run.stored_record(job.id)) is not None:
            yield kept
            continue
        answers = accuracy.read_answers(reference, prepared.network.task)
        found = Search(prepared, engine, answers, asked.floor or FLOOR).run()
        about = Circumstances(run=run.folder.name, system=records[0].system if records else {})
        yield kind.outline(job, about, status="ok", search=found, network=records[0].network if records else {},
                           asked=records[0].asked if records else {}, variant="precision=int8")
