"""How a machine is built is read from the kernel's files as they are on servers, in containers and on Arm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dlcompare.core.machine import topology as of
from dlcompare.core.machine.topology import last_level, links, topology


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def two_sockets(root: Path) -> Path:
    """Two sockets of two cores with two threads each; the third level is shared by a socket."""
    files = {}
    for cpu in range(8):
        socket, core = cpu // 2 % 2, cpu % 2
        here = f"devices/system/cpu/cpu{cpu}"
        files |= {f"{here}/topology/physical_package_id": str(socket), f"{here}/topology/core_id": str(core)}
        twins = f"{cpu % 4},{cpu % 4 + 4}"
        mates = "0-1,4-5" if socket == 0 else "2-3,6-7"
        for index, (level, kind, size, shared) in enumerate((("1", "Data", "48K", twins), ("1", "Instruction", "32K",
                                                             twins), ("3", "Unified", "32768K", mates))):
            files |= {f"{here}/cache/index{index}/{name}": value for name, value in (
                ("level", level), ("type", kind), ("size", size), ("shared_cpu_list", shared))}
    for node, cpus in ((0, "0-1,4-5"), (1, "2-3,6-7")):
        files |= {f"devices/system/node/node{node}/cpulist": cpus,
                  f"devices/system/node/node{node}/meminfo": f"Node {node} MemTotal:   1024 kB\nNode {node} X: 1 kB"}
    return put(root, files)


def seen(tmp_path: Path, flags: str = "fpu avx2 fma amx_tile amx_int8 hypervisor", own: str = "0::/",
         groups: dict[str, str] | None = None) -> dict[str, Any]:
    put(tmp_path / "proc", {"cpuinfo": f"processor : 0\nflags\t\t: {flags}", "self/cgroup": own})
    (tmp_path / "groups").mkdir(exist_ok=True)
    put(tmp_path / "groups", groups or {})
    return topology(sys=two_sockets(tmp_path / "sys"), proc=tmp_path / "proc", groups=tmp_path / "groups")


def test_sockets_cores_nodes_and_caches_are_counted(tmp_path: Path) -> None:
    found = seen(tmp_path)
    assert (found["sockets"], found["cores"], found["threads"]) == (2, 4, 8)
    assert found["numa"] == [{"node": 0, "cpus": "0-1,4-5", "memory_bytes": 1 << 20},
                             {"node": 1, "cpus": "2-3,6-7", "memory_bytes": 1 << 20}]
    assert found["caches"] == [
        {"level": 1, "type": "data", "bytes": 48 << 10, "shared_by": 2, "count": 4},
        {"level": 1, "type": "instruction", "bytes": 32 << 10, "shared_by": 2, "count": 4},
        {"level": 3, "type": "unified", "bytes": 32 << 20, "shared_by": 4, "count": 2}]
    assert last_level(found) == 64 << 20


def test_extensions_that_are_there_and_that_are_not_are_told(tmp_path: Path) -> None:
    found = seen(tmp_path)
    assert found["hypervisor"] and found["extensions"]["AVX2"] and found["extensions"]["AMX INT8"]
    assert not found["extensions"]["AMX BF16"] and not found["extensions"]["AVX-512"]
    assert "NEON" not in found["extensions"]
    arm = seen(tmp_path, flags="fp asimd sve bf16")
    assert arm["extensions"] == {"NEON": True, "SVE": True, "BF16": True, "I8MM": False} and not arm["hypervisor"]


@pytest.mark.parametrize(("own", "groups", "limits"), [
    ("0::/", {}, {}),
    ("0::/", {"cpu.max": "max 100000", "memory.max": "max"}, {}),
    ("0::/", {"cpu.max": "150000 100000", "memory.max": "1073741824", "pids.max": "512"},
     {"cpus": 1.5, "memory_bytes": 1 << 30, "pids": 512}),
    ("0::/a/b", {"a/b/memory.max": "4096", "a/memory.max": "2048", "a/cpu.max": "200000 100000"},
     {"cpus": 2.0, "memory_bytes": 2048}),
    ("0::/a/b", {"a/b/memory.max": "1024", "a/memory.max": "2048"}, {"memory_bytes": 1024}),
    ("4:memory:/job\n1:cpu:/", {"memory/job/memory.limit_in_bytes": "8192", "cpu/cpu.cfs_quota_us": "-1",
                                "cpu/cpu.cfs_period_us": "100000", "memory/memory.limit_in_bytes": str(2**63 - 4096)},
     {"memory_bytes": 8192}),
    ("4:cpu,cpuacct:/job", {"cpu,cpuacct/job/cpu.cfs_quota_us": "50000"}, {}),
])
def test_limits_of_control_groups_are_the_closest_on_the_way_up(
        tmp_path: Path, own: str, groups: dict[str, str], limits: dict[str, Any]) -> None:
    assert seen(tmp_path, own=own, groups=groups).get("cgroup", {}) == limits


def test_nothing_told_is_nothing_said(tmp_path: Path) -> None:
    assert topology(sys=tmp_path, proc=tmp_path, groups=tmp_path) == {}
    assert last_level({}) == 0


class Nvml:
    """What NVML answered of four GPUs: 0 and 1 joined by 12 NVLinks, 2 behind the same switch as 0, 3 elsewhere."""

    class NVMLError(Exception): ...

    NVML_P2P_CAPS_INDEX_NVLINK, NVML_P2P_STATUS_OK = 2, 0

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 4

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetTopologyCommonAncestor(self, one: int, other: int) -> int:
        return 50 if 3 in (one, other) else 20

    def nvmlDeviceGetP2PStatus(self, one: int, other: int, index: int) -> int:
        if 3 in (one, other):
            raise self.NVMLError("Not Supported")
        return 0 if {one, other} == {0, 1} else 4

    def nvmlDeviceGetNvLinkState(self, card: int, number: int) -> int:
        if number >= 12:
            raise self.NVMLError("Invalid Argument")
        return 1


def test_links_between_gpus_are_told_as_nvidia_smi_does() -> None:
    assert {tuple(one["gpus"]): one["path"] for one in links(Nvml())} == {
        (0, 1): "NV12", (0, 2): "PXB", (1, 2): "PXB", (0, 3): "SYS", (1, 3): "SYS", (2, 3): "SYS"}


def test_a_driver_that_does_not_answer_tells_of_no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> Any:
        raise OSError("GPU is lost")

    broken = Nvml()
    monkeypatch.setattr(broken, "nvmlDeviceGetCount", lost)
    assert links(broken) == []
    monkeypatch.setattr(of, "library", lost)
    assert links() == []
