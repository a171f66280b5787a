"""Noise of the reference's trials, and what trials showed, found again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from running import PLUGINS

from dlcompare.core.conformance import cases, expectation, oracle
from dlcompare.core.errors import JobError
from dlcompare.core.kinds.verification import reference
from dlcompare.core.kinds.verification.request import VerificationJob, alike


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VerificationJob:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path))
    return VerificationJob.from_json(alike(VerificationJob(framework="reference", model="bert-tiny", batch=2)))


def begun(name: str, job: VerificationJob) -> reference.ReferenceWork:
    """Begin a work anew."""
    key = name, job.to_json()
    reference.reference_work(*key)
    return reference._begun.pop(key)


def test_noise_is_uniform_within_its_amplitude_and_another_for_each_seed() -> None:
    apply, ones = expectation.noise(1e-3, seed=0), np.ones((3, expectation.ROW // 2))
    first, second = apply(ones) - 1, apply(ones) - 1
    assert np.abs(first).max() <= 1e-3 < 1.01 * np.abs(first).max()
    assert abs(first.mean()) < 1e-5 and first.std() == pytest.approx(1e-3 / 3**0.5, rel=0.01)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.01
    assert not np.array_equal(expectation.noise(1e-3, seed=1)(ones) - 1, first)
    assert expectation.noise(1e-3, seed=0)(np.float64(2.0)).shape == ()


def test_trials_in_processes_show_what_they_show_in_this_one_and_are_kept(job: VerificationJob) -> None:
    told: list[int] = []
    work = begun(oracle.MODEL, job)
    moved = work.moved(lambda over, of: told.append(of))
    case = oracle.case(oracle.MODEL, job)
    wanted = oracle.case_job(case, job)
    exact = expectation.expect(case, wanted)
    here = expectation.worst(expectation.trial(case, wanted, exact, number) for number in range(expectation.TRIALS))
    assert moved == pytest.approx(here, rel=1e-3) and set(told) == {expectation.TRIALS}
    shown = work.exact()
    assert shown.keys() == exact.keys()
    assert all(np.allclose(shown[name], exact[name], rtol=1e-9, atol=1e-14) for name in exact)
    again = begun(oracle.MODEL, job)
    assert again.moved(lambda over, of: told.append(-1)) == moved and -1 not in told, "they are not run again"
    assert again.exact().keys() == exact.keys(), "but the exact run is"
    folder = again.folder
    del again
    assert not folder.exists()


def test_trials_in_float32_allow_what_those_in_float64_do(job: VerificationJob) -> None:
    case = oracle.case(oracle.MODEL, job)
    wanted = oracle.case_job(case, job)
    exact = expectation.expect(case, wanted)
    assert case.heavy and all(array.dtype == np.float64 for array in exact.values())
    half, whole = (expectation.worst(expectation.trial(dataclasses.replace(case, heavy=heavy), wanted, exact, number)
                                     for number in range(4)) for heavy in (True, False))
    held = [name for name, value in whole.items() if value]
    ratios = [half[name] / whole[name] for name in held]
    assert float(np.median(ratios)) == pytest.approx(1, abs=0.05)
    shown = expectation.disturbed(case, wanted, 0)
    assert {array.dtype.name for name, array in shown.items() if name.startswith("gradient/")} == {"float32"}


def test_what_decides_the_outcome_decides_the_name_it_is_kept_under(job: VerificationJob) -> None:
    other = VerificationJob.from_json(job.to_json().replace('"seed": 0', '"seed": 1'))
    assert reference.kept(oracle.MODEL, job) != reference.kept(oracle.MODEL, other)


def test_a_trial_that_fails_says_why(job: VerificationJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PLUGINS))
    monkeypatch.setattr(reference, "side_by_side", lambda work: 1)
    under_way = begun("no-such-case", job)
    with pytest.raises(JobError, match="exit code 1: KeyError: 'no-such-case'"):
        under_way.moved(lambda over, of: None)


def test_one_process_that_dies_ends_the_others_that_wait_for_it(
        job: VerificationJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "side_by_side", lambda work: 2)
    work = begun(oracle.MODEL, job)
    first, second = work.processes
    first.kill()
    with pytest.raises(JobError, match="exit code -9: without a word"):
        work.exact()
    del work
    assert second.wait(10) == -9


def test_works_for_later_jobs_are_done_by_the_same_processes_in_turn(job: VerificationJob) -> None:
    keys = [(oracle.MODEL, dataclasses.replace(job, workers=workers).to_json()) for workers in (1, 2)]
    reference.begin([*keys, *keys])
    first, second = (reference._begun.pop(key) for key in keys)
    assert first.processes == second.processes and first.folder != second.folder
    output = next(name for name, array in first.exact().items() if name.startswith("evaluation/") and array.ndim)
    assert len(second.exact()[output]) == 2 * len(first.exact()[output]) == 4
    assert second.moved(lambda over, of: None).keys() == first.moved(lambda over, of: None).keys()


def test_tiny_cases_are_taken_over_from_a_certificate_of_the_same_build(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlcompare.core.conformance import certificate
    from dlcompare.core.conformance.check import Check

    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path))
    job, versions = VerificationJob(framework="pytorch-ddp", model="resnet18", execution="eager"), {"torch": "1"}
    (tmp_path / "run").mkdir()
    checks = (Check(next(iter(cases.RECIPES)), "loss", 0.0, 1.0), Check("resnet18", "loss", 0.0, 1.0))
    made = certificate.make(job, checks, versions, None)
    certificate.save(made, tmp_path / "run")
    other = VerificationJob(framework="pytorch-ddp", model="vgg16", execution="eager")
    found = certificate.find_cases(other, versions)
    assert found is not None and certificate.cases_of(found) == checks[:1]
    assert certificate.find_cases(other, {"torch": "2"}) is None
    assert certificate.find(other, versions)["verified"] is None, "of another model nothing is verified by it"
    for path in (tmp_path / "certificates").glob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "cases_sha256": "other source"}))
    assert certificate.find_cases(other, versions) is None
