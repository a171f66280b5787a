"""The process that samples meters beside a job: what it leaves, how it ends, and that it never is in the way."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from boards import Board, Clock, job, record
from running import eventually

from dlcompare.core.kinds.io.request import IoJob
from dlcompare.core.kinds.machine.request import MachineJob
from dlcompare.core.launch import sampling
from dlcompare.core.machine import process_tree
from dlcompare.core.meters import series
from dlcompare.core.meters.meter import Metered
from dlcompare.core.plugins.job import Job
from dlcompare.core.records.energy import REST_SECONDS
from dlcompare.core.variables import REPLAY_METERS, SAMPLES


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a recording of a board that answers for 8 s and is lost then, which all meters here answer from."""
    file, clock = tmp_path / "recording.jsonl", Clock()
    record(Board(load=job(1, 9), clock=clock, lost={0: 8.0}), clock, file, seconds=8.5)
    monkeypatch.setenv(REPLAY_METERS, str(file))
    return file


def sampler(folder: Path) -> subprocess.Popen[bytes]:
    process, resting = sampling.start(folder / SAMPLES, "cpu", None)
    assert resting, "the power of a GPU at rest is of interest"
    return process


def of_nvidia(folder: Path) -> Metered:
    """Return what was read of the GPU; other meters may be sampled here as well."""
    (found,) = [one for one in sampling.read(folder / SAMPLES) if one.name == "nvidia"]
    return found


def test_it_reads_until_it_is_told_to_end(recording: Path, tmp_path: Path) -> None:
    process = sampler(tmp_path)
    begin = time.monotonic()
    time.sleep(0.6)
    sampling.end(process)
    assert process.returncode == 0
    nvidia = of_nvidia(tmp_path)
    assert (nvidia.name, nvidia.reason, nvidia.lost) == ("nvidia", None, None)
    power = next(one for one in nvidia.series if one.key == "gpu 0 power")
    assert 8 <= power.readings <= 14, "twenty in a second"
    assert begin - 0.5 < power.begin < begin + 0.5, "by the clock that windows have"
    assert nvidia.devices["gpu 0"][0].startswith("GPU-")


def test_one_that_is_killed_has_left_what_it_read(recording: Path, tmp_path: Path) -> None:
    process = sampler(tmp_path)
    eventually(lambda: (tmp_path / SAMPLES).read_text().count("\n") > 5, within=10)  # it writes every second
    process.kill()
    sampling.end(process)
    nvidia = of_nvidia(tmp_path)
    assert nvidia.lost == "the process that samples meters ended midway" and nvidia.series


def test_one_beside_another_job_is_not_ended_as_what_that_has_left(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tree.Alone, "claimed", True)
    with process_tree.adopt_orphans() as known:  # of a job that waits for its turn
        process, _ = sampling.start(tmp_path / SAMPLES, "cpu", None)
        try:
            assert process.pid not in process_tree.strays(process_tree.processes(), known or set())
        finally:
            sampling.end(process)


@pytest.mark.slow
def test_a_gpu_that_falls_off_the_bus_midway_is_told_of(recording: Path, tmp_path: Path) -> None:
    process = sampler(tmp_path)
    time.sleep(8.5)
    sampling.end(process)
    nvidia = of_nvidia(tmp_path)
    assert "GPU is lost" in nvidia.absent["gpu 0"] and nvidia.lost is None
    energy = next(one for one in nvidia.series if one.key == "gpu 0 energy")
    assert energy.missed > 0 and series.grown(energy, energy.begin + 1, energy.begin + 4) is not None
    assert series.grown(energy, energy.begin + 1, energy.end) is None


@pytest.mark.slow
def test_one_that_does_not_heed_is_ended(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "ENDING_SECONDS", 0.3)
    process = sampler(tmp_path)
    os.kill(process.pid, signal.SIGSTOP)
    sampling.end(process)
    assert process.returncode == -signal.SIGKILL


