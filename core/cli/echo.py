"""The one way out for text: whatever a file, a plug-in or a name put into it, a terminal only shows it."""

from __future__ import annotations

import sys

import rich_click as click

from dlcompare.core.printable import printable, printable_but_colours


def echo(text: str, *, err: bool = False) -> None:
    """Print text, its colours alone as commands, and on a terminal alone."""
    there = sys.stderr if err else sys.stdout
    click.echo(printable_but_colours(text) if there.isatty() else printable(text), err=err)
