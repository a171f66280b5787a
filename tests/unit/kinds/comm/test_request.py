"""What is asked of collectives: sizes, frameworks times collectives, what is refused and what makes no sense."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.comm.preparation import messages
from dlcompare.core.kinds.comm.request import Own, plan
from dlcompare.core.kinds.comm.sizes import fitted, once, parse, words
from dlcompare.core.kinds.kind import Request, kind
from dlcompare.core.plugins.collectives import CollectiveJob, Message
from dlcompare.core.plugins.registry import plugins


def planned(**settings: Any) -> Any:
    return plan(Request({"framework": "pytorch-ddp,mxnet", "device": "cpu", "threads": 1, **settings}, Own()))


@pytest.mark.parametrize(("text", "sizes", "models"), [
    ("1K..8K", [1024, 2048, 4096, 8192], []),
    ("1k..64KiB*4", [1024, 4096, 16384, 65536], []),
    ("1K..7K", [1024, 2048, 4096], []),
    ("3M, 1M,1M", [1 << 20, 3 << 20], []),
    ("100", [100], []),
    ("1G..1G", [1 << 30], []),
    ("model:resnet50,1K,model:resnet50", [1024], ["resnet50"]),
])
def test_sizes_are_read(text: str, sizes: list[int], models: list[str]) -> None:
    assert parse(text) == (sizes, models)


@pytest.mark.parametrize(("text", "said"), [
    ("", "names none"), (",", "names none"), ("big", "'big' is none of them"), ("1K..", "none of them"),
    ("-1", "none of them"), ("1.5K", "none of them"), ("0", "from 1 byte"), ("2000G", "to 1 TiB"),
    ("8K..1K", "goes upwards"), ("1K..8K*1", "factor of 2 or more"), ("9" * 30, "none of them")])
def test_sizes_that_make_no_sense_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(text)


def test_sizes_are_cut_to_whole_parts_and_named() -> None:
    assert [fitted(size, world=3) for size in (1, 12, 23, 1024)] == [12, 12, 12, 1020]
    assert [words(size) for size in (8, 1024, 1536, 3 << 20, 1 << 30)] == ["8 B", "1K", "1.5K", "3M", "1G"]


def test_sizes_that_become_one_are_measured_once_and_said() -> None:
    assert once([1, 4, 8, 16, 17, 24], world=2) == {8: 4, 16: 17, 24: 24}


def test_every_framework_runs_every_collective_or_says_why_not() -> None:
    found = planned(collective="all", sizes="1K")
    assert [(job.collective, job.framework) for job in found.jobs] == [
        (collective, framework) for collective in ("all_reduce", "broadcast", "all_gather", "reduce_scatter")
        for framework in ("pytorch-ddp", "mxnet")]
    refused = [job for job in found.jobs if job.id in found.refusals]
    assert [(one.framework, one.collective) for one in refused] == [
        ("mxnet", "all_gather"), ("mxnet", "reduce_scatter")]
    assert found.refusals[refused[0].id] == "mxnet has no all_gather; its engine offers all_reduce, broadcast"
    assert found.jobs[0].reproduce() == (
        "dlcompare comm --framework pytorch-ddp --collective all_reduce --sizes 1K --workers 2 --device cpu "
        "--threads 1 --iterations 500 --size-seconds 2.0")
    everyone = {job.framework for job in planned(framework="all").jobs}
    assert everyone == {"pytorch-ddp", "tf-horovod", "jax", "mxnet"}


@pytest.mark.parametrize("framework", ["pytorch-dp", "jax-local", "mxnet-horovod", "reference"])
def test_backends_without_an_engine_of_their_own_say_so(framework: str) -> None:
    (reason,) = planned(framework=framework).refusals.values()
    assert "no collectives of its own" in reason or "runs on cuda" in reason


@pytest.mark.parametrize("framework", ["jax", "tf-horovod"])
def test_what_gloo_was_seen_to_do_wrongly_is_refused(framework: str) -> None:
    job = CollectiveJob(framework, "reduce_scatter")
    ask = plugins().backend(framework).refuse_collective
    assert ask(job) is None and ask(job, size=(16 << 20) - 8) is None
    assert "wrong values" in str(ask(job, size=16 << 20))
    assert ask(CollectiveJob(framework, "all_reduce"), size=1 << 30) is None


@pytest.mark.parametrize(("given", "said"), [
    ({"framework": ""}, "--framework must be given"), ({"framework": ","}, "no framework was named"),
    ({"collective": ","}, "unknown collective ''"), ({"framework": "pytorch"}, "unknown framework 'pytorch'"),
    ({"collective": "all_sum"}, "unknown collective 'all_sum'"), ({"workers": 1}, "workers must be at least 2"),
    ({"sizes": "model:resnet1"}, "unknown model 'resnet1'"), ({"iterations": 1}, "iterations must be at least 5"),
])
def test_what_does_not_exist_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        planned(**given)


def test_a_plot_that_cannot_be_drawn_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    def never(plan: Any) -> Any:
        raise AssertionError("measured")

    with pytest.raises(UsageError, match=r"draws \.png or \.svg"):
        kind("comm").answer(Request({"framework": "pytorch-ddp"}, Own(plot="plot.gif")), never)
    with pytest.raises(UsageError, match="make it first"):
        kind("comm").answer(Request({"framework": "pytorch-ddp"}, Own(plot=str(tmp_path / "none" / "p.png"))), never)


def test_a_plot_that_cannot_be_written_costs_no_table(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "p.png").mkdir()
    records: list[Any] = [SimpleNamespace(best=(), round=None)]
    found = kind("comm").answer(Request({"framework": "pytorch-ddp"}, Own(plot=str(tmp_path / "p.png"))),
                                lambda plan: records)
    assert found.records == records and "cannot write" in found.missed


def test_messages_that_were_left_are_read(tmp_path: Path) -> None:
    file = tmp_path / "messages.json"
    file.write_text('{"m": [{"collective": "all_reduce", "size": 4, "gradients": 2}]}')
    assert messages(file) == {"m": (Message("all_reduce", 4, 2),)}
    file.write_text('{"m": [{"collective": "all_reduce", "bytes": 4}]}')
    with pytest.raises(UsageError, match="bytes"):
        messages(file)