def test_one_that_the_kernel_holds_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a GPU has fallen off the bus: whoever asks its driver cannot be killed, and nobody waits for that."""
    monkeypatch.setattr(sampling, "ENDING_SECONDS", 0.01)
    waited: list[float] = []

    def wait(seconds: float = float("inf")) -> int:
        waited.append(seconds)
        raise subprocess.TimeoutExpired("sampler", seconds)

    held = SimpleNamespace(stdin=io.BytesIO(), stdout=io.BytesIO(), kill=lambda: None, wait=wait)
    sampling.end(held)  # type: ignore[arg-type]
    assert waited == [0.01, 0.01] and held.stdout.closed


@pytest.mark.slow
def test_it_ends_with_the_program_that_started_it(recording: Path, tmp_path: Path) -> None:
    process = sampler(tmp_path)
    assert process.stdin is not None
    os.close(os.dup(process.stdin.fileno()))
    process.stdin.close()  # as the kernel does for whoever is killed
    assert process.wait(5) == 0
    sampling.end(process)


def test_where_no_meter_is_to_be_sampled_no_process_is_started(tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "wanted", lambda device: [])
    monkeypatch.setattr(sampling, "start", lambda *about: pytest.fail("it was started"))
    with sampling.sampled(Job("reference", "resnet18"), tmp_path):
        pass
    assert sampling.read(tmp_path / SAMPLES) == ()


def test_one_that_does_not_begin_is_no_harm(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "CHILD", "raise SystemExit(3)")
    with sampling.sampled(Job("reference", "resnet18"), tmp_path, idle=0):
        done = True
    assert done and sampling.read(tmp_path / SAMPLES) == ()
    monkeypatch.setattr(sampling, "CHILD", "import sys; open(sys.argv[2], 'w')")
    with sampling.sampled(Job("reference", "resnet18"), tmp_path, idle=0):
        pass
    (told,) = sampling.read(tmp_path / SAMPLES)
    assert "ended before it had opened any" in str(told.reason)


def test_one_that_cannot_be_started_is_told_of_and_the_job_goes_on(recording: Path, tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling.sys, "executable", str(tmp_path / "no-python"))
    with sampling.sampled(Job("reference", "resnet18"), tmp_path):
        done = True
    (told,) = sampling.read(tmp_path / SAMPLES)
    assert done and "cannot be started" in str(told.reason)


def test_it_has_a_core_of_its_own_where_there_is_one_to_spare() -> None:
    def spare(cores: int, **more: int) -> int | None:
        return sampling.spare_core(Job("reference", "resnet18", loaders=1, **more), range(cores))

    assert spare(9, threads=2, workers=2) == 8 and spare(8, threads=2, workers=2) is None, "each is fed, and loads"
    assert spare(8, threads=4, workers=2) is None
    assert sampling.spare_core(Job("reference", "resnet18", loaders=6), range(8)) is None
    assert sampling.spare_core(IoJob("reference", loaders=(6,)), range(8)) is None
    assert sampling.spare_core(MachineJob("pipe"), range(2)) is None, "each end of a pipe has a core"
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        with sampling.kept_off(max(cores)):
            child = subprocess.run(["python3", "-c", "import os; print(*os.sched_getaffinity(0))"], text=True,
                                   capture_output=True, check=True).stdout
        assert set(map(int, child.split())) == cores - {max(cores)} and os.sched_getaffinity(0) == cores


@pytest.mark.slow
def test_the_power_at_rest_is_from_before_the_job(recording: Path, tmp_path: Path) -> None:
    with sampling.sampled(Job("reference", "resnet18"), tmp_path, idle=0):
        begun = time.monotonic()
    power = next(one for one in of_nvidia(tmp_path).series if one.key == "gpu 0 power")
    assert begun >= power.begin + REST_SECONDS


def test_only_where_rest_tells_something_is_it_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_METERS", "memory")  # of the host, which has no power
    process, resting = sampling.start(tmp_path / SAMPLES, "cpu", None)
    sampling.end(process)
    assert not resting and [one.name for one in sampling.read(tmp_path / SAMPLES)] == ["memory"]
    slept: list[float] = []
    monkeypatch.setattr(sampling, "time", SimpleNamespace(sleep=slept.append))
    with sampling.sampled(Job("reference", "resnet18"), tmp_path, idle=77):
        pass
    assert slept == []
