"""TensorRT 8.5 itself, in an environment of its own, without a GPU: the version table, and its own words in ours.

``pytest -m tensorrt`` runs these; where a GPU is, ``tests/benchmarks/tensorrt_gpu.sh`` runs everything else.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tiny
from running import PLUGINS

from dlcompare.core.environments import resolve
from dlcompare.core.environments.sources import linked_sources
from dlcompare.core.errors import EnvironmentUnavailable
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins

REASON = ("TensorRT's wheels are 1.7 GB to download and 2.8 GB installed, and need CPython 3.10 on PATH; run "
          "`pytest -m tensorrt`")
NO_GPU = r"CUDA error (35|100),|initialization failure with error: (35|100)"  # driver too old or none; no device

pytestmark = pytest.mark.tensorrt


@pytest.fixture(autouse=True, scope="module")
def wanted(request: pytest.FixtureRequest) -> None:
    if "tensorrt" not in request.config.option.markexpr:
        pytest.skip(REASON)


@pytest.fixture(scope="module")
def python(wanted: None) -> Path:
    try:
        return resolve.resolve(None, plugins().engine("tensorrt85"), "cuda", print)
    except EnvironmentUnavailable as error:
        pytest.skip(str(error))


def run(python: Path, *program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    variables = {"PYTHONPATH": os.pathsep.join(map(str, (linked_sources(), PLUGINS))), "DLCOMPARE_PLUGINS": "tiny",
                 "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run([python, *program], cwd=folder, capture_output=True, text=True, timeout=300, check=False,
                          env={**os.environ, **variables})


@pytest.fixture(scope="module")
def said(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the library has and says."""
    done = run(python, str(Path(__file__).with_name("tensorrt_probe.py")), folder=tmp_path_factory.mktemp("probe"))
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_the_version_table_holds(said: dict[str, Any]) -> None:
    assert said["version"] == "8.5.3.1"
    assert said["api"] == said["expected"] and said["missing"] == []


def test_cuda_comes_from_the_environments_own_wheels(said: dict[str, Any], python: Path) -> None:
    assert Path(said["cudart"]).resolve().is_relative_to(python.parents[1].resolve())


@pytest.mark.parametrize("who", ["builder", "cuda"])
def test_without_a_gpu_the_reason_and_what_to_do_are_said(said: dict[str, Any], who: str) -> None:
    assert said[who].startswith("no usable GPU") and "tensorrt-emulated" in said[who]
    assert re.search(NO_GPU, said[who]), said[who]


def test_the_calibrator_is_tensorrts_and_takes_whole_batches(said: dict[str, Any]) -> None:
    assert said["calibrator"] and said["batches"] == [25, 25]
    assert "whole batches of 25, and there are 2 samples" in said["few"]


def test_a_job_fails_with_that_reason_and_no_traceback(python: Path, tmp_path: Path) -> None:
    job = InferenceJob("tensorrt85", "tiny-residual", file="none.onnx", sha256="", device="cuda", inputs=tiny.INPUTS,
                       outputs=("logits",), data="stripes", task="predict", samples=(0, 1))
    (tmp_path / "job.json").write_text(job.to_json())
    done = run(python, "-m", job.worker, "job.json", ".", folder=tmp_path)
    (word,) = [json.loads(file.read_text()) for file in tmp_path.glob("error-*.json")]
    assert done.returncode and word["kind"] == "known" and word["message"].startswith("no usable GPU")
