"""A record of what one process found, with what its run knows: whose network, how INT8 was made, how accurate it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlcompare.core.kinds.kind import Kind, Started
from dlcompare.core.machine import measured
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records import doubts
from dlcompare.core.records.bounds import bounds_of_answers
from dlcompare.core.settings import repetition
from dlcompare.inference.cell.result import InferenceRecord, RankResult, fill
from dlcompare.inference.preparation.preparation import read_prepared

from .answers import accuracy_of
from .request import cell_request


def fold(kind: Kind, job: InferenceJob, ranks: Sequence[RankResult], about: Started) -> InferenceRecord:
    """Return the record of a job that ended well."""
    known = read_prepared(about.folder.parent)
    more: dict[str, Any] = {**known, "calibration": known["calibration"] if job.precision == "int8" else None,
                            "warnings": doubts.of_samples(job.skip, ranks[0].passed_over),
                            "reproduce": repetition(job.command, cell_request(known["asked"], job))}
    if job.task == "measure" and job.precision != "int8" and not known["asked"].get("onnx"):  # whose graph nobody knows
        graph = plugins().model(job.model).graph(job.image_size, job.classes)
        more["bounds"] = bounds_of_answers(graph, job.device, job.precision, job.threads, measured.known(about.system))
    if job.task == "predict":
        more["accuracy"] = accuracy_of(job, about.folder, known)
    return fill(kind.outline(job, about, status="ok"), ranks[0], more)
