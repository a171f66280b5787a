"""Text that others chose, made harmless where it is shown: on a terminal, in a log, in a spreadsheet."""

from __future__ import annotations

import re
from typing import Any

INSTEAD = "\N{REPLACEMENT CHARACTER}"
# Control characters but for new lines and tabs, among them those that begin a terminal's commands (ESC, and its forms
# of one byte, 0x80 to 0x9f); what turns the direction of writing, so that a text looks like another; lone surrogates.
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
COLOUR = re.compile("(\x1b\\[[0-9;]*m)")  # what rich puts around text on a terminal, and nothing more
UNUSUAL = re.compile(r"[^\w.+=:,@-]")  # in the name of a file
LONGEST = 60  # letters of one of several parts of a name
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes a cell that begins so (OWASP, CSV injection)


def printable(text: str, *, instead: str = INSTEAD) -> str:
    """Return text with something else for each character that a terminal would act on."""
    return HARMFUL.sub(instead, text)


def printable_but_colours(text: str) -> str:
    """Return text, made of parts that are printable, as it goes to a terminal: only its colours are commands."""
    return "".join(part if number % 2 else printable(part) for number, part in enumerate(COLOUR.split(text)))


def in_one_line(text: str) -> str:
    """Return text that cannot pretend to be a line of its own either."""
    return " ".join(printable(text).split())


def file_name(text: str) -> str:
    """Return text as part of the name of a file: nothing in it leads out of a folder, or is too long for one."""
    return UNUSUAL.sub("_", text)[:LONGEST]


def cell(value: Any) -> Any:
    """Return a value as a spreadsheet shows it and does not compute it; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(FORMULA) else printable(value)
