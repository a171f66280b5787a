"""The command line: reads arguments, calls the program, prints; no logic of its own.

Imports at module level are light, so that ``--help`` and ``list`` answer at once; NumPy comes in only where needed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from dlcompare.core import __version__
from dlcompare.core.errors import DlcompareError, UsageError
from dlcompare.core.plugins.job import DEVICES
from dlcompare.inference.kind.command import infer, is_run
from dlcompare.inference.kind.command import show as show_inference

from .options import COMPARISON, COMPILING, EXAMPLES, JUDGING, MATRIX, MEASURE, option, options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlcompare.core.judging.attribution import Explanation
    from dlcompare.core.judging.verdict import Judging
    from dlcompare.core.plan.matrix import Plan
    from dlcompare.core.records.record import Record

@click.group(invoke_without_command=True, epilog=EXAMPLES, context_settings={"max_content_width": 100})
@options(MATRIX, MEASURE, COMPILING, COMPARISON, JUDGING)
@click.version_option(__version__, prog_name="dlcompare")
@click.pass_context
def dlcompare(context: click.Context, form: str, explain: bool, compile_only: bool, topology: str | None,
              **given: Any) -> None:
    """Train the same network under several frameworks and compare the throughput.

    The same parameters, the same samples in the same order, the same arithmetic, one protocol; with --rounds also a
    verdict on who is faster. Without a sub-command this is the comparison itself; it needs --framework and --model.
    """
    if context.invoked_subcommand is not None:
        return
    given["rounds"] = given["rounds"] or (3 if explain else 1)
    plan, how = planned(given)
    if compile_only or topology:
        context.exit(compile_for(plan, how, topology, form))
    from dlcompare.core.kinds.training import explanation as explainer
    from dlcompare.core.plugins.registry import plugins
    from dlcompare.core.run.runner import run

    from .progress import Progress

    if explain:
        explainer.check(plan)
    explanation: Explanation | str | None = None
    more: list[Record] = []
    with Progress() as progress:
        records = run(plan, how, progress)
        if explain:
            explanation, more = explainer.explain(plugins(), plan, records, how, progress)
    if plan.repeated:
        judge(records, form, plan.judging, explanation, more)
    else:
        show(records, form)
    context.exit(0 if all(r.status == "ok" for r in [*records, *more]) else 1)


def compile_for(plan: Plan, how: Any, topology: str | None, form: str) -> int:
    """Compile for devices that need not be here, print what the compiler says, and return the exit code."""
    from dlcompare.core.kinds.compilation.report import render
    from dlcompare.core.kinds.compilation.result import compilation_plan, compile_all

    from .progress import Progress

    with Progress() as progress:
        outcomes = list(compile_all(compilation_plan(plan, topology), how, progress))
    click.echo(render(outcomes, form))
    return 0 if all(outcome.said for outcome in outcomes) else 1


def planned(given: dict[str, Any]) -> tuple[Plan, Any]:
    """Split the options into what is compared and how it is run, and make the plan."""
    from dlcompare.core.plan.matrix import make_plan
    from dlcompare.core.plugins.registry import plugins
    from dlcompare.core.run.runner import Options

    how = Options(out=given.pop("out"), env=given.pop("env"), resume=given.pop("resume", False),
                  stall_seconds=given.pop("timeout"))
    frameworks, model = given.pop("framework"), given.pop("model")
    if not frameworks or not model:
        missing = [f"--{k}" for k, v in (("framework", frameworks), ("model", model)) if not v]
        raise UsageError(f"{' and '.join(missing)} must be given, as in: dlcompare --framework tf-horovod "
                         "--model resnet50; 'dlcompare list' shows what there is")
    if given.pop("compiled"):
        if given["execution"] not in (None, "compiled"):
            raise UsageError(f"--compile is --execution compiled, and --execution {given['execution']} was given as "
                             "well; leave one of them out")
        given["execution"] = "compiled"
    names = [name.strip() for name in frameworks.split(",") if name.strip()]
    given |= {"until": given.pop("until_decided", None), "judging": judging(given)}
    return make_plan(plugins(), names, model, **given), how


def judging(given: dict[str, Any]) -> Judging:
    """Take how a comparison is judged out of the options."""
    from dlcompare.core.judging.verdict import AS_USUAL, Judging

    margin = given.pop("margin", None)
    return Judging(given.pop("baseline", None), AS_USUAL.margin if margin is None else margin / 100)


def show(records: list[Record], form: str) -> None:
    """Print records in one of the forms."""
    from dlcompare.core.reports import REPORTS

    click.echo(REPORTS[form](records).rstrip("\n"))


def judge(records: list[Record], form: str, how: Judging, explanation: Explanation | str | None = None,
          more: Sequence[Record] = ()) -> None:
    """Print the comparison that records amount to, in one of the forms."""
    from dlcompare.core.judging.verdict import compare
    from dlcompare.core.reports import comparison

    found = [*compare(records, how), *(compare(more) if more and form != "table" else ())]
    click.echo(comparison(form, found, explanation).rstrip("\n"))


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
    from dlcompare.core.kinds.verification import result
    from dlcompare.core.kinds.verification.report import render
    from dlcompare.core.plugins.registry import plugins

    from .progress import Progress

    given["batch"] = given["batch"] or 8
    if given["model"] and given["image_size"] is None and "image" in plugins().model(given["model"]).inputs:
        given["image_size"] = 64
    given["workers"] = 1
    plan, how = planned(given)
    counts = [int(n) for n in check_workers.split(",") if n.strip().isdigit()]
    if not counts:
        raise UsageError(f"--check-workers takes numbers such as 1,2, not {check_workers!r}")
    with Progress() as progress:
        outcomes = list(result.verify(result.verification_plan(plan, counts), how, progress))
    click.echo(render(outcomes, form))
    context.exit(0 if all(o.passed for o in outcomes) else 1)


@dlcompare.command("list")
def list_() -> None:
    """Show the frameworks, models and datasets there are, and plugins that could not be loaded."""
    from dlcompare.core.plugins.registry import plugins
    from dlcompare.core.reports.plugins import render

    click.echo(render(plugins()))


@dlcompare.command("show")
@click.argument("model")
@option("--image-size", type=click.IntRange(1), metavar="PIXELS", help="Side of the square image.")
@option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="What to print.")
def show_(model: str, image_size: int | None, form: str) -> None:
    """Show a model: inputs, layers, parameters, multiply-adds, bytes."""
    from dlcompare.core.plugins.registry import plugins
    from dlcompare.core.reports.model import render

    click.echo(render(plugins().model(model), image_size, form))


@dlcompare.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", help="What to print.")
def report(runs: tuple[Path, ...], form: str) -> None:
    """Show the records of finished runs: run folders, or records.json files; or runs of infer."""
    from dlcompare.core.run.runner import read_records

    if all(map(is_run, runs)):
        show_inference(runs, form)
        return

    records = [r for path in runs for r in read_records(path)]
    if form == "table" and any(record.round is not None for record in records):
        judge(records, form, judging({}))
    else:
        show(records, form)


@dlcompare.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@options(JUDGING)
def compare(runs: tuple[Path, ...], form: str, **given: Any) -> None:
    """Judge finished runs, also of different machines: run folders, or records.json files.

    Only what was interleaved in rounds of one run gets a verdict; for the rest it is said what cannot be concluded.
    """
    from dlcompare.core.run.runner import read_records

    records = {(r.run, r.id): r for path in runs for r in read_records(path)}  # the same run may be named twice
    judge(list(records.values()), form, judging(given))


dlcompare.add_command(infer)

NAME = click.argument("framework", required=False)
DEVICE = option("--device", type=click.Choice(DEVICES), default="cpu", help="The accelerator it is for.")


@dlcompare.group()
def env() -> None:
    """The environments that frameworks run in: list, create, remove, doctor."""


@env.command("list")
def env_list() -> None:
    """Show which environments there are, and why one cannot be had."""
    from dlcompare.core.reports.environments import listed

    click.echo(listed())


@env.command("create")
@NAME
@DEVICE
def env_create(framework: str | None, device: str) -> None:
    """Make a framework's environment, or all of them, from its lock file."""
    from dlcompare.core.environments import resolve
    from dlcompare.core.reports.environments import wanted

    specs = [(name, kind, spec) for name, kind, spec in wanted(framework, device) if spec]
    made = resolve.create_all(specs, lambda line: click.echo(line, err=True))
    for (name, kind), python in made.items():
        click.echo(f"{name} on {kind}: {python}")
    sys.exit(0 if all(isinstance(python, Path) for python in made.values()) else 1)


@env.command("remove")
@NAME
@DEVICE
def env_remove(framework: str | None, device: str) -> None:
    """Remove a framework's environment, or all of them; built wheels are kept."""
    from dlcompare.core.environments import resolve
    from dlcompare.core.reports.environments import wanted

    for name, kind, _ in wanted(framework, device):
        click.echo(f"{name} on {kind}: {resolve.megabytes(resolve.remove(name, kind))} freed")


@env.command("doctor")
@NAME
@DEVICE
def env_doctor(framework: str | None, device: str) -> None:
    """Check all that an environment needs: Python, compilers, the lock file, the framework itself."""
    from dlcompare.core.reports.environments import examined

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
        click.echo("dlcompare: stopped; finished jobs are kept, and --resume goes on with a training run", err=True)
        sys.exit(130)
