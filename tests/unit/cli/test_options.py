"""What there was of options is there, what is out of range is refused in words, and a line that repeats a job does."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import click
import pytest
from asking import planned

from dlcompare.core.cli.main import Later, program
from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import kind
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.job import Job
from dlcompare.core.records.circumstances import Circumstances

SMALL = ("--framework", "pytorch-ddp", "--model", "resnet18")
PLACE = "--env --format --out --port --timeout --resume"
NETWORK = "--framework --model --image-size --weights --batch --precision --execution --compile --layout --device " \
          "--threads --seed"
OFFERED = {  # by sub-command; scripts of users name them
    "": f"{NETWORK} {PLACE} --data --loaders --lr --schedule --optimiser --momentum --weight-decay --decay --clip "
        "--workers --steps --windows --rounds --until-decided --target --max-epochs --save --compile-only --topology "
        "--explain --baseline --margin --version",
    "verify": f"{NETWORK} {PLACE} --check-workers",
    "report": "--format",
    "compare": "--format --baseline --margin",
    "show": "--format --image-size",
}


def options(command: str) -> dict[str, click.Option]:
    group = program()
    found = group.commands[command] if command else group
    found = found.whole() if isinstance(found, Later) else found
    return {name: one for one in found.params if isinstance(one, click.Option) for name in one.opts}


@pytest.mark.parametrize("command", OFFERED)
def test_what_was_offered_still_is(command: str) -> None:
    assert set(OFFERED[command].split()) <= options(command).keys()


@pytest.mark.parametrize("command", ["", "verify"])
def test_every_option_has_words_and_a_panel(command: str) -> None:
    import rich_click

    found = {id(one): one for one in options(command).values()}.values()
    shown = {name for panel in rich_click.rich_click.OPTION_GROUPS[f"dlcompare {command}".strip()]
             for name in panel["options"]}
    assert all(one.help for one in found)
    assert {one.opts[0] for one in found} - shown <= {"--version"}


DEFAULTS = {"workers": 1, "precision": "fp32", "loaders": 2, "seed": 0, "lr": 0.01, "schedule": "constant",
            "momentum": 0.9, "weight_decay": 1e-4, "windows": 5, "max_epochs": 100, "timeout": 900.0, "margin": 2.0,
            "form": "table", "rounds": 1, "image_size": None, "execution": None, "steps": None, "device": None}


def test_defaults_are_those_of_before() -> None:
    found = {one.name: one.default[0] if isinstance(one.default, tuple) else one.default  # of an axis
             for one in options("").values()}
    assert {name: None if str(found[name]) == "Sentinel.UNSET" else found[name] for name in DEFAULTS} == DEFAULTS


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """Return a function that gives the plan that a command line would carry out."""
    def asked(*words: str) -> Plan:
        found: list[Plan] = []

        def stop(plan: Plan, *_: object) -> None:
            found.append(plan)
            raise InterruptedError

        with monkeypatch.context() as patched:
            patched.setattr("dlcompare.core.run.runner.carry_out", stop)
            with pytest.raises(InterruptedError):
                program()(list(words), standalone_mode=False)
        return found[0]

    return asked


def refusal(*words: str) -> str:
    """Return in which words a command line is refused."""
    with pytest.raises((click.ClickException, UsageError)) as caught:
        program()(list(words), standalone_mode=False)
    return caught.value.format_message() if isinstance(caught.value, click.ClickException) else str(caught.value)


@pytest.mark.parametrize(("words", "told"), [
    (("--batch", "0"), "0 is not in the range x>=1"),
    (("--workers", "-1"), "-1 is not in the range x>=1"),
    (("--threads", "0"), "not in the range"),
    (("--loaders", "0"), "not in the range"),
    (("--image-size", "0"), "not in the range"),
    (("--steps", "0"), "not in the range"),
    (("--windows", "0"), "not in the range"),
    (("--rounds", "0"), "not in the range"),
    (("--max-epochs", "0", "--target", "top1=0.9"), "not in the range"),
    (("--until-decided", "0"), "0.0 is not in the range x>0"),
    (("--timeout", "0.5"), "0.5 is not in the range x>=1"),
    (("--margin", "101"), "not in the range 0<=x<=100"),
    (("--port", "65536"), "65536 is not in the range 1<=x<=65535"),
    (("--lr", "-1"), "-1.0 is not in the range x>=0"),
    (("--lr", "nan"), "lr must be finite, not nan"),
    (("--lr", "inf"), "lr must be finite, not inf"),
    (("--momentum", "nan"), "momentum must be finite, not nan"),
    (("--batch", "many"), "'many' is not a valid integer range, nor max"),
    (("--batch", "8,0"), "0 is not in the range x>=1"),
    (("--batch", ","), "takes one value or several, such as 1,2, not ','"),
    (("--precision", "fp32,fp31"), "'fp31' is not one of 'fp32', 'tf32', 'bf16', 'fp16'"),
    (("--batch", "8,16", "--target", "top1=0.9"),
     "--batch takes one value for time to train a network to an accuracy, not 8,16"),
    (("--batch", "max", "--target", "top1=0.9"),
     "--batch takes a value for time to train a network to an accuracy, not max"),
    (("--batch", "8", "--plot", "a.png"), "--plot draws a sweep"),
    (("--batch", "8,16", "--plot", "a.pdf"), "--plot draws .png or .svg files, not 'a.pdf'"),
    (("--precision", "fp31"), "'fp31' is not one of 'fp32', 'tf32', 'bf16', 'fp16'"),
    (("--device", "gpu"), "'gpu' is not one of 'cpu', 'cuda', 'tpu'"),
    (("--schedule", "linear:3"), "constant, warmup:STEPS, cosine:STEPS"),
    (("--format", "yaml"), "'yaml' is not one of 'table', 'json', 'csv'"),
    (("--target", "top1=2"), "a target is top1=SHARE"),
    (("--target", "top1=0.9", "--topology", "v3:2x2"), "--target and --topology ask for different measurements"),
    (("--target", "top1=0.9", "--windows", "3"), "--windows has no meaning for time to train a network to an accuracy"),
    (("--max-epochs", "3"), "--max-epochs has no meaning for training throughput"),
    (("--topology", "v3:2x2", "--rounds", "3"), "--rounds has no meaning for a train step compiled"),
    (("--compile-only",), "--compile-only needs --topology, such as --topology v3:2x2"),
    (("--topology", "v3:2x2", "--format", "csv"), "printed as table or json, not as csv; use another --format"),
    (("--explain",), "--explain compares frameworks: name at least two"),
])
def test_a_value_that_cannot_be_is_refused_in_words(words: tuple[str, ...], told: str) -> None:
    assert told in refusal(*SMALL, *words)


@pytest.mark.parametrize(("words", "told"), [
    (("--workers", "2"), "No such option"), (("--lr", "0.1"), "No such option"),
    (("--data", "digits"), "No such option"), (("--momentum", "0.5"), "No such option"),
    (("--steps", "3"), "No such option"), (("--rounds", "3"), "No such option"),
    (("--check-workers", "3"), "1, 2 or 4, not 3"), (("--check-workers", "0"), "1, 2 or 4, not 0"),
    (("--check-workers", "x"), "takes numbers such as 1,2, not 'x'"),
    (("--check-workers", ""), "takes numbers such as 1,2, not ''"),
    (("--format", "csv"), "'csv' is not one of 'table', 'json'"),
    (("--compile", "--execution", "eager"), "leave one of them out"),
])
def test_verify_refuses_what_it_chooses_itself(words: tuple[str, ...], told: str) -> None:
    assert told in refusal("verify", *SMALL, *words)


JOBS = {
    "training": [
        {}, {"data": "synthetic", "workers": 2, "batch": 3, "seed": 7, "lr": 0.25, "schedule": "cosine:9"},
        {"precision": "bf16", "execution": "compiled", "layout": "NCHW", "threads": 2, "loaders": 3, "momentum": 0.5},
        {"weight_decay": 0.0, "steps": 4, "windows": 9, "save": True, "port": 29511}],
    "time_to_accuracy": [{"target": "top1=0.9"}, {"target": "top1=0.97", "max_epochs": 7, "lr": 0.1, "save": True}],
    "compilation": [{"topology": "v3:2x2", "batch": 64}],
    "verification": [{}, {"precision": "bf16", "execution": "compiled", "seed": 3, "batch": 2},
                     {"case": ("relu", "model"), "fail_fast": True}, {"cases_only": True}],
}


@pytest.mark.parametrize(("of", "settings"), [(of, one) for of, several in JOBS.items() for one in several])
def test_the_line_that_repeats_a_job_does(of: str, settings: dict[str, Any], plans: Callable[..., Plan]) -> None:
    for job in planned("pytorch-ddp", of=of, **settings).jobs:
        line = kind(of).outline(job, Circumstances(), status="refused", reason="no").reproduce
        (again,) = plans(*shlex.split(line)[1:]).jobs
        assert again == (replaced(job, port=None) if isinstance(job, Job) else job), line


def replaced(job: Any, **changes: Any) -> Any:
    import dataclasses

    return dataclasses.replace(job, **changes)


def test_a_line_for_people_is_asked_for_as_it_was() -> None:
    """Options that this machine chose are named, for another would choose others."""
    (job,) = planned("reference", threads=3).jobs
    assert job.reproduce() == ("dlcompare --framework reference --model resnet18 --data digits --image-size 32 "
                               "--classes 10 --workers 1 --batch 8 --precision fp32 --execution eager --device cpu "
                               "--threads 3 --seed 0 --lr 0.01 --windows 5")


def test_options_reach_the_plan(plans: Callable[..., Plan]) -> None:
    plan = plans(*SMALL, "--device", "cpu", "--rounds", "4", "--until-decided", "60", "--margin", "5", "--compile")
    assert (plan.kind, plan.rounds, plan.until, plan.judging.margin) == ("training", 4, 60.0, 0.05)
    assert plan.jobs[0].execution == "compiled"
    assert plans(*SMALL, "--device", "cpu", "--explain", "--framework", "pytorch-ddp,jax").rounds == 3
    assert plans("verify", *SMALL, "--compile", "--check-workers", "1").jobs[0].execution == "compiled"
    assert [job.workers for job in plans("verify", *SMALL, "--check-workers", "2,1,2").jobs] == [2, 1]


@pytest.mark.parametrize(("device", "batch"), [("cpu", 8), ("cuda", 8)])
def test_verification_takes_few_samples_on_every_device(device: str, batch: int) -> None:
    """The float64 reference must go through them too."""
    assert planned("pytorch-ddp", of="verification", device=device).jobs[0].batch == batch
    assert planned("pytorch-ddp", device=device).jobs[0].batch == {"cpu": 8, "cuda": 64}[device]


@pytest.mark.parametrize("words", [("--batch", "16,8"), ("--batch", "16", "--batch", "8"), ("--batch", "8, 16,8")])
def test_values_are_separated_by_commas_or_the_option_is_repeated(plans: Callable[..., Plan],
                                                                  words: tuple[str, ...]) -> None:
    plan = plans(*SMALL, *words)
    assert [dict(plan.points[job.id]) for job in plan.jobs] == [{"batch": 8}, {"batch": 16}]


def test_the_largest_batch_is_left_to_a_search(plans: Callable[..., Plan]) -> None:
    (job,) = plans(*SMALL, "--batch", "max").jobs
    assert isinstance(job, Job) and job.largest and job.batch == 8
    plan = plans(*SMALL, "--batch", "max,4")
    assert [(plan.points[job.id]["batch"], job.largest) for job in plan.jobs if isinstance(job, Job)] == [
        (4, False), ("max", True)]
