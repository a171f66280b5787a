"""Many jobs, many records, a log of gigabytes: time and memory stay bounded, and progress can be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from running import offering
from toy_kind.request import REFUSALS, ToyJob

from dlcompare.core.kinds.kind import Options
from dlcompare.core.launch import failure
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.run import runner

JOBS = 10_000
PLUGIN = """
from dlcompare.core import hookimpl
from dlcompare.core.graph import Input
from dlcompare.core.graph.model import Model

@hookimpl
def dlcompare_models():
    return [Model("NAME", lambda image: {}, {"image": Input((3, 8, 8))}, task="classification", reference="none")]
"""
MEMORY = 1_000_000  # KiB of address space for a program that reads ten thousand records


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plan]:
    """Return a plan of many jobs, each of which ends at once: a refused one goes the whole way but for a process."""
    for name, value in offering("toy_kind").items():
        monkeypatch.setenv(name, value)
    plugins.cache_clear()
    jobs = tuple(ToyJob("device", megabytes=number + 1) for number in range(JOBS))
    yield Plan("toy", jobs, {job.id: REFUSALS["device"] for job in jobs})
    plugins.cache_clear()


@pytest.mark.slow
def test_ten_thousand_jobs_of_one_matrix_and_their_records(toys: Plan, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    begin = time.monotonic()
    runner.carry_out(toys, Options(out=tmp_path / "runs"), lambda job, event: told.append(event))
    assert time.monotonic() - begin < 120
    assert [told[number]["place"] for number in (0, JOBS - 1)] == ["1 of 10,000", "10,000 of 10,000"]
    (folder,) = (tmp_path / "runs").iterdir()
    assert len(json.loads((folder / "records.json").read_text())) == JOBS
    assert shown(["report", str(folder)]).count("device copies between GPUs") == 1
    for words in (["report"], ["report", "--format", "csv"], ["compare"]):
        assert "9999" in shown([*words, str(folder)])


def shown(words: Sequence[str]) -> str:
    """Return what a command prints in two minutes and within the memory it is allowed."""
    bounded = ["bash", "-c", f'ulimit -v {MEMORY}; exec "$@"', "-", sys.executable, "-m", "dlcompare.core", *words]
    done = subprocess.run(bounded, text=True, capture_output=True, timeout=120,
                          env={**os.environ, **offering("toy_kind"), "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_hundred_plugins_are_listed_at_once(tmp_path: Path) -> None:
    names = [f"acme{number:03}" for number in range(200)]
    for name in names:
        (tmp_path / f"{name}.py").write_text(PLUGIN.replace("NAME", name))
    variables = {"PYTHONPATH": str(tmp_path), "DLCOMPARE_PLUGINS": ",".join([*names, "absent_one"])}
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "dlcompare.core", "list"], text=True, capture_output=True, timeout=60,
                          env={**os.environ, **variables})
    assert time.monotonic() - begin < 10
    assert done.returncode == 0 and all(name in done.stdout for name in [*names, "absent_one"])


def test_the_reason_is_found_at_the_end_of_a_log_of_two_gigabytes(tmp_path: Path) -> None:
    with (tmp_path / "log.txt").open("wb") as log:
        log.truncate(2 << 30)  # a hole: no byte of it is on the disk
        log.seek(0, os.SEEK_END)
        log.write(b"\nRuntimeError: the last words\n")
    tracemalloc.start()
    begin = time.monotonic()
    try:
        assert "the last words" in failure.why(tmp_path, 1)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - begin < 5
