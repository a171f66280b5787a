"""The command line: reads arguments, calls the program, prints; no logic of its own.

Imports at module level are light, so that ``--help`` and ``list`` answer at once; NumPy comes in only where needed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from . import __version__
from .errors import DlcompareError, UsageError
from .job import DEVICES, EXECUTIONS, LAYOUTS, PRECISIONS

if TYPE_CHECKING:
    from .plan import Plan
    from .record import Record

EXAMPLES = "\n\n".join((
    "[bold]Examples[/]",
    "dlcompare --framework tf-horovod --model resnet50",
    "dlcompare --framework tf-horovod,pytorch-ddp --model resnet50 --workers 2",
    "dlcompare --framework all --model bert-squad --batch 2 --format json > records.json",
    "dlcompare verify --framework all --model resnet18 --image-size 32",
))

GROUPS = {
    "What is compared": ["--framework", "--model", "--data", "--image-size", "--weights"],
    "How it trains": ["--workers", "--batch", "--precision", "--execution", "--layout", "--device", "--threads",
                      "--loaders", "--seed", "--lr", "--schedule", "--momentum", "--weight-decay"],
    "How it is measured": ["--steps", "--windows"],
    "Where it runs and what comes out": ["--env", "--out", "--format", "--resume", "--timeout", "--port"],
}
panels: Any = [{"name": name, "options": options} for name, options in GROUPS.items()]
click.rich_click.OPTION_GROUPS = {"dlcompare": panels, "dlcompare verify": panels}
click.rich_click.TEXT_MARKUP = "rich"
click.rich_click.STYLE_OPTION = "bold"


def option(*names: str, **kwargs: Any) -> Callable[[Any], Any]:
    return click.option(*names, **{"show_default": kwargs.get("default") is not None, **kwargs})


MATRIX = (
    option("--framework", metavar="NAME[,NAME...]", help="Frameworks to compare, or 'all'; see 'dlcompare list'."),
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
    option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="What to print."),
    option("--resume", is_flag=True, help="Go on with the newest unfinished run of the same command."),
)


def options(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[Any], Any]:
    """Apply groups of options to a command, in the order they are written."""
    def apply(command: Any) -> Any:
        for one in reversed([o for group in groups for o in group]):
            command = one(command)
        return command
    return apply


@click.group(invoke_without_command=True, epilog=EXAMPLES, context_settings={"max_content_width": 100})
@options(MATRIX, MEASURE)
@click.version_option(__version__, prog_name="dlcompare")
@click.pass_context
def dlcompare(context: click.Context, form: str, **given: Any) -> None:
    """Train the same network under several frameworks and compare the throughput.

    The same parameters, the same samples in the same order, the same arithmetic, one protocol. Without a
    sub-command this is the comparison itself; it needs --framework and --model.
    """
    if context.invoked_subcommand is not None:
        return
    plan, how = planned(given)
    from .progress import Progress
    from .session import run

    with Progress() as progress:
        records = run(plan, how, progress)
    show(records, form)
    context.exit(0 if all(r.status == "ok" for r in records) else 1)


def planned(given: dict[str, Any]) -> tuple[Plan, Any]:
    """Split the options into what is compared and how it is run, and make the plan."""
    from .plan import make_plan
    from .plugins import plugins
    from .session import Options

    how = Options(out=given.pop("out"), env=given.pop("env"), resume=given.pop("resume", False),
                  stall_seconds=given.pop("timeout"))
    frameworks, model = given.pop("framework"), given.pop("model")
    if not frameworks or not model:
        missing = [f"--{k}" for k, v in (("framework", frameworks), ("model", model)) if not v]
        raise UsageError(f"{' and '.join(missing)} must be given, as in: dlcompare --framework tf-horovod "
                         "--model resnet50; 'dlcompare list' shows what there is")
    names = [name.strip() for name in frameworks.split(",") if name.strip()]
    return make_plan(plugins(), names, model, **given), how


def show(records: list[Record], form: str) -> None:
    """Print records in one of the forms."""
    from .reports import REPORTS

    click.echo(REPORTS[form](records).rstrip("\n"))


@dlcompare.command()
@options(MATRIX)
@option("--check-workers", metavar="N[,N...]", default="1,2", help="Numbers of workers to hold against one another.")
@option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="What to print.")
@click.pass_context
def verify(context: click.Context, form: str, check_workers: str, **given: Any) -> None:
    """Hold frameworks against the float64 reference and write certificates.

    Forward, loss, gradients, parameters and running statistics after several steps, evaluation, one worker and
    several. Small images keep the reference quick: --image-size defaults to 64 here, --batch to 8.
    """
    from . import verification
    from .plugins import plugins
    from .progress import Progress
    from .reports.verified import render

    given["batch"] = given["batch"] or 8
    if given["model"] and given["image_size"] is None and "image" in plugins().model(given["model"]).inputs:
        given["image_size"] = 64
    given["workers"] = 1
    plan, how = planned(given)
    counts = [int(n) for n in check_workers.split(",") if n.strip().isdigit()]
    if not counts:
        raise UsageError(f"--check-workers takes numbers such as 1,2, not {check_workers!r}")
    with Progress() as progress:
        outcomes = list(verification.verify(verification.verification_plan(plan, counts), how, progress))
    click.echo(render(outcomes, form))
    context.exit(0 if all(o.passed for o in outcomes) else 1)


@dlcompare.command("list")
def list_() -> None:
    """Show the frameworks, models and datasets there are, and plugins that could not be loaded."""
    from .plugins import plugins
    from .reports.listing import render

    click.echo(render(plugins()))


@dlcompare.command("show")
@click.argument("model")
@option("--image-size", type=click.IntRange(1), metavar="PIXELS", help="Side of the square image.")
@option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="What to print.")
def show_(model: str, image_size: int | None, form: str) -> None:
    """Show a model: inputs, layers, parameters, multiply-adds, bytes."""
    from .plugins import plugins
    from .reports.anatomy import render

    click.echo(render(plugins().model(model), image_size, form))


@dlcompare.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="What to print.")
def report(runs: tuple[Path, ...], form: str) -> None:
    """Show the records of finished runs: run folders, or records.json files."""
    from .session import read_records

    show([r for path in runs for r in read_records(path)], form)


NAME = click.argument("framework", required=False)
DEVICE = option("--device", type=click.Choice(DEVICES), default="cpu", help="The accelerator it is for.")


@dlcompare.group()
def env() -> None:
    """The environments that frameworks run in: list, create, remove, doctor."""


@env.command("list")
def env_list() -> None:
    """Show which environments there are, and why one cannot be had."""
    from .reports.environments import listed

    click.echo(listed())


@env.command("create")
@NAME
@DEVICE
def env_create(framework: str | None, device: str) -> None:
    """Make a framework's environment, or all of them, from its lock file."""
    from . import envs
    from .reports.environments import wanted

    specs = [(name, kind, spec) for name, kind, spec in wanted(framework, device) if spec]
    made = envs.create_all(specs, lambda line: click.echo(line, err=True))
    for (name, kind), python in made.items():
        click.echo(f"{name} on {kind}: {python}")
    sys.exit(0 if all(isinstance(python, Path) for python in made.values()) else 1)


@env.command("remove")
@NAME
@DEVICE
def env_remove(framework: str | None, device: str) -> None:
    """Remove a framework's environment, or all of them; built wheels are kept."""
    from . import envs
    from .reports.environments import wanted

    for name, kind, _ in wanted(framework, device):
        click.echo(f"{name} on {kind}: {envs.megabytes(envs.remove(name, kind))} freed")


@env.command("doctor")
@NAME
@DEVICE
def env_doctor(framework: str | None, device: str) -> None:
    """Check all that an environment needs: Python, compilers, the lock file, the framework itself."""
    from .reports.environments import examined

    text, healthy = examined(framework, device)
    click.echo(text)
    sys.exit(0 if healthy else 1)


def interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line and end the process with its exit code: 0 all ran, 1 a job did not, 2 usage."""
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that cannot show a line's corner
    signal.signal(signal.SIGTERM, interrupt)  # also where a shell has us ignore Ctrl-C, in the background of a script
    try:
        sys.exit(dlcompare(standalone_mode=False))
    except DlcompareError as error:
        click.echo(f"dlcompare: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # whoever read the output, such as `head`, has enough; Python must not flush it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("dlcompare: stopped; finished jobs are kept, --resume goes on from there", err=True)
        sys.exit(130)
