"""What this machine can do, for people: what it is made of, each rate with its interval, and what is not known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dlcompare.core.errors import UsageError
from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.kind import Answer
from dlcompare.core.machine.measured import COPY, DISK, EXCHANGE, MATRIX, MEMORY, REMEDY, Measured, Rate, fingerprint
from dlcompare.core.machine.system import system
from dlcompare.core.reports.text import WIDE, columns, number, plain_table, remarks, to_text
from dlcompare.core.typed_json import to_plain

from .request import AGAIN, was_busy
from .result import MachineRecord

GROUPS = {MATRIX: "matrix products", MEMORY: "memory", COPY: "copies", DISK: "disk, read",
          EXCHANGE: "process to process"}
UNITS = {"FLOP/s": (1e9, "GFLOP/s"), "B/s": (1e9, "GB/s")}
WORDS = {"gpu in use": lambda v: (
    f"something else used {v['scope']} for {100 * v['share']:.0f} % of the time before or after, when nothing of this "
    "ran on it: what was measured then is refused")}
STEPS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return what is known of a machine as text: ``table`` for people, or ``json``."""
    found = concluded(answer)
    if form == "json":
        records = [record.to_dict() for record in answer.records]
        return json.dumps(records or to_plain(measured_of(answer)), indent=1, allow_nan=False)
    width = columns()
    shown: list[RenderableType] = [part for one in found for part in parts(one, width)]
    if not found:
        shown.append(Text(f"Nothing was concluded of this machine, for the run was ended before; repeat: {REMEDY}"))
    trouble = [record for record in answer.records if record.warnings or record.status == "failed"]
    return to_text([*shown, *remarks(list(enumerate(trouble, start=1)))], width)


def concluded(answer: Answer) -> list[Measured]:
    """Return all that was found by an answer: what was known before, or what its runs have concluded."""
    if answer.explanation is not None:
        return [answer.explanation]
    records: Sequence[MachineRecord] = answer.records
    return [record.measured for record in records if record.measured]


def measured_of(answer: Answer) -> Measured:
    """Return what is known of the one machine of an answer; UsageError if it came to nothing."""
    found = concluded(answer)
    if not found:
        raise UsageError(f"nothing was concluded of this machine; its records say why. Repeat: {REMEDY} --again")
    return found[-1]


def parts(found: Measured, width: int) -> Iterator[RenderableType]:
    """Yield what is printed of one machine, from top to bottom."""
    yield Text("\n".join(built(found)))
    yield Text("")
    yield table(found, width)
    when = found.measured[:16].replace("T", " ")
    yield Text(f"\nMeasured {when} UTC in {found.seconds:.0f} s. Each rate is the median of n windows, with its 95 % "
               "bootstrap interval. Matrix products: the better size of each framework; * is the best of all, the peak "
               "that records are held against.", style="dim")
    for why in dict.fromkeys(found.absent.values()):
        names = "; ".join(what for what, of_it in found.absent.items() if of_it == why)
        word = "not new" if why.startswith(AGAIN) else "not measured"
        yield Text(f"{word}: {names}: {why}", style="yellow" if was_busy({names: why}) else "dim")


def built(found: Measured) -> Iterator[str]:
    """Yield lines on what a machine is made of."""
    cpu, made = found.fingerprint["cpu"], found.topology
    yield f"Machine: {cpu['model']}"
    counts = [f"{made[name]} {name[:-1] if made[name] == 1 else name}" for name in ("sockets", "cores", "threads")
              if name in made]
    allowed = made.get("cgroup", {})
    limits = [f"{cpu['usable']} usable", *([f"{allowed['cpus']:g} allowed by the control group"] if "cpus" in allowed
                                          else [])]
    yield f"  {', '.join(counts)}; {', '.join(limits)}{'; below a hypervisor' if made.get('hypervisor') else ''}"
    total, most = found.fingerprint["memory"]["total_bytes"], allowed.get("memory_bytes")
    nodes = made.get("numa", ())
    yield (f"  {size(total)} of memory{f', {size(most)} allowed' if most and most < total else ''}"
           f"{f'; {len(nodes)} NUMA nodes' if len(nodes) > 1 else ''}; caches: "
           + ", ".join(f"L{one['level']}{'i' if one['type'] == 'instruction' else ''} {one['count']} x "
                       f"{size(one['bytes'])}" for one in made.get("caches", ())))
    known = made.get("extensions", {})
    yes, no = (", ".join(name for name, there in known.items() if there is wanted) for wanted in (True, False))
    yield f"  vector units: {yes or 'none known'}{f' (not: {no})' if no else ''}"
    for one in found.fingerprint["accelerators"]:
        yield f"  GPU {one['index']}: {one['name']}, {size(one['memory_bytes'])}, driver {one['driver']}"
    for one in made.get("links", ()):
        yield f"  GPU {one['gpus'][0]} to GPU {one['gpus'][1]}: {one['path']}"
    for scope, watts in found.idle_watts.items():
        yield f"  idle: {scope} {number(watts)} W"


