"""What a driver's library answered, written down call by call, and answered again from such a file.

A driver is a function ``call(name, *args)`` that returns what JSON can hold or raises :class:`DriverError`, so a
recording replaces a library without the meter above it knowing. A file has a JSON object a line: ``t`` (seconds), the
``call``, its ``args``, and ``result``, or ``error`` and ``text``. The variable DLCOMPARE_RECORD_METERS names a file to
write, DLCOMPARE_REPLAY_METERS one to answer from.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlcompare.core.variables import RECORD_METERS, REPLAY_METERS

from .meter import Absent

Call = Callable[..., Any]


class DriverError(Exception):
    """A driver's library refused a call: its code for that, and what it says."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (code {code})")
        self.code, self.text = code, text


def driver(library: Callable[[], Call]) -> Call:
    """Return the driver to ask: that of the recording if one is named, else the library's, written down if asked for.

    Raises:
        Absent: the library is not here, or the recording cannot be read.
    """
    if file := os.environ.get(REPLAY_METERS):
        return replayed(Path(file))
    call = library()
    return recorded(call, Path(file)) if (file := os.environ.get(RECORD_METERS)) else call


def replaying() -> bool:
    """Return whether a recording stands for this machine's hardware."""
    return bool(os.environ.get(REPLAY_METERS))


def recorded(call: Call, file: Path, *, clock: Callable[[], float] = time.monotonic) -> Call:
    """Return a driver that writes every call and its outcome to a file, and otherwise does as another does."""
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)  # open as long as the process: as its driver

    def asked(name: str, *args: Any) -> Any:
        outcome: dict[str, Any] = {}
        try:
            outcome["result"] = call(name, *args)
            return outcome["result"]
        except DriverError as error:
            outcome |= {"error": error.code, "text": error.text}
            raise
        finally:
            line = {"t": round(clock(), 4), "call": name, "args": args, **outcome}
            os.write(out, json.dumps(line, separators=(",", ":")).encode() + b"\n")

    return asked


def replayed(file: Path) -> Call:
    """Return a driver that answers each call as a file has it, in that order; its last answer to a call stays."""
    try:
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        outcomes: dict[str, list[dict[str, Any]]] = {}
        for line in lines:
            outcomes.setdefault(key(line["call"], line["args"]), []).append(line)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Absent(f"{REPLAY_METERS} names {file}, which is no recording of a meter ({type(error).__name__}: "
                     f"{error}); unset it, or name one that {RECORD_METERS} has made") from error

    def answered(name: str, *args: Any) -> Any:
        waiting = outcomes.get(key(name, list(args)))
        if not waiting:
            raise DriverError(0, f"{name} of {list(args)} is not in the recording")
        line = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if "error" in line:
            raise DriverError(line["error"], line["text"])
        return line["result"]

    return answered


def key(name: str, args: Any) -> str:
    return json.dumps([name, args])
