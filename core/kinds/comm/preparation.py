"""What a run does before it measures ``model:NAME``: find out, once for each framework and number of workers, what its
steps send.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from dlcompare.core.errors import JobError
from dlcompare.core.json_file import read_json
from dlcompare.core.kinds.kind import Run
from dlcompare.core.plugins.collectives import ALL_REDUCE, CollectiveJob, Message
from dlcompare.core.typed_json import read

from .sizes import parse

MESSAGES = "messages.json"


class Preparation:
    """Makes jobs ready in one run, each framework observed when its first job of so many workers comes."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __call__(self, asked: CollectiveJob) -> CollectiveJob:
        """Return a job that knows the messages of its models; JobError if they cannot be seen."""
        if not parse(asked.sizes)[1]:
            return asked
        folder = self.run.folder / f"observe-{asked.framework}-w{asked.workers}"
        if not (folder / MESSAGES).exists():
            job = dataclasses.replace(asked, collective=ALL_REDUCE, task="observe")
            if reason := self.run.start(job, folder, label=f"{asked.framework} messages"):
                raise JobError(f"what a step of {asked.sizes} sends was not found out: {reason}")
        return dataclasses.replace(asked, messages=messages(folder / MESSAGES))


def messages(file: Path) -> dict[str, tuple[Message, ...]]:
    """Return the messages that were left in a file, by model."""
    found: dict[str, tuple[Message, ...]] = read(dict[str, tuple[Message, ...]],
                                                 read_json(file, what="a file of messages"), what="messages")
    return found
