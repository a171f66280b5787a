"""``dlcompare published``: figures of others, which come with the program."""

from __future__ import annotations

import rich_click as click

from dlcompare.core.errors import UsageError

from .echo import echo
from .options import option

FORMS = ("table", "json", "csv")


@click.command()
@option("--model", metavar="NAME", help="Of this network alone, by our name for it or the source's.")
@option("--accelerator", metavar="NAME", help="Of this accelerator alone, such as V100.")
@option("--table", "name", metavar="NAME", help="Print one table whole, as its authors did.")
@option("--format", "form", type=click.Choice(FORMS), default="table", help="What to print.")
def published(model: str | None, accelerator: str | None, name: str | None, form: str) -> None:
    """Show what others have published: training throughput, power and energy, with the sources.

    Of other machines, other versions and other years: something to hold one's own numbers beside, never a verdict.
    """
    from dlcompare.core.published.report import render, render_table

    if name and (model or accelerator):
        raise UsageError("--table prints a whole table; leave --model and --accelerator out, or --table")
    echo((render_table(name, form) if name else render(model, accelerator, form)).rstrip("\n"), coloured=True)
