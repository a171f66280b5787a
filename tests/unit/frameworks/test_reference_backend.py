"""The reference seen from outside: light to import, honest about what it refuses."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from dlcompare.core.graph import Input
from dlcompare.core.graph.ops import trace
from dlcompare.core.plugins.backend import Backend
from dlcompare.core.plugins.job import Job
from dlcompare.frameworks import reference

JOB = Job("reference", "tiny", threads=3)


def test_the_hook_offers_one_backend_named_reference():
    (backend,) = reference.dlcompare_backends()
    assert isinstance(backend, Backend) and backend.name == "reference" and backend.title


def test_importing_and_asking_it_loads_no_numpy():
    code = ("import sys; from dlcompare.frameworks.reference import Reference; "
            "from dlcompare.core.plugins.job import Job; "
            "r = Reference(); r.refuse(Job('reference', 'x')), r.environment('cpu'); sys.exit('numpy' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("change", "reason"), [
    ({}, None),
    ({"workers": 2}, "one process and cannot be 2 workers"),
    ({"device": "cuda"}, "runs on cpu, not on cuda"),
    ({"precision": "bf16"}, "offers fp32, not precision bf16"),
])
def test_it_refuses_with_the_reason(change, reason):
    answer = reference.Reference().refuse(dataclasses.replace(JOB, **change))
    assert answer == reason or reason in answer


def test_it_runs_in_the_parents_interpreter_with_the_jobs_threads():
    backend = reference.Reference()
    assert backend.environment("cpu") is None and backend.command(JOB, "/usr/bin/python") == ["/usr/bin/python"]
    assert backend.variables(JOB)["OPENBLAS_NUM_THREADS"] == "3"


GRAPH = trace("tiny", lambda x, label: {"loss": x.dense(2, name="fc").cross_entropy(label)},
              {"x": Input((3,)), "label": Input((), "int64", "label", 2)})
PARAMS = {"fc.weight": np.eye(2, 3), "fc.bias": np.zeros(2)}


def test_the_oracle_emulates_what_it_is_told():
    trainer = reference.Reference().oracle(GRAPH, PARAMS, JOB, replicas=2, noise=np.zeros_like)
    batch = {"x": np.eye(2, 3, dtype=np.float32), "label": np.array([0, 1])}
    assert trainer.settings()["emulated_workers"] == 2 and not trainer.gradients(batch)["fc.weight"].any()


def test_its_trainer_trains():
    trainer = reference.Reference().trainer(GRAPH, PARAMS, JOB)
    batch = trainer.place({"x": np.eye(2, 3, dtype=np.float32), "label": np.array([0, 1])})
    losses = []
    for _ in range(3):
        trainer.step(batch, 0.5)
        losses.append(trainer.wait())
    assert losses == sorted(losses, reverse=True) and losses[0] == pytest.approx(np.log(1 + np.exp(-1)))
