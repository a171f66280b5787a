"""Files are whole or not there at all."""

import os
from pathlib import Path

import pytest

from dlcompare.core.errors import JobError
from dlcompare.core.files import write


def test_a_file_that_cannot_be_written_leaves_nothing_and_says_why(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").write_text("before")
    with pytest.raises(JobError, match=r"cannot write .*there/file: Not a directory; make room"):
        write(tmp_path / "there" / "file", "text")
    monkeypatch.setattr("os.urandom", lambda count: b"\xab\xcd\xef")
    (tmp_path / f".there.{os.getpid()}.abcdef").symlink_to("/dev/full")  # where the text is written to first
    with pytest.raises(JobError, match="No space left on device"):
        write(tmp_path / "there", "text")
    assert [file.name for file in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_text() == "before"