def table(found: Measured, width: int) -> Table:
    """Return the rates; narrow terminals get who measured in a line of its own."""
    made = plain_table()
    for name in ("what", "how", "rate", "95 % interval", "n"):
        made.add_column(name, overflow="fold", justify="right" if name in ("rate", "n") else "left",
                        no_wrap=name in ("rate", "n"))
    for group, words in GROUPS.items():
        rows = shown(found, group)
        if rows:
            made.add_row(Text(words, style="italic"))
        for one in rows:
            made.add_row(f"  {called(found, one)}", how(one, "\n" if width < WIDE else ", "), *figures(one), str(one.n))
    return made


def shown(found: Measured, group: str) -> list[Rate]:
    """Return the rates of a group; of matrix products each framework's best, by device, precision and threads."""
    rates = [one for one in found.rates if one.what == group]
    if group != MATRIX:
        return rates
    best: dict[Any, Rate] = {}
    for one in rates:
        key = one.device, one.name, one.threads, one.by
        if key not in best or one.value > best[key].value:
            best[key] = one
    return sorted(best.values(), key=lambda one: (one.device, one.name != "fp32", one.name, one.threads or 0,
                                                  -one.value))


def called(found: Measured, one: Rate) -> str:
    """Return what people call a rate."""
    threads = f", {one.threads} thread{'s' * (one.threads != 1)}" if one.threads else ""
    device = "" if one.device == "cpu" or one.what == COPY else f"{one.device} "
    peak = " *" if one.what == MATRIX and found.peak_flops(one.device, one.name, one.threads) == one else ""
    return f"{device}{one.name}{threads}{peak}"


def how(one: Rate, between: str) -> str:
    """Return by whom a rate was reached, and over how much."""
    over = "" if one.size is None else f"{one.size} x {one.size}" if one.what == MATRIX else size(one.size)
    who = one.version if one.version.startswith(f"{one.by} ") else f"{one.by} {one.version}"
    return between.join(filter(None, (who.strip(), over)))


def figures(one: Rate) -> tuple[str, str]:
    """Return a rate and its interval in the unit that people read."""
    scale, unit = UNITS[one.unit]
    if one.unit == "FLOP/s" and one.value >= 1e13:
        scale, unit = 1e12, "TFLOP/s"
    ends = [number(end / scale) for end in (one.low, one.high) if end is not None]
    return f"{number(one.value / scale)} {unit}", f"[{', '.join(ends)}]" if ends else ""


def size(count: int | None) -> str:
    """Return bytes for people to read."""
    if count is None:
        return "-"
    scale, unit = next(((scale, unit) for scale, unit in STEPS if count >= scale), (1, "B"))
    return f"{count / scale:.4g} {unit}"


def points_of(points: str | None) -> list[Any]:
    """Return the training records of run folders, those that ran and know their bounds.

    Raises:
        UsageError: there are none, or they are of another machine, whose roofs are others.
    """
    from dlcompare.core.run.stored import read

    named = [Path(name.strip()).expanduser() for name in (points or "").split(",") if name.strip()]
    here, known = fingerprint(system()), list[Any]()
    for path in named:
        of_run: list[Any] = list(read(path))
        found = [one for one in of_run if one.throughput and getattr(one, "bounds", None) and one.bounds.intensity]
        if any(fingerprint(one.system) != here for one in found):
            raise UsageError(f"{path} was run on another machine, or on this one under other limits or drivers, so it "
                             "is no point under these roofs; leave it out of --points")
        known += found
    if named and not known:
        raise UsageError(f"{points}: no record there knows its bounds, for this machine had not been measured before; "
                         f"measure it ({REMEDY}), and train again")
    return known
