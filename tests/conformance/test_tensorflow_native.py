"""tf-horovod beyond the shared conformance cases: its horovodrun, and what would make its clock or its data wrong.

The workers run in the interpreter that the variable DLCOMPARE_TF_PYTHON names, or in the backend's own environment,
which is made if need be.
"""

import json
import os
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from dlcompare.core.environments import resolve
from dlcompare.core.environments.sources import link_sources
from dlcompare.core.plugins.job import Job
from dlcompare.frameworks import tensorflow
from dlcompare.frameworks.horovod.run import on_loopback
from dlcompare.frameworks.tensorflow import TfHorovod

PROBE = Path(__file__).with_name("tensorflow_probe.py")
JOB = Job("tf-horovod", "resnet50", workers=2)


@dataclass(frozen=True)
class Worker:
    """Runs the probe under horovodrun; ``path`` shows dlcompare to its interpreter."""

    python: str
    path: Path

    def run(self, what: str) -> tuple[int, list[dict[str, Any]], str]:
        """Return the exit code, what the two workers told as JSON, and horovodrun's last words."""
        folder = Path(tempfile.mkdtemp(dir=self.path.parent))
        argv = [*TfHorovod().command(JOB, self.python), str(PROBE), what]
        own = {"PYTHONPATH": str(self.path), "CUDA_VISIBLE_DEVICES": ""}
        ended = subprocess.run(argv, env={**os.environ, **TfHorovod().variables(JOB), **own}, capture_output=True,
                               text=True, timeout=120, cwd=folder)
        said = [json.loads(found.read_text()) for found in folder.glob("found-*.json")]
        return ended.returncode, said, ended.stderr.strip().splitlines()[-1] if ended.stderr else ""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    given = os.environ.get("DLCOMPARE_TF_PYTHON")
    spec = TfHorovod().environment("cpu")
    python = given or str(resolve.create("tf-horovod", "cpu", spec, print))
    return Worker(python, link_sources(tmp_path_factory.mktemp("view")))


@pytest.fixture(scope="module")
def observed(worker: Worker) -> list[dict[str, Any]]:
    code, said, words = worker.run("observe")
    assert (code, len(said)) == (0, 2), words
    return said


def test_nothing_listens_beyond_loopback(observed: list[dict[str, Any]]) -> None:
    assert [one["listening"] for one in observed] == [["127.0.0.1"]] * 2


def test_a_changing_learning_rate_compiles_nothing_anew(observed: list[dict[str, Any]]) -> None:
    assert [one["traces"] for one in observed] == [1, 1]


def test_both_ranks_see_both_and_draw_their_own_dropout(observed: list[dict[str, Any]]) -> None:
    assert [one["ranks"] for one in observed] == [[0, 1]] * 2
    assert observed[0]["losses"][-1][0] != observed[0]["losses"][-1][1]


def test_a_placed_batch_is_a_copy(observed: list[dict[str, Any]]) -> None:
    batch = np.random.default_rng(0).random((4, 2, 4, 4), np.float32).mean((0, 2, 3))
    moved = 0.9**4 * 0.5 + (1 - 0.9**4) * batch
    assert observed[0]["mean"] == pytest.approx(moved, rel=1e-5)


def test_a_killed_worker_ends_the_others_at_once(worker: Worker) -> None:
    begun = time.monotonic()
    code, said, words = worker.run("die")
    assert code == 1 and "exited with non-zero status" in words
    assert not any(psutil.pid_exists(one["pid"]) for one in said) and len(said) == 2
    assert time.monotonic() - begun < 30


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit, match="cannot be had"):
        on_loopback(socket.create_server, taken.getsockname()[1])


def test_bf16_is_refused_where_it_would_be_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("tf-horovod", "resnet50", precision="bf16")
    monkeypatch.setattr(tensorflow, "cpu_has", lambda feature: False)
    assert "AVX-512" in (TfHorovod().refuse(job) or "")
    monkeypatch.setattr(tensorflow, "cpu_has", lambda feature: True)
    assert TfHorovod().refuse(job) is None
