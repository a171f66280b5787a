"""What the documents name is there: files, packages, functions, options of the commands they show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from dlcompare.core.cli.main import program

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TOP = ("core", "frameworks", "models", "inference", "tests", "docs")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_document_names_are_there(document: Path) -> None:
    paths = [word for word in quoted(document.read_text()) if re.fullmatch(r"[\w./*-]+", word)]
    named = {word for word in paths if word.split("/")[0] in TOP}
    assert not [word for word in named if not list(ROOT.glob(word.rstrip("/")))]


def commands(document: Path) -> list[str]:
    """Return the commands of a document's indented blocks, as a shell reads them."""
    lines = re.findall(r"^    (dlcompare [^#\n]*)", document.read_text(), re.MULTILINE)
    return [line.split("  ")[0] for line in lines]


SHOWN = [(document, command) for document in DOCUMENTS for command in commands(document)]


@pytest.mark.parametrize("document, command", SHOWN, ids=lambda value: value if isinstance(value, str) else value.name)
def test_commands_that_a_document_shows_are_understood(document: Path, command: str) -> None:
    """Parsed, not run: a name that no plug-in offers is another matter."""
    group, words = program(), shlex.split(re.sub(r"\b[A-Z]{4,}\b", "2", command))[1:]
    if words and words[0] in group.commands:
        group.commands[words[0]].make_context(words[0], words[1:])
    else:
        assert words and words[0].startswith("-"), f"no command {words[:1]}"
        click.Command("dlcompare", params=group.params).make_context("dlcompare", words)


def test_commands_are_found() -> None:
    assert {"README.md", "verdict.md", "compile.md", "inference.md"} <= {document.name for document, _ in SHOWN}


def test_the_picture_and_the_table_have_every_package_of_core() -> None:
    table = re.findall(r"^\| ((?:`\w+` ?)+)\|", ARCHITECTURE, re.MULTILINE)
    packages = {path.parent.name for path in (ROOT / "core").glob("*/__init__.py")}
    assert {name for row in table for name in quoted(row)} == packages
    picture = ARCHITECTURE.split("```")[1]
    assert all(re.search(rf"\b{name}\b", picture) for name in packages)


PLACES = {  # what docs/architecture.md tells a stranger to find, and what is there to be found
    "core/kinds/training/loop.py": "perf_counter", "inference/worker/measure.py": "clock(",
    "core/records/record.py": "stats.bootstrap_interval(", "core/judging/verdict.py": "stats.mean_interval(",
    "frameworks/horovod/run.py": "horovod.runner", "inference/precision/ranges.py": "histogram",
    "core/worker/windows.py": "meters.read(", "core/plugins/job.py": "= setting(",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_stranger_finds_what_the_architecture_points_to(place: str) -> None:
    assert place in quoted(ARCHITECTURE.partition("## Where is")[2].partition("\n## ")[0])
    assert PLACES[place] in (ROOT / place).read_text()


def test_the_table_of_what_to_touch_is_whole() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \| (.*) \|", CONTRIBUTING.partition("## To add")[2], re.MULTILINE)
    touched = {name: quoted(row) for name, row in rows if name != "to add a"}
    assert {"model", "dataset", "op", "framework", "engine", "meter", "kind of measurement", "report"} <= touched.keys()
    assert all(any(word.split("/")[0] in TOP for word in words) for words in touched.values())
    tables = {f"frameworks/{path.parent.name}/ops.py" for path in (ROOT / "frameworks").glob("*/ops.py")}
    assert "frameworks/pytorch/ops.py" in tables & set(touched["op"])
