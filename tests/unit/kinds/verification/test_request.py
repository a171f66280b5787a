"""What verification asks of a network: small images, data that every network can read, the numbers of workers."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import tiny
from asking import planned

from dlcompare.core import hookimpl
from dlcompare.core.conformance import oracle
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input
from dlcompare.core.graph.model import Model
from dlcompare.core.kinds.verification import request
from dlcompare.core.kinds.verification.request import VerificationJob, alike, judged_by
from dlcompare.core.plugins.registry import BUILTIN, Plugins

SIZES = {"small": 28, "middling": 64, "large": 65}


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a plug-in that offers networks of grey images of several sizes, which no dataset but synthetic is for."""
    module = ModuleType("grey")
    (residual,) = tiny.dlcompare_models()

    @hookimpl
    def dlcompare_models() -> list[Model]:
        return [Model(name, residual.build, {"image": Input((1, size, size)), "label": residual.inputs["label"]},
                      task="classification", reference="the tests") for name, size in SIZES.items()]

    module.dlcompare_models = dlcompare_models  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "grey", module)
    found = Plugins((*BUILTIN, "grey"))
    for user in (request, oracle):
        monkeypatch.setattr(user, "plugins", lambda: found)


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize(("model", "asked", "size", "side"), [
    ("small", None, None, 28), ("middling", None, None, 64), ("large", None, 64, 64), ("large", 65, 65, 65),
    ("small", 56, 56, 56),
])
def test_images_that_are_small_as_declared_keep_their_size(model: str, asked: int | None, size: int | None,
                                                           side: int) -> None:
    (job, _) = planned("reference", of="verification", model=model, image_size=asked).jobs
    assert job.image_size == size and job.data == "synthetic"
    assert oracle.case(oracle.MODEL, job).graph.inputs["image"].shape == (1, side, side)


@pytest.mark.parametrize(("model", "size"), [("resnet50", 64), ("bert-tiny", None)])
def test_published_networks_are_verified_on_small_images(model: str, size: int | None) -> None:
    plan = planned("reference", of="verification", model=model, image_size=None)
    assert [job.image_size for job in plan.jobs] == [size, size]


def test_each_framework_is_verified_with_each_number_of_workers() -> None:
    plan = planned("pytorch-ddp", "pytorch-ddp:layout=NCHW", of="verification", own={"check_workers": (1, 4)})
    assert [(plan.name(job), job.workers) for job in plan.jobs] == [
        ("pytorch-ddp", 1), ("pytorch-ddp:layout=NCHW", 1), ("pytorch-ddp", 4), ("pytorch-ddp:layout=NCHW", 4)]
    assert all(job.cases == oracle.names(job) for job in plan.jobs)
    (_, refused) = planned("reference", of="verification").jobs
    assert "one process" in planned("reference", of="verification").refusals[refused.id]


def test_the_reference_works_for_a_job_and_those_after_it() -> None:
    plan = planned("reference", "jax", of="verification", own={"check_workers": (1, 2)})
    one, first, refused, second = plan.jobs
    assert refused.id in plan.refusals
    assert judged_by(plan, one) == [(oracle.MODEL, alike(job)) for job in (one, first, second)]
    assert judged_by(plan, second) == [(oracle.MODEL, alike(second))]
    few = planned("jax", of="verification", case=("relu",))
    assert judged_by(few, few.jobs[0]) == []


def test_workers_share_the_cores_unless_threads_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    made = planned("pytorch-ddp", "jax:threads=3", of="verification", own={"check_workers": (1, 4)})
    assert [(job.framework, job.workers, job.threads) for job in made.jobs] == [
        ("pytorch-ddp", 1, 8), ("jax", 1, 3), ("pytorch-ddp", 4, 2), ("jax", 4, 3)]


@pytest.mark.parametrize("workers", [0, 3, 8])
def test_workers_that_do_not_divide_the_samples_are_refused(workers: int) -> None:
    with pytest.raises(UsageError, match=f"among the workers: 1, 2 or 4, not {workers}"):
        planned("reference", of="verification", own={"check_workers": (workers,)})


@pytest.mark.parametrize(("asked", "cases"), [
    ({"case": ("tanh", "model", "relu")}, ("relu", "tanh", "model")),
    ({"cases_only": True}, oracle.names(VerificationJob("jax", "resnet18"))[:-1]),
    ({"fail_fast": True}, oracle.names(VerificationJob("jax", "resnet18"))),
])
def test_cases_can_be_chosen(asked: dict[str, Any], cases: tuple[str, ...]) -> None:
    (job, _) = planned("jax", of="verification", **asked).jobs
    assert job.cases == cases


@pytest.mark.parametrize(("asked", "told"), [
    ({"case": ("relu", "tanhh")}, "unknown case 'tanhh'; there is: .*Did you mean 'tanh'?"),
    ({"case": ("sgd",), "cases_only": True}, "leave one of them out"),
])
def test_cases_that_are_not_there_are_refused(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        planned("jax", of="verification", **asked)


def test_an_execution_is_verified_by_its_short_name() -> None:
    def executions(**asked: Any) -> set[str | None]:
        return {job.execution for job in planned("pytorch-ddp", of="verification", **asked).jobs}

    assert executions(own={"compile": True}) == {"compiled"} != executions()
    with pytest.raises(UsageError, match="leave one of them out"):
        executions(own={"compile": True}, execution="eager")
