"""Show what a run is doing: one live line on a terminal, a quiet line per phase otherwise; always on stderr."""

from __future__ import annotations

import contextlib
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

from dlcompare.core.printable import in_one_line

if TYPE_CHECKING:
    from dlcompare.core.plugins.job import BaseJob

LASTING = ("ok", "failed", "refused", "records", "rounds")  # stay on the terminal when the live line moves on


class Progress:
    """Called with every event of every job; a context manager that owns the terminal line meanwhile."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.told: tuple[str, str, str] | None = None
        self.bar: Any = None

    def __enter__(self) -> Progress:
        if self.live:
            from rich.console import Console
            from rich.progress import Progress as Bar
            from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self.bar = Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4)
            self.bar.start()
            self.task = self.bar.add_task("planning", total=None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, job: BaseJob | None, event: dict[str, Any]) -> None:
        name = str(event.get("label", job.called(job.runtime) if job else ""))
        name, phase, text = map(in_one_line, (name, str(event["phase"]), describe(event)))
        if self.bar is not None:
            from rich.markup import escape

            who, what = escape(name or "dlcompare"), escape(f"{phase}  {text}")
            self.bar.update(self.task, description=f"[bold]{who}[/]  {what}")
        if not self.live or phase in LASTING:
            self._line(name, phase, text, part=str(event.get("part", "")))

    def _line(self, name: str, phase: str, text: str, *, part: str = "") -> None:
        now = (name, phase, text if phase in ("environment", *LASTING) else part)
        if now != self.told:  # the first of each phase, and of each part, is enough where nobody watches
            self.told = now
            with contextlib.suppress(OSError):  # whoever read this has gone, which is no reason to stop the run
                who = f"dlcompare: {name}" if name else "dlcompare"  # no name: of the run as a whole
                print(f"{who}: {phase} {text}".rstrip(), file=sys.stderr, flush=True)


def describe(event: dict[str, Any]) -> str:
    """Return an event's details in a few words."""
    parts = []
    if "text" in event:
        parts.append(str(event["text"]))
    if "case" in event:
        parts.append(str(event["case"]))
    if "step" in event:
        parts.append(f"step {event['step']}")
    if "samples_per_second" in event:
        parts.append(f"{event['samples_per_second']:.1f} samples/s")
    if "place" in event:
        parts.append(str(event["place"]))
    return ", ".join(filter(None, parts))
