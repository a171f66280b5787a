"""Published tables, cell for cell as their authors printed them, and where each was printed."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dlcompare.core.errors import unknown

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Source:
    """A publication."""

    authors: str
    year: int
    title: str

    @property
    def short(self) -> str:
        """Return how a sentence cites it."""
        return f"{self.authors} {self.year}"


@dataclass(frozen=True)
class Table:
    """A table of a publication: ``where`` it stands there, ``what`` it is of, and its rows, all cells as text."""

    name: str
    source: Source
    where: str
    what: str
    rows: tuple[Mapping[str, str], ...]

    @property
    def cited(self) -> str:
        """Return how a sentence cites the table."""
        return f"{self.source.short}, {self.where}"


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of all tables."""
    return tuple(row["table"] for row in read(HERE / "tables.csv"))


@functools.cache
def table(name: str) -> Table:
    """Return one table. Raises UsageError with what exists and the nearest match."""
    about = next((row for row in read(HERE / "tables.csv") if row["table"] == name), None)
    if about is None:
        raise unknown("published table", name, names())
    source = next(row for row in read(HERE / "sources.csv") if row["source"] == about["source"])
    return Table(name, Source(source["authors"], int(source["year"]), source["title"]), about["where"], about["what"],
                 read(HERE / "printed" / f"{name}.csv"))


def here(what: str, published: str) -> str:
    """Return what we, or a machine's own drivers, call a ``model`` or an ``accelerator`` that a table names."""
    return next((row["here"] for row in known(what) if row["published"] == published), published)


def precision(accelerator: str) -> str:
    """Return in which arithmetic end-to-end figures under an accelerator's published name were measured."""
    return next((row["precision"] for row in known("accelerator") if row["published"] == accelerator), "")


def known(what: str) -> list[Mapping[str, str]]:
    return [row for row in read(HERE / "names.csv") if row["what"] == what]


@functools.cache
def read(file: Path) -> tuple[Mapping[str, str], ...]:
    """Return the rows of a CSV file with a header line."""
    with file.open(newline="") as text:
        return tuple(csv.DictReader(text))
