"""Why a job ended badly, as one paragraph, from what it left in its folder: last words, events, the log."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlcompare.core.machine import limits
from dlcompare.core.machine.memory import NO_MEMORY, PERHAPS, ran_out
from dlcompare.core.variables import EVENTS, LOG, STACKS

from . import stacks
from .silence import LONGEST

Json = dict[str, Any]
FULL = 1 << 16  # bytes: less free space than that is none
BEFORE = "start", "parameters", "import"  # nobody waits for others yet
JOINING = *BEFORE, "build"  # a rank that has told no more has not joined
ALONE = *JOINING, "done"  # each rank tells; of what they do together, the first alone
TAIL = 1 << 16  # bytes of a log's end that are looked at
ADVICE = "try a smaller --batch or fewer --workers"
PATIENCE = "Give --timeout more than {:.0f} seconds if the model is that slow"
LEAVING = "Their work was done: what a plug-in or the framework does at its end takes so long"
CAUSES = {"SIGKILL": f"the kernel does so {PERHAPS}: then {ADVICE}; otherwise a person or a job "
                     "scheduler did",
          "SIGTERM": "a person, a job scheduler or another program did so"}
PREFIX = re.compile(r"^\[(rank)?\d+\](<stderr>|<stdout>)?:\s*")  # horovodrun's and torchrun's before a worker's lines
# Last words of a process that ends itself, most telling first: glog's and Abseil's FATAL, a C++ exception, a signal
# that Python noticed, the dynamic linker, an exception before a worker can leave word.
FATAL = [re.compile(pattern) for pattern in (
    r"^F\d{4} [\d:.]+", r"^what\(\):", r"\bCheck fail(ed|ure)\b", r"^Fatal Python error: ",
    r"symbol lookup error: |error while loading shared libraries: ", r"^[\w.]*(Error|Exception): ")]
QUOTED = re.compile(r'Traceback \(most recent call last\):\s+(File "[^"]*", line \d+\s+)*')  # MXNet's, of its C++
KILLED = re.compile(r"\bSIGKILL\b|^Killed\b|[Ee]xit( with status)? code:? (137|-9)\b")  # as launchers tell it
WAITING = re.compile(r"[Ww]aiting|[Mm]issing ranks|[Rr]endezvous|[Tt]imed out")


def why(folder: Path, code: int, launcher: int | None = None) -> str:
    """Return the reason of a failure: what a worker knew, who died without a word, or the log's last line.

    ``launcher`` is the number of the process that was started, a worker itself where a job needs no more.
    """
    words = last_words(folder)
    said = [word for word in words if word["kind"] != "stopped"]
    known = [word for word in said if word["kind"] == "known"]
    events = read_events(folder)
    silent = died_silently(events, words)
    if known:
        return paragraph(known[0]["message"])
    if shutil.disk_usage(folder).free < FULL:
        return f"the disk of {folder} is full; free some space and repeat the command with --resume"
    if code < 0 and launcher and launcher not in {event["pid"] for event in events}:
        return f"{killed(launcher_name(folder), -code)}; its workers were stopped. Repeat the command with --resume"
    if silent:
        return explain_death(silent, folder, said)
    if said:
        return explain_exception(said[0], folder)
    limit = next(filter(None, map(limits.met, reversed(said_lines(folder)))), None)
    return f"the launcher ended with exit code {code}: {paragraph(last_line(folder / LOG))}" + (
        f"; {limit}" if limit else "")


def killed(who: str, number: int) -> str:
    """Return in words that a signal ended somebody, and what may have sent it."""
    name = next((one.name for one in signal.Signals if one == number), f"signal {number}")
    limit = limits.processor_time() if name in ("SIGKILL", "SIGXCPU") else None
    return f"{who} was killed by {name} ({limit or CAUSES.get(name, 'it crashed')})"


def launcher_name(folder: Path) -> str:
    """Return what to call the process that was started: by its module, which the log's command line tells."""
    with contextlib.suppress(OSError), (folder / LOG).open(errors="replace") as log:
        words = log.readline().split()
        if "-m" in words[:-1]:
            return f"the launcher ({words[words.index('-m') + 1]})"
    return "the launcher"


