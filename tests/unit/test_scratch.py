"""Folders for a while: removed by their owner, or by the next one when he was killed; never while he lives."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlcompare.core.errors import JobError
from dlcompare.core.scratch import YOUNG, Scratch, sweep

OWNER = """
import sys
from dlcompare.core.errors import JobError
from dlcompare.core.scratch import Scratch
print(Scratch("dlcompare-test-").path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the place for such folders, which children see as well."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def age(folder: Path) -> None:
    past = folder.stat().st_mtime - 2 * YOUNG
    os.utime(folder, (past, past))


@pytest.fixture
def owner() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Return a process with a folder of its own, and the folder."""
    with subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout
        folder = Path(process.stdout.readline().strip())
        (folder / "large").write_text("x")
        age(folder)
        yield process, folder
        process.kill()


def test_what_a_killed_process_left_is_removed_by_the_next(owner: tuple[subprocess.Popen[str], Path]) -> None:
    process, folder = owner
    other = Scratch("dlcompare-test-")
    assert folder.exists()  # its owner lives
    process.kill()
    process.wait()
    last = Scratch("dlcompare-test-")
    assert not folder.exists() and other.path.exists() and last.path.exists()
    for scratch in (other, last):
        scratch.remove()
        assert not scratch.path.exists()


def test_nothing_else_is_swept(place: Path) -> None:
    for name in ("dlcompare-test-young", "dlcompare-other-old", "elsewhere"):
        (place / name).mkdir()
    (place / "dlcompare-test-link").symlink_to(place / "elsewhere")
    (place / "dlcompare-test-file").write_text("")
    for name in ("dlcompare-other-old", "elsewhere"):
        age(place / name)
    sweep("dlcompare-test-")
    assert len(list(place.iterdir())) == 5
    age(place / "dlcompare-test-young")
    sweep("dlcompare-test-")
    assert not (place / "dlcompare-test-young").exists() and len(list(place.iterdir())) == 4


def test_no_room_for_one_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    with pytest.raises(JobError, match=r"no temporary folder can be made \(.*\); make room there, or set TMPDIR"):
        Scratch("dlcompare-test-")
