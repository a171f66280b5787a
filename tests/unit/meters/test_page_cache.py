"""What the page cache holds of files: each way of asking against what this machine really holds."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dlcompare.core.meters.host import page_cache
from dlcompare.core.meters.host.page_cache import Residency, residency

SIZE = 8 << 20
STRANGER = 65534  # nobody's number


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """Return a file the first half of which was evicted."""
    file = tmp_path / "half"
    with file.open("wb") as written:
        written.write(os.urandom(SIZE))
        written.flush()
        os.fsync(written.fileno())
        os.posix_fadvise(written.fileno(), 0, SIZE // 2, os.POSIX_FADV_DONTNEED)
    with file.open("rb") as again:
        try:
            os.preadv(again.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
            pytest.skip("needs a temporary folder on a disk, not in memory, where nothing is evicted")
        except BlockingIOError:
            return file


def cachestat(handle: int) -> dict[str, int]:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def without_cachestat(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(page_cache, "cachestat", cachestat)


def nor_mincore(patch: pytest.MonkeyPatch) -> None:
    without_cachestat(patch)
    patch.setattr(page_cache, "trusted", lambda handle: False)


@pytest.mark.parametrize(("less", "way"), [
    (None, "cachestat"), (without_cachestat, "mincore"), (nor_mincore, "RWF_NOWAIT")])
def test_every_way_tells_the_half_that_is_there(
        half: Path, monkeypatch: pytest.MonkeyPatch, less: Callable[[pytest.MonkeyPatch], None] | None,
        way: str) -> None:
    if less:
        less(monkeypatch)
    elif residency([half]).ways != ("cachestat",):
        pytest.skip("needs Linux 6.5 or later, and leave to call cachestat")
    found = residency([half])
    assert found == Residency(pytest.approx(0.5, abs=0.05), files=1, of=1, bytes=SIZE, ways=(way,))


ASK = f"""
import ctypes, os, sys
from pathlib import Path
from dlcompare.core.meters.host import page_cache
os.setuid({STRANGER})
file = Path(sys.argv[1])
found = page_cache.residency([file])
with page_cache.opened(file) as handle:
    told = page_cache.mincore(handle, {SIZE})
print(found.share, found.ways[0], sum(told) / len(told))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to ask as another user")
def test_another_user_is_not_lied_to(half: Path) -> None:
    """Whoever neither owns a file nor may write it is told by mincore that all of it is there."""
    temporary = Path(tempfile.gettempdir())
    for folder in (half, *(one for one in half.parents if temporary in one.parents)):  # pytest makes them ours alone
        folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", ASK, str(half)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    share, way, lie = done.stdout.split()
    assert (float(share), way, float(lie)) == (pytest.approx(0.5, abs=0.05), "RWF_NOWAIT", 1.0)


def test_of_many_files_some_are_asked_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_cache, "MOST_FILES", 3)
    files = [tmp_path / f"{number}" for number in range(10)]
    for file in files:
        file.write_bytes(bytes(5000))
    found = residency(files)
    assert (found.share, found.files, found.of, found.bytes) == (1.0, 3, 10, 15_000)


def test_what_cannot_be_asked_has_a_reason_and_no_share(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert residency([missing]) == Residency(None, of=1, reason=f"{missing} cannot be asked: No such file or directory")
    (tmp_path / "empty").touch()
    assert residency([tmp_path / "empty"]).share is None and residency([]).reason
    found = residency([tmp_path])
    assert found.share is None and "not a file" in str(found.reason)
