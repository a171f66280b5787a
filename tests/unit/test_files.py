"""Files are whole or not there at all."""

import json
import os
from pathlib import Path

import pytest

from dlcompare.core.errors import JobError
from dlcompare.core.files import give_room_back, hold_room, read_cached, write, write_cached


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


@pytest.mark.parametrize("damage", [b"", b'{"a": 1', b"\xff\x00\x80", b"[]", b"[" * 100_000, None])
def test_what_is_damaged_in_the_cache_counts_as_nothing_and_is_said_once(
        damage: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "known.json"
    if damage is None:
        file.mkdir()
    else:
        file.write_bytes(damage)
    for _ in range(2):
        assert read_cached(file, lambda text: json.loads(text)["a"], instead="it is made again") is None
    said = capsys.readouterr().err
    assert said.startswith(f"dlcompare: {file} cannot be read (") and said.count("\n") == 1
    assert said.endswith("): it is made again\n")


def test_the_cache_is_read_as_it_was_written_or_goes_unwritten(tmp_path: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    write_cached(tmp_path / "new" / "known.json", "[1]")
    assert read_cached(tmp_path / "new" / "known.json", json.loads, instead="") == [1]
    assert read_cached(tmp_path / "none.json", json.loads, instead="") is None
    assert capsys.readouterr().err == ""
    (tmp_path / "full").mkdir()
    write_cached(tmp_path / "full", "[1]")
    assert capsys.readouterr().err.startswith(f"dlcompare: cannot keep {tmp_path / 'full'} (Is a directory)")


def test_room_that_is_held_serves_where_a_disk_has_filled_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.urandom", lambda count: b"\xab\xcd\xef")
    (tmp_path / f".there.{os.getpid()}.abcdef").symlink_to("/dev/full")  # where the text is written to first
    hold_room(tmp_path, 4096)
    write(tmp_path / "there", "text")
    assert [file.name for file in tmp_path.iterdir()] == ["there"] and (tmp_path / "there").read_text() == "text"
    hold_room(tmp_path, 4096)
    give_room_back(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["there"]
    with pytest.raises(JobError, match=r"cannot write .*nowhere.*: No such file or directory; make room"):
        hold_room(tmp_path / "nowhere", 4096)
