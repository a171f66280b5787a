"""The commands that measure: one for each kind, made of what the kind says of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rich_click as click

from dlcompare.core.errors import UsageError
from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.kind import Kind, Options, Request
from dlcompare.core.machine.process_tree import claim
from dlcompare.core.plan.plan import Repetition
from dlcompare.core.plugins.job import PLACE
from dlcompare.core.printable import in_one_line
from dlcompare.core.settings import Setting, setting

from .echo import echo
from .options import apply, make, option, options_of, panels, settings_by_name

if TYPE_CHECKING:
    from dlcompare.core.kinds.kind import Answer

FORMS = ("table", "json", "csv")


@dataclass(frozen=True)
class Shown:
    """What is printed, and where."""

    form: str = setting("table", group=PLACE, choices=FORMS, flag="--format", help="What to print.")


def groups(kind: Kind) -> list[tuple[Any, tuple[str, ...]]]:
    """Return the dataclasses whose settings are a kind's options, each with the fields that are not."""
    found = [(kind.job, kind.refused), (kind.own, ()), (Options, ()), (Shown, ())]
    return [*found, (Repetition, ()), (Judging, ())] if kind.repeats else found


def settings(kinds: Sequence[Kind]) -> dict[str, Setting]:
    """Return the settings that a command of some kinds offers, by name."""
    return {name: about for kind in kinds for cls, without in groups(kind)
            for name, about in settings_by_name(cls, without).items()}


def measuring(name: str, kinds: Sequence[Kind], command: Any) -> Any:
    """Return a function as the command of some kinds, with all their options."""
    found: dict[str, Any] = {}
    sweeps = any(kind.sweeps for kind in kinds)
    for kind in kinds:
        for cls, without in groups(kind):
            found = {**options_of(cls, without, sweeps=sweeps), **found}
    forms = [form for form in FORMS if any(form in kind.forms for kind in kinds)]
    found["form"] = option("--format", "form", type=click.Choice(forms), default="table", help="What to print.")
    panels(name, settings(kinds))
    return apply(command, [found[field] for field in settings(kinds)])


def choose(kinds: Sequence[Kind], given: Mapping[str, Any]) -> Kind:
    """Return the kind that options select: the one whose own are given, else the one that needs none."""
    wanted = [kind for kind in kinds if any(given.get(name) for name in kind.selected_by)]
    if len(wanted) > 1:
        names = [f"--{name.replace('_', '-')}" for kind in wanted for name in kind.selected_by if given.get(name)]
        raise UsageError(f"{' and '.join(names)} ask for different measurements; leave one of them out")
    return wanted[0] if wanted else next(kind for kind in kinds if not kind.selected_by)


def refuse_strange(kind: Kind, context: click.Context, given: Mapping[str, Any]) -> None:
    """Raise UsageError if an option was given that has no meaning for a kind, although it has for another."""
    known = settings([kind])
    for name in given:
        source = context.get_parameter_source(name)
        if name not in known and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--{name.replace('_', '-')} has no meaning for {kind.title}; leave it out")


def refuse_sweep(kind: Kind, given: Mapping[str, Any]) -> None:
    """Raise UsageError if a matrix, or a search, is asked of a kind that makes none, although another does."""
    for name, about in settings_by_name(kind.job, kind.refused).items():
        if about.axis and not kind.sweeps and (isinstance(given[name], tuple) or given[name] in about.words):
            what = "one value" if isinstance(given[name], tuple) else "a value"
            raise UsageError(f"{about.option(name)} takes {what} for {kind.title}, not {told(given[name])}")


def told(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def request(kind: Kind, given: Mapping[str, Any]) -> Request:
    """Return what was asked of a kind."""
    asked = {name: given[name] for name in settings_by_name(kind.job, kind.refused) if given.get(name) is not None}
    return Request(asked, make(kind.own, given), make(Repetition, given), make(Judging, given))


def measure(context: click.Context, kinds: Sequence[Kind], given: Mapping[str, Any]) -> None:
    """Carry out what was asked, print what came of it, and end with the exit code."""
    from dlcompare.core.run.runner import carry_out

    from .progress import Progress

    claim()
    kind = choose(kinds, given)
    refuse_strange(kind, context, given)
    refuse_sweep(kind, given)
    check_form(kind, given["form"])
    asked, options = request(kind, given), make(Options, given)
    with Progress() as progress:
        answer = kind.answer(dataclasses.replace(asked, tell=progress), lambda plan: carry_out(plan, options, progress))
    tell_distrust(answer.records, given["form"])
    run = (options.out / answer.records[0].run).absolute() if answer.records else None
    echo(rendered(kind, answer, given["form"], asked.judging if in_rounds(answer) else None), coloured=True,
         kept=run)
    tell_missed(answer.missed)
    records = [*answer.records, *answer.more]
    good = kind.passed(records) and all(record.kept for record in records) and not answer.missed
    context.exit(0 if good else 1)


def tell_missed(what: str) -> None:
    """Print what was asked for beside the numbers and could not be made of them, if anything was."""
    if what:
        echo(in_one_line(f"dlcompare: {what}"), err=True)


def tell_distrust(records: Sequence[Any], form: str) -> None:
    """Print what stored records, or those of a run that was resumed, are not believed in, before all else."""
    from dlcompare.core.reports.proof import distrust

    for line in distrust(records):
        echo(in_one_line(line), err=form != "table")  # JSON and CSV stay what they are, and hold it in the warnings


def in_rounds(answer: Answer) -> bool:
    """Return whether records were interleaved in rounds, so that there is something to judge."""
    return any(record.round is not None for record in answer.records)


def check_form(kind: Kind, form: str) -> None:
    """Raise UsageError if a kind is not printed in a form."""
    if form not in kind.forms:
        raise UsageError(f"{kind.title}: printed as {' or '.join(kind.forms)}, not as {form}; use another --format")


def rendered(kind: Kind, answer: Answer, form: str, judging: Judging | None) -> str:
    """Return what came of a request in one of the forms; UsageError if it is none of the kind's."""
    check_form(kind, form)
    return kind.report(answer, form, judging).rstrip("\n")
