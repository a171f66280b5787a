"""The command line: reads arguments, calls the program, prints; no logic of its own.

Imports at module level are light, so that ``--help`` and ``list`` answer at once; NumPy comes in only where needed.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from dlcompare.core import __version__
from dlcompare.core.errors import DlcompareError, UsageError
from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.kind import Kind, kinds
from dlcompare.core.machine.limits import warn_before_time_is_up
from dlcompare.core.printable import in_one_line
from dlcompare.core.privacy import close_files

from .data import data
from .echo import drop_what_cannot_be_printed, echo, open_streams
from .environments import env
from .measuring import FORMS, measure, measuring, rendered, tell_distrust, tell_missed
from .options import apply, make, option, options_of
from .published import published

EXAMPLES = "\n\n".join((
    "[bold]Examples[/]",
    "dlcompare --framework tf-horovod --model resnet50",
    "dlcompare --framework tf-horovod,pytorch-ddp --model resnet50 --workers 2",
    "dlcompare --framework all --model bert-squad --batch 2 --format json > records.json",
    "dlcompare --framework pytorch-ddp,pytorch-ddp:execution=compiled --model resnet50 --rounds 8 --explain",
    "dlcompare compare runs/20260101-120000-1a2b runs/20260102-120000-3c4d",
    "dlcompare verify --framework all --model resnet18 --image-size 32",
))
FORMAT = option("--format", "form", type=click.Choice(FORMS), default="table", help="What to print.")
SIGNERS = option("--signers", type=click.Path(path_type=Path), metavar="FILE",
                 help="Whose signatures you know, in ssh-keygen's form of allowed signers: NAME KEY.")
TABLE_OR_JSON = option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="What to print.")
RUNS = click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))


def program() -> click.Group:
    """Return the program: the command of the kinds that need none of their own, and a sub-command for each other."""
    by_command: dict[str, list[Kind]] = {}
    for kind in kinds().values():
        by_command.setdefault(kind.command, []).append(kind)
    own = by_command.pop("")

    @click.pass_context
    def dlcompare(context: click.Context, **given: Any) -> None:
        """Train the same network under several frameworks and compare the throughput.

        The same parameters, the same samples in the same order, the same arithmetic, one protocol; with --rounds also a
        verdict on who is faster. Without a sub-command this is the comparison itself; it needs --framework and --model.
        """
        if context.invoked_subcommand is None:
            measure(context, own, given)

    group = click.group(invoke_without_command=True, epilog=EXAMPLES, context_settings={"max_content_width": 100})
    main_ = group(measuring("dlcompare", own, click.version_option(__version__, prog_name="dlcompare")(dlcompare)))
    of_their_own = (Later(name, found) for name, found in by_command.items())
    for command in (*of_their_own, list_, show_, report, compare, published, sign, env, data):
        main_.add_command(command)
    found: click.Group = main_
    return found


class Later(click.RichCommand):
    """A command with its name and help, whose options are made when it is called: those of all would be a slow start.
    """

    def __init__(self, name: str, found: list[Kind]) -> None:
        super().__init__(name=name, help=found[0].__doc__)
        self.found = found

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None,
                     **extra: Any) -> click.Context:
        """Return the context of the whole command, which takes this one's place."""
        return self.whole().make_context(info_name, args, parent, **extra)

    def whole(self) -> click.Command:
        """Return the command with its options."""
        return of_kinds(str(self.name), self.found)


def of_kinds(name: str, found: list[Kind]) -> click.Command:
    """Return the sub-command of some kinds."""
    @click.pass_context
    def run(context: click.Context, **given: Any) -> None:
        measure(context, found, given)

    command: click.Command = click.command(name, help=found[0].__doc__)(measuring(f"dlcompare {name}", found, run))
    return command


@click.command("list")
def list_() -> None:
    """Show the frameworks, models and datasets there are, and plugins that could not be loaded."""
    from dlcompare.core.plugins.registry import plugins
    from dlcompare.core.reports.plugins import render

    echo(render(plugins()))


@click.command("show")
@click.argument("model")
@option("--image-size", type=click.IntRange(1), metavar="PIXELS", help="Side of the square image.")
@TABLE_OR_JSON
def show_(model: str, image_size: int | None, form: str) -> None:
    """Show a model: inputs, layers, parameters, multiply-adds, bytes."""
    from dlcompare.core.plugins.registry import plugins
    from dlcompare.core.reports.model import render

    echo(render(plugins().model(model), image_size, form))


