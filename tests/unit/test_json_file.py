"""Whatever a file holds that should be JSON of ours: it is read, or refused with one error that names it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dlcompare.core.errors import UsageError
from dlcompare.core.json_file import MOST_BYTES, parse_json, read_json


@pytest.mark.parametrize(("data", "told"), [
    (b"\x80\x02}q\x00.", "binary, not text in UTF-8"), (b"[" * 200_000, "nested more than 100 deep"),
    (b"[" * 200 + b"]" * 200, "nested more than 100 deep"), (b"[NaN]", "it holds NaN"),
    (b"[-Infinity]", "it holds -Infinity"), (b"[1e999]", "1e999, which is beyond"),
    (b"[" + b"9" * 5000 + b"]", "a whole number of 5000 digits"), (b"[9223372036854775808]", "64 bits are the most"),
    (b'{"a": 1, "a": 2}', "the key 'a' twice"), (b'[{"id"', "Expecting ':'"), (b"", "Expecting value"),
])
def test_what_is_no_json_of_ours_is_refused_with_the_files_name(data: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "records.json").write_bytes(data)
    with pytest.raises(UsageError, match=r"records\.json is not a file of records: ") as error:
        read_json(tmp_path / "records.json", what="a file of records")
    assert told in str(error.value) and len(str(error.value)) < 500


def test_no_pipe_is_waited_for_no_device_read_no_folder_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    began = time.monotonic()
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(UsageError, match="no ordinary file"):
            read_json(path, what="a file of records")
    with pytest.raises(UsageError, match="nothing cannot be read as a file of records: No such file"):
        read_json(tmp_path / "nothing", what="a file of records")
    assert time.monotonic() - began < 5


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(UsageError, match="512 MiB, and at most 512 are read"):
        read_json(tmp_path / "large", what="a file of records")


def test_what_is_json_is_read_as_it_is() -> None:
    text = '{"a": [1, -2.5e-3, null, true, "é"], "b": {"a": {}}}'
    assert parse_json(text, name="this", what="JSON") == {"a": [1, -2.5e-3, None, True, "é"], "b": {"a": {}}}
