"""What faulthandler writes of where a process stands, read again."""

from __future__ import annotations

import re
from typing import NamedTuple

FRAME = re.compile(r'File "(.+)", line (\d+),? in (.+)')
PYTHON = re.compile(r"^<frozen |/lib/python3[^/]*/(?!(site|dist)-packages/)|/importlib/")


class Frame(NamedTuple):
    """One call that has not returned."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.function} ({self.file}, line {self.line})"


def main_thread(dump: str) -> list[Frame]:
    """Return the calls that the main thread was in, the innermost first, less those of Python's own library."""
    last = dump.rpartition("most recent call first")[2]  # the main thread comes last
    return [Frame(file, int(line), name) for file, line, name in FRAME.findall(last) if not PYTHON.search(file)]
