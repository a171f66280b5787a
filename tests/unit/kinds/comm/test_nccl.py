"""What nccl-tests writes with -J is read: units, NaN as text, numbered files; never its environment but NCCL's part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nccl_file import written

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.comm.nccl import read_all


def test_sizes_have_our_units(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.write_text(json.dumps(written()))
    (found,) = read_all([str(file)])
    assert (found.collective, found.ranks, found.devices, found.version) == (
        "all_reduce", 2, ("NVIDIA H200",), "2.27.3")
    one, placed, small = found.rows
    assert (one.size, one.in_place, one.seconds, one.bus_bandwidth, one.wrong) == (
        1048576, False, pytest.approx(21.5e-6), pytest.approx(48.77e9), 0)
    assert (placed.in_place, placed.bus_bandwidth, placed.wrong) == (True, None, None)
    assert (small.seconds, small.wrong) == (pytest.approx(9e-6), 2)


def test_of_the_environment_only_nccls_own_part_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    for env in (written()["env"], {"SECRET_TOKEN": "hush", "NCCL_DEBUG": "WARN", "NCCL_ALGO": "Ring=1"}):
        file.write_text(json.dumps(written(env=env)))
        (found,) = read_all([str(file)])
        assert found.variables == {"NCCL_DEBUG": "WARN", "NCCL_ALGO": "Ring=1"} and "hush" not in repr(found)


def test_numbered_files_belong_to_the_one_that_was_named(tmp_path: Path) -> None:
    for name in ("out.json.0", "out.json.10", "out.json.2", "out.json.txt"):
        (tmp_path / name).write_text(json.dumps(written()))
    names = [Path(one.file).name for one in read_all([str(tmp_path / "out.json")])]
    assert names == ["out.json.0", "out.json.2", "out.json.10"]
    (tmp_path / "out.json").write_text(json.dumps(written()))
    assert len(read_all([str(tmp_path / "out.json")])) == 4


@pytest.mark.parametrize(("more", "said"), [
    ({"version": 2}, "format 2; known is 3"), ({"results": 5}, "is not a file that nccl-tests wrote"),
    ({"args": ["alltoall_perf"]}, "of nccl-tests' alltoall"), ({"devices": None}, "is not a file"),
    ({"results": [{"size": 8, "out_of_place": {"time": "soon"}}]}, "is not a file"),
    ({"results": [{"size": 8, "out_of_place": {"nwrong": "inf"}}]}, "is not a file")])
def test_what_is_no_such_file_is_said(more: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.write_text(json.dumps(written(**more)))
    with pytest.raises(UsageError, match=said):
        read_all([str(file)])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.json"):
        read_all([str(tmp_path / "nowhere.json")])