@click.command()
@RUNS
@SIGNERS
@FORMAT
@option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw a sweep too, as .png or .svg.")
@click.pass_context
def report(context: click.Context, runs: tuple[Path, ...], form: str, signers: Path | None, plot: Path | None) -> None:
    """Show the records of finished runs of any kind: run folders, or records.json files."""
    missed = ""
    if plot:
        from dlcompare.core.kinds.kind import kind
        from dlcompare.core.reports.sweeps.asked import draw
        from dlcompare.core.reports.sweeps.drawing import check
        from dlcompare.core.run.stored import read

        check(plot)
        records = [record for path in runs for record in read(path)]
        missed = draw([cell for name in dict.fromkeys(one.kind for one in records)
                       for cell in kind(name).cells([one for one in records if one.kind == name])], plot)
    print_stored(runs, form, None if form != "table" else Judging(), signers=signers)
    tell_missed(missed)
    context.exit(1 if missed else 0)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@option("--key", type=click.Path(path_type=Path), required=True, metavar="FILE",
        help="A private SSH key.")
def sign(run: Path, key: Path) -> None:
    """Sign the records of a run with an SSH key, for those who publish: report and compare then say whose they are."""
    from dlcompare.core.run import signature, stored

    stored.read(run)
    echo(f"signed: {signature.sign(stored.file_of(run), key)}")


def with_judging(command: Any) -> Any:
    """Put the options of judging on a command."""
    return apply(command, list(options_of(Judging).values()))


@click.command()
@RUNS
@with_judging
@SIGNERS
@FORMAT
def compare(runs: tuple[Path, ...], form: str, signers: Path | None, **given: Any) -> None:
    """Judge finished runs, also of different machines: run folders, or records.json files.

    Only what was interleaved in rounds of one run gets a verdict; for the rest it is said what cannot be concluded.
    """
    print_stored(runs, form, make(Judging, given), signers=signers, always=True)


def print_stored(runs: tuple[Path, ...], form: str, judging: Judging | None, *, signers: Path | None,
                 always: bool = False) -> None:
    """Print stored records, those of each kind together; judged if they were interleaved, or ``always``."""
    from dlcompare.core.kinds.kind import Answer, kind
    from dlcompare.core.run.signature import verdict
    from dlcompare.core.run.stored import by_kind, file_of, naming, read

    records = {(one.run, one.id): one for path in runs for one in read(path)}  # the same run may be named twice
    kinds_ = by_kind(list(records.values()))
    if form != "table" and len(kinds_) > 1:
        raise UsageError(f"these records are of several kinds ({', '.join(kinds_)}), which have different columns and "
                         f"keys; name the runs of one kind at a time, or leave --format {form} out")
    signed = filter(None, (verdict(file_of(path), signers) for path in runs))
    for line in signed:
        echo(in_one_line(line), err=form != "table")
    tell_distrust(list(records.values()), form)
    for name, found in kinds_.items():
        judged = always or any(one.round is not None for one in found)
        with naming(", ".join(map(str, runs))):
            text = rendered(kind(name), Answer(found), form, judging if judged else None)
        echo(text, coloured=True)


def interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def run_out_of_time(number: int, frame: object) -> None:
    raise KeyboardInterrupt("the limit on processor time (ulimit -t) was met; raise it")


def main() -> None:
    """Run the command line and end the process with its exit code: 0 all ran, 1 a job did not, 2 usage."""
    open_streams()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that cannot show a line's corner
    signal.signal(signal.SIGXCPU, run_out_of_time)
    warn_before_time_is_up()
    signal.signal(signal.SIGTERM, interrupt)  # also where a shell has us ignore Ctrl-C, in the background of a script
    code = carry_out_command()
    drop_what_cannot_be_printed()
    sys.exit(code)


def carry_out_command() -> int:
    """Do what the command line says and return the exit code."""
    try:
        close_files()
        return int(program()(standalone_mode=False) or 0)
    except DlcompareError as error:
        echo(f"dlcompare: {error}", err=True)
        return 2 if isinstance(error, UsageError) else 1
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        return error.exit_code
    except BrokenPipeError:  # whoever read the output, such as `head`, has enough
        return 1
    except OSError as error:  # of what click prints by itself
        echo(f"dlcompare: cannot print: {error.strerror}; make room, or print elsewhere" if error.filename is None else
             f"dlcompare: {error.filename}: {error.strerror}", err=True)
        return 1
    except MemoryError:
        echo("dlcompare: memory ran out; free some, or raise the limit on it (ulimit -v). Finished jobs are kept, and "
             "--resume goes on with the run", err=True)
        return 1
    except (KeyboardInterrupt, click.Abort) as stop:  # click makes the latter of the former
        why = str(stop.__context__ or stop) or "stopped"
        echo(f"dlcompare: {why}; finished jobs are kept, and --resume goes on with the run", err=True)
        return 130
