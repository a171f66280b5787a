"""The collective operations of a program as XLA compiled it, read from its text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

COLLECTIVE = re.compile(r"= (?P<shapes>.*?) (?P<op>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)"
                        r"(-start)?\(")
SHAPE = re.compile(r"\b(?P<type>[a-z]+)(?P<bits>\d+)\[(?P<sizes>[\d,]*)\]")


def exchanged(text: str) -> Iterator[tuple[str, list[int]]]:
    """Yield each collective operation, and the bytes of every array that it carries, in the order of the text."""
    for line in text.splitlines():
        if found := COLLECTIVE.search(line):
            yield found["op"], [math.prod(int(n) for n in s["sizes"].split(",") if n) * int(s["bits"]) // 8
                                for s in SHAPE.finditer(found["shapes"])]
