"""Executions, layouts and precisions beyond the usual ones: held against the reference, refused where they must be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlcompare.core.environments.sources import link_sources
from dlcompare.core.kinds.kind import Options
from dlcompare.core.kinds.verification.request import VerificationJob
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.run.runner import carry_out

PROBE = Path(__file__).with_name("execution_probe.py")
CASES = ("conv-wide-stride", "batch-norm-statistics", "max-pool-padding", "attention-mask", "unreached-parameters",
         "dropout-training")
Environment = Callable[[str], Path]
Probe = Callable[..., list[dict[str, Any]]]

OFFERED = [  # backend, execution, precision, workers, layout, cases
    ("pytorch-ddp", "compiled", "fp32", 2, None, CASES[1:4:2]),
    ("pytorch-ddp", "compiled", "bf16", 1, None, CASES[:1]),
    ("pytorch-ddp", "eager", "fp16", 2, None, (*CASES, "model")),
    ("pytorch-ddp", "eager", "fp32", 1, "NCHW", CASES),
    ("tf-horovod", "eager", "fp32", 2, None, (*CASES, "model")),
    ("tf-horovod", "compiled", "fp32", 2, None, (*CASES, "model")),
    ("tf-horovod", "compiled", "fp16", 2, None, (*CASES, "model")),
]


@pytest.mark.parametrize(("framework", "execution", "precision", "workers", "layout", "cases"), OFFERED)
def test_what_is_offered_agrees_with_the_reference(
        framework: str, execution: str, precision: str, workers: int, layout: str | None, cases: tuple[str, ...],
        environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = environment(framework)  # before the cache moves, or it would be made anew
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path / "cache"))  # where the certificate goes
    job = VerificationJob(framework, "bert-tiny", data="synthetic", execution=execution, precision=precision,
                          workers=workers, layout=layout, batch=4, cases=cases)
    assert plugins().backend(framework).refuse(job) is None
    how = Options(out=tmp_path, env=str(python))
    (outcome,) = carry_out(Plan("verification", (job,)), how, lambda job, event: None)
    assert outcome.passed, (outcome.reason, [c for c in outcome.checks if not c.passed])
    assert not list(tmp_path.glob(f"*/{job.id}/inductor-*")), "compiled code was left behind"


@pytest.fixture
def probe(environment: Environment, tmp_path: Path) -> Probe:
    """Return a function that runs the probe in a backend's environment and returns what each worker found."""
    def run(what: str, framework: str, execution: str, *, workers: int = 1, env: str = "") -> list[dict[str, Any]]:
        backend = plugins().backend(framework)
        job = Job(framework, "bert-tiny", execution=execution, workers=workers)
        python = str(environment(env or framework))
        own = {"PYTHONPATH": str(link_sources(tmp_path / "view")), "CUDA_VISIBLE_DEVICES": ""}
        argv = [*backend.command(job, python), str(PROBE), what, framework, execution]
        ended = subprocess.run(argv, env={**os.environ, **backend.variables(job), **own}, capture_output=True,
                               text=True, timeout=150, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr[-2000:]
        return [json.loads(found.read_text()) for found in tmp_path.glob("found-*.json")]

    return run


@pytest.mark.parametrize(("framework", "execution"), [("pytorch-ddp", "eager"), ("tf-horovod", "compiled")])
def test_an_overflow_on_one_rank_skips_the_step_on_all_and_halves_the_scale(
        probe: Probe, framework: str, execution: str) -> None:
    ranks = [found["states"] for found in probe("overflow", framework, execution, workers=2)]
    assert len(ranks) == 2
    assert [s["scale"] for s in ranks[0]] == [s["scale"] for s in ranks[1]]
    assert [s["weight"] for s in ranks[0]] == [s["weight"] for s in ranks[1]]
    steps = list(zip(ranks[1], ranks[1][1:], strict=False))
    skipped = [b["scale"] == a["scale"] / 2 for a, b in steps]
    assert skipped == [b["weight"] == a["weight"] for a, b in steps], "skipped and halved are one"
    assert skipped[0] and not skipped[-1] and all(a["mean"] != b["mean"] for a, b in steps)
    assert all(s["scale"] in (a["scale"], a["scale"] / 2) for a, s in steps)


@pytest.mark.parametrize("framework", ["pytorch-ddp", "tf-horovod"])
def test_a_changing_learning_rate_compiles_nothing_anew(probe: Probe, framework: str) -> None:
    found, = probe("rates", framework, "compiled")
    assert found["counts"] == [1] * 4
    assert found["settings"]["execution"] == "compiled" and found["settings"]["compiler"] in ("inductor", "xla")


def test_data_parallel_wraps_the_module_and_looks_at_each_share_alone(probe: Probe) -> None:
    """On a CPU DataParallel passes its batch through; what it does with several GPUs is untested."""
    found, = probe("data_parallel", "pytorch-dp", "eager", env="pytorch-ddp")
    assert (found["wrapped"], found["world"], found["gathered"]) == ("DataParallel", 1, [3.0])
    assert found["means"] < 1e-5, "batch norm has centred each worker's share on its bias"
    assert found["loss"] > 0 and found["seen"] > 0


REFUSED = [
    ("pytorch-ddp", {"execution": "graph"}, "--execution compiled"),
    ("pytorch-ddp", {"precision": "tf32"}, "a CPU has none"),
    ("pytorch-ddp", {"precision": "fp16", "layout": "NCHW"}, "--layout NHWC"),
    ("pytorch-dp", {"workers": 2}, "DataParallel does nothing"),
    ("pytorch-dp", {"device": "cuda"}, "pytorch-ddp --workers 1"),
    ("pytorch-dp", {"device": "cuda", "workers": 2, "execution": "compiled"}, "torch.compile"),
    ("pytorch-dp", {"device": "cuda", "workers": 99}, "needs a GPU for each of 99 workers"),
    ("tf-horovod", {"precision": "tf32"}, "a CPU has none"),
    ("tf-horovod", {"precision": "fp16"}, "--execution compiled"),
    ("tf-horovod", {"layout": "NCHW"}, "NHWC"),
]


@pytest.mark.parametrize(("framework", "options", "said"), REFUSED)
def test_what_cannot_be_is_refused_with_the_way_out(framework: str, options: dict[str, Any], said: str) -> None:
    assert said in (plugins().backend(framework).refuse(Job(framework, "resnet18", **options)) or "")


def test_compiling_for_a_cpu_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("pytorch-ddp", "resnet18", execution="compiled")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "g++" in (plugins().backend("pytorch-ddp").refuse(job) or "")