def explain_stall(folder: Path, seconds: float, longest: float = LONGEST) -> str:
    """Return the reason of a job that reported nothing for so long: which ranks joined, what was done last.

    ``longest`` is what --timeout allowed.
    """
    needed = longest if seconds >= longest else LONGEST  # for a phase that has a bound of its own
    events = read_events(folder)
    started = {e["pid"] for e in events}
    begun = sorted({e["rank"] for e in events if "rank" in e})
    joined = sorted({e["rank"] for e in events if "rank" in e and e["phase"] not in JOINING})
    done = started and started == {e["pid"] for e in events if e["phase"] == "done"}
    which = f" (ranks {spans(begun)})" if begun != joined else ""
    last = f"the last was {events[-1]['phase']!r}; " if events else ""
    return (f"no sign of life for {seconds:.0f} s ({last}{len(started)} worker processes started{which}, "
            f"and of the ranks {spans(joined) or 'none'} joined); all were stopped{who_stood(folder, events)}. "
            f"{LEAVING if done else PATIENCE.format(needed)}{last_of_log(folder)}")

def who_stood(folder: Path, events: Sequence[Json]) -> str:
    """Return in words which ranks others waited for, in which phase, and where all stood; "" if nobody was asked."""
    own, ranks = {e["pid"]: e["phase"] for e in events}, {e["pid"]: e["rank"] for e in events if "rank" in e}
    together = next((e["phase"] for e in reversed(events) if e["phase"] not in ALONE), "")
    found: dict[tuple[bool, str, str], list[int]] = {}
    for one in stacks.read(folder):
        phase = own.get(one.pid, "")
        found.setdefault((one.waits and phase not in BEFORE, one.where, phase if phase in ALONE else together),
                         []).append(one.pid)
    blamed = {waits for waits, *_ in found} == {False, True}  # else all look alike
    parts = [f"{who(pids, ranks, 'waits' if waits else 'is stuck' if blamed else 'stands')}{where}, phase {phase!r}"
             for (waits, where, phase), pids in sorted(found.items())]
    return f": {'; '.join(parts)}. All threads are in {folder / STACKS}" if parts else ""


def who(pids: Sequence[int], ranks: Mapping[int, int], verb: str) -> str:
    """Return what to call some workers, by rank if all are known, one with its number too; and what they do."""
    known = sorted(ranks[pid] for pid in pids if pid in ranks)
    if len(pids) == 1:
        return f"rank {known[0]} (process {pids[0]}) {verb}" if known else f"process {pids[0]} {verb}"
    name = f"ranks {spans(known)}" if len(known) == len(pids) else f"processes {spans(sorted(pids))}"
    return f"{name} {({'is stuck': 'are stuck'}.get(verb, verb[:-1]))}"


