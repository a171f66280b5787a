"""The options of the command line: their names, defaults and help, in the groups that ``--help`` shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

from dlcompare.core.plugins.job import DEVICES, EXECUTIONS, LAYOUTS, PRECISIONS

EXAMPLES = "\n\n".join((
    "[bold]Examples[/]",
    "dlcompare --framework tf-horovod --model resnet50",
    "dlcompare --framework tf-horovod,pytorch-ddp --model resnet50 --workers 2",
    "dlcompare --framework all --model bert-squad --batch 2 --format json > records.json",
    "dlcompare --framework pytorch-ddp,pytorch-ddp:execution=compiled --model resnet50 --rounds 8 --explain",
    "dlcompare compare runs/20260101-120000-1a2b runs/20260102-120000-3c4d",
    "dlcompare verify --framework all --model resnet18 --image-size 32",
))

GROUPS = {
    "What is compared": ["--framework", "--model", "--data", "--image-size", "--weights"],
    "How it trains": ["--workers", "--batch", "--precision", "--execution", "--compile", "--layout", "--device",
                      "--threads", "--loaders", "--seed", "--lr", "--schedule", "--momentum", "--weight-decay"],
    "How it is measured": ["--steps", "--windows", "--rounds", "--until-decided", "--target", "--max-epochs",
                           "--compile-only", "--topology"],
    "How it is judged": ["--baseline", "--margin", "--explain"],
    "Where it runs and what comes out": ["--env", "--out", "--format", "--save", "--resume", "--timeout", "--port"],
}


def panels_of(command: str, groups: dict[str, list[str]]) -> None:
    """Let a command's ``--help`` show its options in groups."""
    click.rich_click.OPTION_GROUPS[command] = [{"name": name, "options": found} for name, found in groups.items()]


panels_of("dlcompare", GROUPS)
panels_of("dlcompare verify", GROUPS)
click.rich_click.TEXT_MARKUP = "rich"
click.rich_click.STYLE_OPTION = "bold"


def option(*names: str, **kwargs: Any) -> Callable[[Any], Any]:
    return click.option(*names, **{"show_default": kwargs.get("default") is not None, **kwargs})


MATRIX = (
    option("--framework", metavar="NAME[,NAME...]", help="Frameworks to compare, or 'all' that run on the device. "
                                                         "NAME:SETTING=VALUE is one with a setting of its own."),
    option("--model", metavar="NAME", help="The network; see 'dlcompare list'."),
    option("--data", metavar="NAME[:ARG]", help="digits, imagefolder:PATH or synthetic; default: digits for image "
                                                "networks, synthetic for the others."),
    option("--image-size", type=click.IntRange(1), metavar="PIXELS", help="Side of the square image; default: the "
                                                                          "network's own."),
    option("--weights", type=click.Path(), metavar="FILE", help="Start from these parameters: .safetensors, or a "
                                                                "PyTorch state_dict."),
    option("--workers", type=click.IntRange(1), default=1, metavar="N", help="Worker processes that all-reduce."),
    option("--batch", type=click.IntRange(1), metavar="N", help="Samples per worker and step; default 8, on CUDA 64."),
    option("--precision", type=click.Choice(PRECISIONS), default="fp32", help="Arithmetic of the network."),
    option("--execution", type=click.Choice(EXECUTIONS), help="How the network is run; default: as each framework's "
                                                              "users do."),
    option("--compile", "compiled", is_flag=True, help="The same as --execution compiled."),
    option("--layout", type=click.Choice(LAYOUTS), help="Of images in memory; default: each framework's choice."),
    option("--device", type=click.Choice(DEVICES), help="Default: cuda where there is one, else cpu."),
    option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads per worker; default: cores / workers."),
    option("--loaders", type=click.IntRange(1), default=2, metavar="N", help="Image-decoding processes per worker."),
    option("--seed", type=int, default=0, help="Of the initial parameters and the order of the samples."),
    option("--lr", type=float, default=0.01, help="Learning rate."),
    option("--schedule", default="constant", metavar="NAME", help="constant, warmup:STEPS or cosine:STEPS."),
    option("--momentum", type=float, default=0.9, help="Of stochastic gradient descent."),
    option("--weight-decay", type=float, default=1e-4, help="Coupled: added to the gradient."),
    option("--env", metavar="current|PYTHON", help="Run the workers with this interpreter instead of an environment "
                                                   "of dlcompare's own."),
    option("--out", type=click.Path(path_type=Path), default=Path("runs"), metavar="DIR", help="Folder for runs."),
    option("--timeout", type=click.FloatRange(1), default=900.0, metavar="SECONDS", help="Give a job up that reports "
                                                                                          "nothing for so long."),
    option("--port", type=click.IntRange(1, 65535), metavar="N", help="Loopback port where workers meet, for backends "
                                                                      "that let one choose; default: a free one."),
)
MEASURE = (
    option("--steps", type=click.IntRange(1), metavar="N", help="Optimiser steps per window; default: as many as fill "
                                                                "2 seconds."),
    option("--windows", type=click.IntRange(1), default=5, metavar="N", help="Windows to measure."),
    option("--target", metavar="top1=SHARE", help="Train to this accuracy on the test split, as in top1=0.97, instead "
                                                  "of for some windows."),
    option("--max-epochs", type=click.IntRange(1), default=100, metavar="N", help="Give a target up after so many."),
    option("--save", is_flag=True, help="Keep the trained parameters in the run, for dlcompare infer --from-run."),
    option("--resume", is_flag=True, help="Go on with the newest unfinished run of the same command."),
)
COMPILING = (
    option("--compile-only", is_flag=True, help="Compile the train step for devices that need not be here, and "
                                                "tell what the compiler says."),
    option("--topology", metavar="NAME", help="The devices to compile for, such as v3:2x2, a TPU v3-8."),
)
COMPARISON = (
    option("--rounds", type=click.IntRange(1), metavar="N", help="Run all jobs so often, interleaved, for a verdict; "
                                                                 "default 1, without one."),
    option("--until-decided", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
           help="Go on with rounds, for about so long, until every ratio is decided."),
    option("--explain", is_flag=True, help="Run the slowest again with one setting at a time moved to the fastest's."),
)
JUDGING = (
    option("--baseline", metavar="NAME", help="What ratios are to; default: the first that runs."),
    option("--margin", type=click.FloatRange(0, 100), default=2.0, metavar="PERCENT",
           help="Throughputs that are surely no further apart are the same."),
    option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="What to print."),
)


def options(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[Any], Any]:
    """Apply groups of options to a command, in the order they are written."""
    def apply(command: Any) -> Any:
        for one in reversed([o for group in groups for o in group]):
            command = one(command)
        return command
    return apply
