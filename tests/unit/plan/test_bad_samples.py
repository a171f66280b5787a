"""Samples that cannot be read are refused, or left out of every job alike, before anything runs."""

from pathlib import Path

import numpy as np
import pytest
from asking import planned
from PIL import Image

from dlcompare.core.errors import UsageError


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Return a dataset with eight good images and seven that are empty."""
    (tmp_path / "cat").mkdir()
    for number in range(8):
        Image.fromarray(np.full((9, 9, 3), number, np.uint8)).save(tmp_path / "cat" / f"good{number}.png")
    for number in range(7):
        (tmp_path / "cat" / f"bad{number}.png").touch()
    return f"imagefolder:{tmp_path}"


def test_they_are_refused_with_names_and_advice(data: str) -> None:
    with pytest.raises(UsageError, match=r"7 samples cannot be read: cat/bad0.png \(it is empty\); .*; and 2 more\. "
                                         r"Repair .* --on-bad-sample skip"):
        planned("reference", data=data)


def test_those_to_skip_are_the_same_in_every_job(data: str) -> None:
    jobs = planned("reference", "pytorch-ddp", data=data, on_bad_sample="skip").jobs
    assert {job.skip for job in jobs} == {tuple(f"cat/bad{number}.png" for number in range(7))}
    assert all("--on-bad-sample skip" in job.reproduce() for job in jobs)


def test_how_many_were_looked_at_is_told_once_for_all_jobs(
        data: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path_factory.mktemp("cache")))
    for number in range(25):
        (tmp_path / "cat" / f"worse{number}.png").touch()
    told: list[tuple[object, dict[str, object]]] = []
    for _ in range(2):
        planned("reference", "pytorch-ddp", data=data, on_bad_sample="skip",
                tell=lambda job, event: told.append((job, event)))
    assert [event["text"] for job, event in told if job is None] == [
        f"looking for samples of {data} that cannot be read, {done} of 40" for done in (0, 16, 32, 40)]
    assert [(event["phase"], event["part"]) for _, event in told] == [("samples", part) for part in (0, 4, 8, 10)]


def test_where_all_are_well_nothing_is_skipped(data: str, tmp_path: Path) -> None:
    for file in tmp_path.glob("cat/bad*"):
        file.unlink()
    assert planned("reference", data=data, on_bad_sample="skip").jobs[0].skip == ()
    assert planned("reference", data="digits", on_bad_sample="skip").jobs[0].skip == ()
