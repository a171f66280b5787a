"""What a run says on stderr where nobody watches a terminal."""

import pytest

from dlcompare.core.cli.progress import Progress
from dlcompare.core.plugins.job import Job


@pytest.mark.parametrize(("job", "event", "line"), [
    (None, {"phase": "environment", "text": "jax on cpu: ready"}, "dlcompare: environment jax on cpu: ready"),
    (Job("reference", "resnet18"), {"phase": "warmup", "step": 3}, "dlcompare: reference resnet18: warmup step 3"),
    (None, {"phase": "failed", "label": "openvino int8", "text": "why"}, "dlcompare: openvino int8: failed why"),
])
def test_a_line_names_the_program_once_and_the_job_if_there_is_one(
        job: Job | None, event: dict[str, object], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress(job, event)
    assert capsys.readouterr().err == f"{line}\n"


def test_a_long_phase_of_known_length_is_told_in_tenths(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        for done in range(0, 41, 2):
            progress(None, {"phase": "samples", "text": f"{done} of 40", "part": done * 10 // 40})
    assert capsys.readouterr().err.splitlines() == [f"dlcompare: samples {done} of 40" for done in range(0, 41, 4)]
