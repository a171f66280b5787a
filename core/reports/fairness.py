"""The fairness ledger: what differed between records that stand side by side, and what was the same. All computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dlcompare.core.judging.trajectory import BOUND, SLACK, trajectory
from dlcompare.core.records.record import Record

from .proof import proof
from .text import plain_table

# Of a job: what is compared, or no matter of fairness.
GIVEN = ("kind", "framework", "engine", "model", "port", "task", "cases")
PASSING = ("load_average", "memory.available_bytes")  # of a machine: differs from minute to minute
COLUMNS = 4  # more records than these are told apart by row number, not by a column each
LOSS = 0.01  # first losses that are further apart than this are not called the same


@dataclass(frozen=True)
class Difference:
    """One setting that is not the same in all records: where it belongs, its name, its value by record."""

    group: str  # job | settings | versions | machine
    name: str
    values: tuple[str, ...]  # "-" where a record has no such setting


def fairness(rows: Sequence[tuple[int, Record]], rounds: Sequence[Record] = ()) -> Iterator[RenderableType]:
    """Yield what was the same and what differed between numbered records of one model.

    Where each of them stands for several rounds, ``rounds`` are all records: what is called the same is so in each.
    """
    records = [record for _, record in rows]
    same, other = sameness(rounds or records)
    proved, words = proof(rounds or records)
    if proved:
        same += [words] if words else []
    model = f" ({records[0].model})" if records[0].model else ""
    yield Text(f"\nFairness of rows {spans([number for number, _ in rows])}{model}", style="bold")
    if same:
        yield Text(f"the same: {'; '.join(same)}")
    if other:
        yield Text(f"NOT the same: {'; '.join(other)}", style="bold yellow")
    if not proved:
        yield Text(f"not proved: {words}", style="yellow")
    found = differences(records)
    yield Text("") if found else Text("no setting, version or machine property differs")
    if found:
        yield ledger(rows, found)


def ledger(rows: Sequence[tuple[int, Record]], found: Sequence[Difference]) -> Table:
    """Return the differing settings as a table: a column for each record, or for many a line for each value."""
    table = plain_table()
    table.add_column("what differs", overflow="fold")
    heads = [f"{number} {record.name}" for number, record in rows]
    for head in heads if len(rows) <= COLUMNS else ["rows: value"]:
        table.add_column(head, overflow="fold")
    group = ""
    for item in found:
        if item.group != group:
            group = item.group
            table.add_row(Text(group, style="italic"))
        values = item.values if len(rows) <= COLUMNS else [by_value(rows, item)]
        table.add_row(Text(f"  {item.name}"), *map(Text, values))
    return table


def by_value(rows: Sequence[tuple[int, Record]], item: Difference) -> str:
    """Return a line for each value of a setting, naming the rows that have it."""
    numbers: dict[str, list[int]] = {}
    for (number, _), value in zip(rows, item.values, strict=True):
        numbers.setdefault(value, []).append(number)
    return "\n".join(f"{spans(have)}: {value}" for value, have in numbers.items())


def spans(numbers: Sequence[int]) -> str:
    """Return ascending numbers with runs drawn together: "1-4, 7"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def flat(value: Any, name: str = "") -> dict[str, str]:
    """Return nested objects as one level of dotted names, values as text."""
    if isinstance(value, Mapping):
        inner = (flat(item, f"{name}.{key}" if name else str(key)) for key, item in value.items())
        return {key: text for part in inner for key, text in part.items()}
    if isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        return flat(dict(enumerate(value)), name)
    if isinstance(value, (list, tuple)):
        return {name: ", ".join(map(str, value))}
    if value is None or isinstance(value, bool):
        return {name: {None: "-", True: "yes", False: "no"}[value]}
    return {name: str(value)}


def differences(records: Sequence[Record]) -> list[Difference]:
    """Return every setting, library version and machine property that differs, in a stable order."""
    groups = {
        "job": [{k: v for k, v in flat(r.job).items() if k not in GIVEN} | flat(r.image_size, "image_size")
                for r in records],
        "settings": [flat(r.settings.flat()) for r in records],
        "versions": [flat(r.environment) for r in records],
        "machine": [{k: v for k, v in flat(r.system).items() if k not in PASSING} for r in records],
    }
    found = []
    for group, tables in groups.items():
        for name in dict.fromkeys(key for table in tables for key in table):
            values = tuple(table.get(name, "-") for table in tables)
            if len(set(values)) > 1:
                found.append(Difference(group, name, values))
    return found


def sameness(records: Sequence[Record]) -> tuple[list[str], list[str]]:
    """Return what all these records share, and what they do not or what is not known; phrases for a sentence."""
    same, other = [], []
    for words in dict.fromkeys(words for record in records for words in record.shared()):
        digests = {record.shared().get(words) for record in records}
        if None in digests:
            other.append(f"{words} (not recorded by all)")
        elif len(digests) == 1:
            same.append(f"{words} (sha256 {str(digests.pop())[:12]})")
        else:
            other.append(f"{words} ({len(digests)} different sha256)")
    for holds, words in (first_loss(records), stay_together(records)):
        if words:
            (same if holds else other).append(words)
    return same, other


def first_loss(records: Sequence[Record]) -> tuple[bool, str]:
    """Return whether the losses at the first step that all recorded agree, and by how much, in words."""
    series = [record.losses() for record in records]
    if not any(series):
        return True, ""
    steps = sorted(set.intersection(*map(set, series)))
    losses = [loss for one in series if steps and (loss := one[steps[0]]) is not None]
    if len(losses) < len(series):
        return False, "loss at the first step (not recorded by all)"
    low, high = min(losses), max(losses)
    apart = (high - low) / max(abs(low), abs(high), 1e-30)
    return apart <= LOSS, f"loss at step {steps[0]} ({low:.6g} to {high:.6g}, {100 * apart:.2g} % apart)"


def stay_together(records: Sequence[Record]) -> tuple[bool, str]:
    """Return whether the losses stay together as far as rounding lets them, in words; "" if there is one step."""
    found = trajectory(records)
    if found is None:
        return True, ""
    apart, worst, parted = found.apart, found.worst, found.parted
    steps = f"{len(apart)} common steps up to step {max(apart)}"
    most = f"at most {percent(apart[worst])} of the first loss apart, at step {worst}"
    if parted is None:
        return True, f"loss trajectory ({steps}, {most}; bound {percent(BOUND)})"
    if not found.rounding:
        return False, f"loss trajectory ({steps}, {most}; bound {percent(BOUND)}, first beyond it at step {parted})"
    moved = max(found.rounding.items(), key=lambda one: one[1])
    alone = f"changing the parameters by a few roundings moves it by {percent(moved[1])} by step {moved[0]}"
    if found.unexplained is None:
        before = max((share for step, share in apart.items() if step < parted), default=0.0)
        return True, (f"loss trajectory before step {parted}, to {percent(before)} of the first loss; from there on "
                      f"rounding alone explains what is apart ({most}; {alone})")
    return False, (f"loss trajectory ({steps}, {most}; rounding does not explain it from step {found.unexplained} on: "
                   f"{alone}, and {SLACK:g} times that is allowed)")


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"
