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

KNOWN_OR_NOT = {kind: {"type": [kind, "null"]} for kind in ("integer", "number", "string")}
SHAPE = {  # of what records hold as ``system``
    "type": "object", "additionalProperties": False,
    "required": ["os", "kernel", "machine", "cpu", "memory", "load_average", "accelerators"],
    "properties": {
        "os": {"type": "string"}, "kernel": {"type": "string"}, "machine": {"type": "string"},
        "cpu": {"type": "object", "additionalProperties": False,
                "required": ["model", "physical", "logical", "usable", "quota", "flags", "governor"],
                "properties": {"model": {"type": "string"}, "flags": {"type": "array", "items": {"type": "string"}},
                               **dict.fromkeys(("physical", "logical", "usable"), KNOWN_OR_NOT["integer"]),
                               "quota": KNOWN_OR_NOT["number"], "governor": KNOWN_OR_NOT["string"]}},
        "memory": {"type": "object", "required": ["total_bytes", "available_bytes", "limit_bytes"],
                   "additionalProperties": KNOWN_OR_NOT["integer"]},
        "load_average": {"type": ["array", "null"], "items": {"type": "number"}},
        "accelerators": {"type": "array", "items": {
            "type": "object", "required": ["index", "name", "memory_bytes", "driver", "power_limit_w"],
            "properties": {"index": {"type": "integer"}, "name": {"type": "string"}, "driver": {"type": "string"},
                           "memory_bytes": KNOWN_OR_NOT["integer"], "power_limit_w": KNOWN_OR_NOT["number"]}}},
    },
}
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
    jsonschema.Draft202012Validator(SHAPE).validate(json.loads(json.dumps(seen)))


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