def spans(numbers: Sequence[int]) -> str:
    """Return sorted numbers in words, such as 0-2, 5."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts)


def explain_silence(folder: Path, *, found: int, wanted: int) -> str:
    """Return the reason of a job that ended well by its exit code although processes of it left no result."""
    events = read_events(folder)
    last = f"the last that they reported was {events[-1]['phase']!r}" if events else "they reported nothing"
    return (f"{found} of {wanted} worker processes left a result, although the job ended with exit code 0 ({last}): "
            "so it is where a plug-in calls sys.exit() or os._exit() in one, or its launcher starts too few. The log "
            f"ends with: {paragraph(last_line(folder / LOG))}")


def last_words(folder: Path) -> list[Json]:
    """Return what workers left as the reason of their end, oldest first: {time, kind, message, memory, pid}."""
    found = [{**json.loads(file.read_text()), "pid": int(file.stem.partition("-")[2])}
             for file in folder.glob("error-*.json")]
    return sorted(({**word, "message": QUOTED.sub("", word["message"])} for word in found),
                  key=lambda word: word["time"])


def died_silently(events: Sequence[Json], words: Sequence[Json]) -> dict[int, int | None]:
    """Return the rank, if it is known, of every process that started and neither finished nor said why it ended."""
    spoke = {word["pid"] for word in words} | {e["pid"] for e in events if e["phase"] == "done"}
    ranks = {e["pid"]: e["rank"] for e in events if "rank" in e}
    return {pid: ranks.get(pid) for pid in sorted({e["pid"] for e in events} - spoke)}


def explain_death(silent: dict[int, int | None], folder: Path, said: Sequence[Json]) -> str:
    """Return the reason of a job of which processes were killed, or crashed outside Python."""
    names = " and ".join(f"{pid}" + (f" (rank {rank})" if rank is not None else "") for pid, rank in silent.items())
    if told := memory_line(folder):
        return f"{NO_MEMORY} in worker process {names} ({told}); {limits.met(told) or ADVICE}"
    then = f" Another worker said: {paragraph(said[0]['message'], 200)}" if said else ""
    if told := fatal_line(folder, said):
        return f"worker process {names} died, and the log says: {told}.{then}"
    if limit := limits.processor_time():
        return f"worker process {names} died without a word: {limit}.{then}"
    return (f"worker process {names} died without a word, as one does that is killed by SIGKILL (the kernel does so "
            f"{PERHAPS}: then {ADVICE}) or crashes.{then}")


def explain_exception(word: Json, folder: Path) -> str:
    """Return the reason of a job in which an exception was raised that nobody foresaw."""
    message, limit = paragraph(word["message"]), limits.met(word["message"])
    if ran_out(word["message"]):
        return f"{NO_MEMORY} ({message}); {limit or ADVICE}"
    if limit:
        return f"{message}; {limit}"
    sign = word["memory"] or memory_line(folder)
    return f"{message}. It seems that {NO_MEMORY} ({sign}); {ADVICE}" if sign else message


def memory_line(folder: Path) -> str:
    """Return the last line of the log's end that says that memory ran out."""
    return next((paragraph(line, 200) for line in reversed(tail(folder / LOG)) if ran_out(line)), "")


def fatal_line(folder: Path, said: Sequence[Json]) -> str:
    """Return the line of the log in which a process says why it ends itself; "" if none does, or one was killed.

    What was ``said`` is another's: of losing the one that is looked for, such as a connection that was reset.
    """
    others = [head for word in said if (head := word["message"].strip().partition("\n")[0])]
    lines = [line for line in said_lines(folder) if not any(head in line for head in others)]
    if any(map(KILLED.search, lines)):
        return ""
    found = (line for sign in FATAL for line in lines if sign.search(line))
    return paragraph(next(found, "")).rstrip(".")


def last_of_log(folder: Path) -> str:
    """Return in words what the log of a job that stands still says last, of waiting if it says anything of that."""
    lines = said_lines(folder)
    found = [line for line in lines if WAITING.search(line)] or lines
    return f". The log says: {paragraph(found[-1])}" if found else ""


def said_lines(folder: Path) -> list[str]:
    """Return the last lines of a job's log that say something, as the workers wrote them, since the last command."""
    log = folder / LOG
    lines = tail(log) if log.exists() else []
    begin = max((place for place, line in enumerate(lines) if line.startswith("$ ")), default=-1)
    return [PREFIX.sub("", line).strip() for line in lines[begin + 1:] if any(map(str.isalpha, line))]


def read_events(folder: Path) -> list[Json]:
    """Return the whole events so far."""
    file = folder / EVENTS
    text = file.read_text(errors="replace") if file.exists() else ""
    return list(parse_events(text.split("\n")[:-1]))


def parse_events(lines: Iterable[str]) -> Iterator[Json]:
    """Yield events; a line that is none was cut short on a full disk, and the next one written behind it."""
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(line)
            if (isinstance(event, dict) and isinstance(event.get("phase"), str) and isinstance(event.get("pid"), int)
                    and isinstance(event.get("rank", 0), int)):  # else it is none of ours
                yield event


def tail(log: Path) -> list[str]:
    """Return the last lines of a log, of which there may be gigabytes."""
    with log.open("rb") as file:
        file.seek(-min(TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
        return file.read().decode(errors="replace").splitlines()


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    lines = [line.strip() for line in tail(log) if any(map(str.isalpha, line))]
    return lines[-1] if lines else "it wrote nothing"


def paragraph(text: str, limit: int = 400) -> str:
    """Return a text on one line, less its middle if it is long: some say first what happened, some last."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else f"{flat[:limit // 2]} ... {flat[-limit // 2:]}"
