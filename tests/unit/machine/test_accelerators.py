"""GPUs are counted as CUDA counts them; absent or odd hardware is an empty list, never an error."""

import shutil
import subprocess
from pathlib import Path

import pytest
from asking import planned

from dlcompare.core.machine import accelerators
from dlcompare.core.plan.feasibility import default_device
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins


@pytest.mark.parametrize(("chosen", "listed", "left"), [
    (None, 2, 2), ("", 2, 0), ("-1", 2, 0), ("0,-1,1", 2, 1), ("0,2,-1,1", 3, 2), ("1, 0", 2, 2), ("2,0", 2, 0),
    ("0,,1", 2, 1), ("NoDevFiles", 2, 0), ("0,0", 2, 0), ("GPU-8c,GPU-9d", 2, 2), ("MIG-a,MIG-b,MIG-c", 1, 3),
    ("0", 0, 0), ("GPU-8c", 0, 0), (None, 0, 0),
])
def test_what_follows_the_first_word_that_names_no_gpu_is_hidden(chosen: str | None, listed: int, left: int) -> None:
    assert accelerators.visible(chosen, listed) == left


@pytest.mark.parametrize(("chosen", "left"), [("-1", 0), ("1,-1", 1), ("-1,0", 0), ("0,1", 2)])
def test_all_who_count_gpus_count_alike(chosen: str, left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "accelerators", lambda: [{"index": 0}, {"index": 1}])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert default_device(plugins(), ["pytorch-ddp"]) == ("cuda" if left else "cpu")
    several = Job("pytorch-dp", "resnet18", workers=2, device="cuda")
    refused = plugins().backend("pytorch-dp").refuse(several)
    assert refused is None if left == 2 else f"sees {left} on this machine" in str(refused)
    plan = planned("pytorch-ddp", device="cuda", workers=2)
    assert [f"this machine has {left or 'none'};" in reason for reason in plan.refusals.values()] == [True] * (left < 2)


@pytest.mark.parametrize(("files", "count"), [(("nvidia0", "nvidia1", "nvidiactl"), 2), (("nvidiactl",), 0),
                                              (("nvhost-gpu",), 1), (("dxg",), 0)])
def test_without_the_drivers_tool_its_device_files_are_counted(files: tuple[str, ...], count: int, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(accelerators, "accelerators", list)
    monkeypatch.setattr(accelerators, "DEV", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert accelerators.gpus() == count


def tool(folder: Path, body: str) -> str:
    """Return a program that stands where the driver's tool would, and does as ``body`` says."""
    path = folder / "smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_accelerators_are_read_from_the_drivers_tool(tmp_path: Path) -> None:
    body = ("[ \"$2\" = --format=csv,noheader,nounits ] || exit 1\n"
            "echo '0, NVIDIA H200, 143771, 570.86.15, 700.00'\necho '1, Tesla K80, [N/A], 470.256.02, [Not Supported]'")
    assert accelerators.accelerators(tool(tmp_path, body)) == [
        {"index": 0, "name": "NVIDIA H200", "memory_bytes": 143771 * 2**20, "driver": "570.86.15",
         "power_limit_w": 700.0},
        {"index": 1, "name": "Tesla K80", "memory_bytes": None, "driver": "470.256.02", "power_limit_w": None}]


@pytest.mark.parametrize("body", ["echo '0, NVIDIA H200, 1, 2, 3'; exit 9", "echo 'No devices were found'", ""])
def test_no_driver_or_no_device_is_an_empty_list(tmp_path: Path, body: str) -> None:
    assert accelerators.accelerators(tool(tmp_path, body)) == []


def test_no_tool_is_an_empty_list(tmp_path: Path) -> None:
    assert accelerators.accelerators(str(tmp_path / "absent")) == []


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc, to compile a library that answers as CUDA's does")
def test_a_gpu_s_name_is_what_the_driver_calls_the_one_of_that_number(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, library = tmp_path / "cuda.c", tmp_path / "libcuda.so"
    source.write_text("""
        #include <string.h>
        static int open = 0;
        int cuInit(unsigned flags) { open = 1; return 0; }
        int cuDeviceGet(int *device, int ordinal) { *device = 7 * ordinal; return ordinal > 1 ? 101 : 0; }
        int cuDeviceGetUuid_v2(unsigned char *uuid, int device) { memset(uuid, device, 16); return open ? 0 : 3; }
    """)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    assert accelerators.cuda_uuid(1, str(library)) == "07070707-0707-0707-0707-070707070707"
    assert accelerators.cuda_uuid(2, str(library)) is None, "there is none of that number"
    assert accelerators.cuda_uuid(0, "libnothing.so.1") is None
    assert accelerators.cuda_uuids([]) == ()
    monkeypatch.setattr(accelerators, "cuda_uuid", lambda number: "first" if number == 0 else None)
    assert accelerators.cuda_uuids([0]) == ("first",) and accelerators.cuda_uuids([0, 1]) is None, "part of a total"
