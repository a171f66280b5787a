"""What a compiler said, and what follows from published peaks, as people and programs get it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asking import planned
from fabricated import RUN, refused

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.compilation.request import CompilationJob
from dlcompare.core.kinds.compilation.result import CompilationRecord
from dlcompare.core.kinds.kind import Answer, kind
from dlcompare.core.records.circumstances import Circumstances
from dlcompare.core.run.stored import parse

JOB = CompilationJob("jax", "resnet50", device="tpu", batch=128, precision="bf16", topology="v3:2x2")
SAID: dict[str, Any] = {
    "devices": 8, "workers": 8, "device_kind": "TPU v3", "compile_seconds": 12.3,
    "memory": {"total": 4e9, "arguments": 1e9, "results": 1e9, "temporary": 1.9e9, "program": 1e8},
    "cost": {"flops": 52.5e12, "bytes": 45e9}, "collectives": [{"op": "all-reduce", "count": 1, "bytes": 102e6}],
}


def compiled(**changes: Any) -> CompilationRecord:
    found: CompilationRecord = kind("compilation").outline(JOB, Circumstances(run=RUN), status="ok",
                                                           compiled={**SAID, **changes})
    return found


def shown(form: str, *records: CompilationRecord) -> str:
    return kind("compilation").report(Answer(records), form, None)


def test_people_get_memory_collectives_and_a_bound_that_is_called_estimated() -> None:
    text = shown("table", compiled())
    for words in ("COMPILED      jax, resnet50, bf16, batch 128 a device, for v3:2x2: 8 x TPU v3, global batch 1024",
                  "memory of each device: 4.00 GB of 16 GB (25 %)", "1 x all-reduce of 102.0 MB in all",
                  "ESTIMATED by roofline, not measured: a step takes at least 1000.00 ms", "bound by arithmetic",
                  "at most 1,024 samples/s", "published measurement, TPU v3-8"):
        assert words in text, words


def test_programs_get_the_same() -> None:
    made, none = json.loads(shown("json", compiled(), refused(JOB, "no such topology")))
    assert made.keys() == none.keys() == {"job", "compiled", "reason", "capacity_bytes", "estimated", "published"}
    assert made["compiled"] == SAID and made["capacity_bytes"] == 16e9
    assert made["estimated"]["seconds"] == 1.0 and made["estimated"]["samples_per_second"] == 1024
    assert (none["compiled"], none["reason"], none["estimated"]) == (None, "no such topology", None)


@pytest.mark.parametrize("changes", [{"device_kind": "TPU v9"}, {"cost": {"flops": None, "bytes": None}}])
def test_without_a_count_or_a_peak_there_is_no_estimate(changes: dict[str, Any]) -> None:
    assert compiled(**changes).estimate is None and "no estimate" in shown("table", compiled(**changes))


def test_records_are_read_back_and_a_refusal_fails() -> None:
    made = compiled()
    assert parse(made.to_json()) == [made]
    assert kind("compilation").passed([compiled()]) and not kind("compilation").passed([refused(JOB, "no")])


def test_a_topology_must_be_named_and_is_of_the_job() -> None:
    with pytest.raises(UsageError, match="--compile-only needs --topology, such as --topology v3:2x2"):
        planned("jax", of="compilation")
    (job,) = planned("jax", of="compilation", topology="v3:2x2", device="tpu").jobs
    assert isinstance(job, CompilationJob) and (job.topology, job.batch) == ("v3:2x2", 64)
