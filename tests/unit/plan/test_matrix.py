"""The matrix: defaults, refusals with reasons, and what is a usage error."""

import socket
from pathlib import Path

import numpy as np
import pytest
from asking import planned

from dlcompare.core.errors import UsageError
from dlcompare.core.graph.params import initial_params, write_params
from dlcompare.core.judging.judging import Judging
from dlcompare.core.plugins.registry import plugins


def test_all_is_every_backend_of_the_device_but_the_oracle() -> None:
    everything = [name for name, backend in plugins().backends().items()
                  if name != "reference" and "cpu" in backend.devices]
    assert [j.framework for j in planned("all", "pytorch-ddp").jobs] == everything
    assert {"pytorch-ddp", "tf-horovod", "jax", "mxnet"} <= set(everything) and "pytorch-dp" not in everything
    assert "pytorch-dp" in [j.framework for j in planned("all", device="cuda").jobs]


def test_defaults_depend_on_the_model_and_the_machine() -> None:
    image, tokens = planned("reference").jobs[0], planned("reference", model="bert-tiny", image_size=None).jobs[0]
    assert (image.data, image.batch) == ("digits", 8)
    assert tokens.data == "synthetic"
    assert planned("reference", threads=3).jobs[0].threads == 3


def test_the_plan_of_one_request_has_one_digest() -> None:
    assert planned("reference").digest == planned("reference").digest != planned("reference", seed=1).digest


def test_a_batch_that_cannot_fit_is_refused_with_one_that_can() -> None:
    plan = planned("pytorch-ddp", data="synthetic", batch=10_000_000)
    (reason,) = plan.refusals.values()
    assert "GiB are free" in reason and "try --batch" in reason
    fits = int(reason.rpartition("--batch ")[2].split()[0])
    assert not planned("pytorch-ddp", data="synthetic", batch=max(1, fits // 2)).refusals


def test_a_taken_port_is_refused() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        plan = planned("pytorch-ddp", port=server.getsockname()[1])
    assert "is taken" in next(iter(plan.refusals.values()))


def test_a_backend_refuses_what_it_cannot_do() -> None:
    plan = planned("reference", workers=2)
    assert "one process" in next(iter(plan.refusals.values()))
    assert "not on cuda" in next(iter(planned("reference", device="cuda").refusals.values()))


GPUS = [{"index": i, "name": "a card"} for i in range(2)]


@pytest.mark.parametrize(("workers", "hidden", "words"), [
    (1, None, ""), (2, None, ""), (3, None, "3 workers need 3 GPUs; this machine has 2; use --workers 2"),
    (2, "1", "2 workers need 2 GPUs; this machine has 1"), (2, "0,1", ""),
    (1, "-1", "a worker needs a GPU; this machine has none; use --device cpu"),
])
def test_more_workers_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch, workers: int, hidden: str | None,
                                            words: str) -> None:
    monkeypatch.setattr("dlcompare.core.machine.accelerators.accelerators", lambda: GPUS)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    reasons = list(planned("pytorch-ddp", device="cuda", workers=workers).refusals.values())
    assert [words in reason for reason in reasons] == ([True] if words else [])


def test_rounds_are_part_of_the_request() -> None:
    digests = [planned("reference", **options).digest for options in (
        {}, {"rounds": 2}, {"rounds": 3}, {"rounds": 3, "until": 60.0}, {"rounds": 3, "until": 90.0},
        {"rounds": 3, "until": 60.0, "judging": Judging(margin=0.1)})]
    assert len(set(digests)) == len(digests)
    assert planned("reference", rounds=2, judging=Judging(margin=0.1)).digest == digests[1], "it changes no record"
    assert planned("reference", until=60.0).rounds == 3


def test_a_baseline_must_be_one_of_the_sides() -> None:
    with pytest.raises(UsageError, match=r"unknown baseline 'torch'.*reference:seed=1"):
        planned("reference", "reference:seed=1", judging=Judging("torch"))


@pytest.mark.parametrize(("options", "words"), [
    ({"model": "resnet51"}, "Did you mean 'resnet50'"),
    ({"data": "digit"}, "Did you mean 'digits'"),
    ({"data": "imagefolder:/nowhere"}, "/nowhere"),
    ({"weights": "/nowhere/w.safetensors"}, "does not exist"),
    ({"image_size": 2, "model": "alexnet"}, "cannot take 2 x 2"),
    ({"model": "bert-tiny"}, "reads no image"),
    ({"classes": 9}, "has 10 classes, but this model tells only 9 apart; give --classes 10"),
    ({"model": "bert-tiny", "image_size": None, "classes": 9}, "it is no classifier; leave --classes out"),
    ({"model": "bert-tiny", "image_size": None, "data": "digits"}, "synthetic"),
])
def test_usage_errors_name_what_would_do(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        planned("reference", **options)


def test_weights_are_looked_at_before_anything_starts(tmp_path: Path) -> None:
    params = initial_params(plugins().model("resnet18").graph(32, classes=10), 0)
    path = str(tmp_path / "w.safetensors")
    write_params(path, params)
    assert planned("reference", weights=path, classes=10).jobs[0].weights == path
    with pytest.raises(UsageError, match="give --classes 10"):
        planned("reference", weights=path, classes=20)
    params["layer1.0.conv1.weight"][0, 0, 0, 0] = np.nan
    write_params(path, params)
    with pytest.raises(UsageError, match=r"1 of the 36864 numbers of 'layer1.0.conv1.weight' are not finite"):
        planned("pytorch-ddp", "jax", weights=path, classes=10)


@pytest.mark.parametrize("of", ["training", "verification", "time_to_accuracy"])
def test_batch_norm_over_one_value_is_one_refusal_for_all(of: str) -> None:
    """At 32 x 32 the last stage of resnet18 is 1 x 1, where a batch of 1 leaves nothing to take a variance of."""
    more = {"target": "top1=0.9", "max_epochs": 1} if of == "time_to_accuracy" else {}
    with pytest.raises(UsageError, match=r"batch norm 'layer4.0.bn1' .*one value.*--batch 2 or more"):
        planned("all", of=of, batch=1, **more)
    with pytest.raises(UsageError, match="--batch 2 or more"):
        planned("jax", "mxnet:batch=1", of=of, **more)
    assert planned("reference", of=of, batch=1, image_size=64, **more).jobs
    assert planned("reference", of=of, batch=2, **more).jobs


def test_the_last_layer_takes_the_classes_asked_for() -> None:
    (job,) = planned("reference", classes=12).jobs
    assert job.classes == 12 and "--classes 12" in job.reproduce()
    assert "--classes" not in planned("reference", data="synthetic").jobs[0].reproduce()


def test_an_unknown_framework_lists_the_others() -> None:
    with pytest.raises(UsageError, match=r"tf-horovod.*Did you mean 'pytorch-ddp'"):
        planned("torch-ddp")


def test_an_empty_class_folder_is_found_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "train" / "cats").mkdir(parents=True)
    (tmp_path / "val" / "cats").mkdir(parents=True)
    with pytest.raises(UsageError, match="cats"):
        planned("reference", data=f"imagefolder:{tmp_path}")
