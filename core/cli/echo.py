"""The one way out for text: whatever a file, a plug-in or a name put into it, a terminal only shows it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import rich_click as click

from dlcompare.core.errors import JobError
from dlcompare.core.printable import printable, printable_but_colours


def open_streams() -> None:
    """Have standard streams that this program was started without lead nowhere, before a file gets their numbers."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # the lowest number that is free
        pass
    os.close(number)
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115  (to the end of the program)
    sys.stdout, sys.stderr = sys.stdout or open(1, "w"), sys.stderr or open(2, "w")  # noqa: SIM115


def drop_what_cannot_be_printed() -> None:
    """Have streams that cannot be written lead nowhere: Python would try again at its end, and say so at length."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def echo(text: str, *, err: bool = False, coloured: bool = False, kept: Path | None = None) -> None:
    """Print text; a terminal acts on nothing in it, but on its colours where it is ``coloured``.

    Only what :func:`dlcompare.core.reports.text.to_text` made is: whose colours those of other text are, nobody knows.
    ``kept`` is the run that shows it again.

    Raises:
        JobError: it cannot be printed on stdout.
        BrokenPipeError: nobody reads that any more.
    """
    there = sys.stderr if err else sys.stdout
    with contextlib.suppress(OSError) if err else told(kept):
        click.echo(printable_but_colours(text) if coloured and there.isatty() else printable(text), err=err)


@contextlib.contextmanager
def told(kept: Path | None = None) -> Iterator[None]:
    """Say in our own words that a block could not print, and where what it printed is kept."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        todo = f"the records are kept: dlcompare report {kept}" if kept else "make room, or print elsewhere"
        raise JobError(f"cannot print: {error.strerror}; {todo}") from error
