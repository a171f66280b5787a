"""The machine is described as other tools see it; absent or odd hardware is None or empty, never an error."""

import getpass
import json
import os
import platform
from pathlib import Path

import jsonschema
import psutil
import pytest

from dlcompare.core.machine import system
from dlcompare.core.records.record import schema

ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd aes sve bf16 i8mm\nCPU part\t: 0xd40\n\nprocessor\t: 1\n"
X86 = ("processor\t: 0\nmodel name\t: AMD EPYC 7B13\nflags\t\t: fpu sse4_2 fma avx avx2 avx512f\n\n"
       "processor\t: 1\nmodel name\t: other\n")


def test_this_machine_is_described_as_others_see_it() -> None:
    seen = system.system()
    assert seen["kernel"] == platform.release()
    assert seen["cpu"]["usable"] == len(psutil.Process().cpu_affinity())
    assert seen["cpu"]["logical"] == psutil.cpu_count() and seen["cpu"]["model"]
    assert seen["memory"]["total_bytes"] == psutil.virtual_memory().total
    assert 0 < seen["memory"]["available_bytes"] <= seen["memory"]["total_bytes"]
    assert len(seen["load_average"]) == 3
    jsonschema.Draft202012Validator(schema()["properties"]["system"]).validate(json.loads(json.dumps(seen)))


def test_fewer_usable_cores_are_seen() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert system.cpu()["usable"] == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_nothing_names_the_machine_or_its_user() -> None:
    text = json.dumps(system.system())
    for name in (platform.node(), getpass.getuser(), str(Path.home())):
        assert f'"{name}"' not in text


@pytest.mark.parametrize("text, model, flags", [
    (X86, "AMD EPYC 7B13", ["avx", "avx2", "avx512f", "fma"]),
    (ARM, None, ["asimd", "bf16", "i8mm", "sve"]),
    ("", None, []),
])
def test_cpuinfo_of_either_architecture(text: str, model: str | None, flags: list[str]) -> None:
    assert system.cpuinfo(text) == {"model": model, "flags": flags}


@pytest.mark.parametrize("text, cores", [("150000 100000", 1.5), ("max 100000", None), ("max", None), (None, None)])
def test_a_containers_quota_is_in_cores(text: str | None, cores: float | None) -> None:
    assert system.quota(text) == cores


def tool(folder: Path, body: str) -> str:
    """Return a program that stands where the driver's tool would, and does as ``body`` says."""
    path = folder / "smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_accelerators_are_read_from_the_drivers_tool(tmp_path: Path) -> None:
    body = ("[ \"$2\" = --format=csv,noheader,nounits ] || exit 1\n"
            "echo '0, NVIDIA H200, 143771, 570.86.15, 700.00'\necho '1, Tesla K80, [N/A], 470.256.02, [Not Supported]'")
    assert system.accelerators(tool(tmp_path, body)) == [
        {"index": 0, "name": "NVIDIA H200", "memory_bytes": 143771 * 2**20, "driver": "570.86.15",
         "power_limit_w": 700.0},
        {"index": 1, "name": "Tesla K80", "memory_bytes": None, "driver": "470.256.02", "power_limit_w": None}]


@pytest.mark.parametrize("body", ["echo '0, NVIDIA H200, 1, 2, 3'; exit 9", "echo 'No devices were found'", ""])
def test_no_driver_or_no_device_is_an_empty_list(tmp_path: Path, body: str) -> None:
    assert system.accelerators(tool(tmp_path, body)) == []


def test_no_tool_is_an_empty_list(tmp_path: Path) -> None:
    assert system.accelerators(str(tmp_path / "absent")) == []
