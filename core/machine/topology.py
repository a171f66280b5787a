"""How this machine is built: sockets, cores, NUMA, caches, vector extensions, control groups, links between GPUs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

SYS, PROC, GROUPS = Path("/sys"), Path("/proc"), Path("/sys/fs/cgroup")
# Vector extensions that matrix kernels choose by, and the flags of /proc/cpuinfo that must all be there.
EXTENSIONS = {
    "AVX2": ("avx2", "fma"), "AVX-512": ("avx512f", "avx512bw", "avx512dq", "avx512vl"),
    "AVX-512 VNNI": ("avx512_vnni",), "AVX-VNNI": ("avx_vnni",), "AVX-512 BF16": ("avx512_bf16",),
    "AVX-512 FP16": ("avx512_fp16",), "AMX INT8": ("amx_tile", "amx_int8"), "AMX BF16": ("amx_tile", "amx_bf16"),
    "AMX FP16": ("amx_tile", "amx_fp16"), "NEON": ("asimd",), "SVE": ("sve",), "BF16": ("bf16",), "I8MM": ("i8mm",),
}
UNLIMITED = 1 << 60  # what a control group of version 1 calls no limit, and more, is more than any machine has
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
LEVELS = {0: "same board", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}  # NVML's, as nvidia-smi calls them
MOST_LINKS = 32  # NVLinks that a GPU is asked for; those it has not are errors


def topology(*, sys: Path = SYS, proc: Path = PROC, groups: Path = GROUPS) -> dict[str, Any]:
    """Return how the machine is built; what the system does not tell is left out. Sizes are in bytes.

    {sockets, cores, threads, numa [{node, cpus, memory_bytes}], caches [{level, type, bytes, shared_by, count}],
    extensions {name: there or not}, hypervisor, cgroup {cpus, memory_bytes, pids, cpuset}, links [{gpus, path,
    nvlinks}]}. ``cgroup`` holds the closest limit on the way to the root, for those that are set.
    """
    found = {**processors(sys), "numa": numa(sys), "caches": caches(sys), **flags(proc),
             "cgroup": limits(proc / "self" / "cgroup", groups), "links": links()}
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def processors(sys: Path) -> dict[str, int]:
    """Return how many sockets, cores and hardware threads are online."""
    seen = [tuple(text(folder / name) for name in ("physical_package_id", "core_id"))
            for folder in sorted(sys.glob("devices/system/cpu/cpu[0-9]*/topology"))]
    if not seen:
        return {}
    return {"sockets": len({socket for socket, _ in seen}), "cores": len(set(seen)), "threads": len(seen)}


def numa(sys: Path) -> list[dict[str, Any]]:
    """Return each NUMA node with its processors and memory."""
    found = []
    for node in sorted(sys.glob("devices/system/node/node[0-9]*"), key=lambda path: int(path.name[4:])):
        memory = re.search(r"MemTotal:\s+(\d+) kB", text(node / "meminfo") or "")
        found.append({"node": int(node.name[4:]), "cpus": text(node / "cpulist") or "",
                      "memory_bytes": int(memory[1]) << 10 if memory else None})
    return found


def caches(sys: Path) -> list[dict[str, Any]]:
    """Return each level's caches: bytes of one, how many processors share one, how many there are."""
    found: dict[tuple[int, str, int, int], set[str]] = {}
    for folder in sys.glob("devices/system/cpu/cpu[0-9]*/cache/index[0-9]*"):
        level, kind, size, shared = (text(folder / name) for name in ("level", "type", "size", "shared_cpu_list"))
        if level and kind and size and shared:
            key = int(level), kind.lower(), in_bytes(size), len(list(listed(shared)))
            found.setdefault(key, set()).add(shared)
    return [{"level": level, "type": kind, "bytes": size, "shared_by": by, "count": len(which)}
            for (level, kind, size, by), which in sorted(found.items())]


def last_level(built: dict[str, Any]) -> int:
    """Return the bytes of all caches of the last level together; 0 where nobody tells."""
    known = [one for one in built.get("caches", ()) if one["type"] != "instruction"]
    last = max((one["level"] for one in known), default=0)
    return sum(one["bytes"] * one["count"] for one in known if one["level"] == last)


def flags(proc: Path) -> dict[str, Any]:
    """Return which vector extensions of this machine's architecture there are, and whether a hypervisor is below."""
    lines = (text(proc / "cpuinfo") or "").splitlines()
    words = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), None)
    if words is None:
        return {}
    arm = "asimd" in words
    family = ("NEON", "SVE", "BF16", "I8MM") if arm else [name for name in EXTENSIONS if name.startswith("A")]
    return {"extensions": {name: set(EXTENSIONS[name]) <= set(words) for name in family},
            "hypervisor": "hypervisor" in words}


def limits(own: Path, groups: Path) -> dict[str, Any]:
    """Return the closest limits that control groups, of version 2 or 1, set to this process."""
    found: dict[str, Any] = {}
    for line in (text(own) or "").splitlines():
        number, controllers, path = line.split(":", 2)
        for controller in controllers.split(",") if number != "0" else ("",):
            for folder in upwards(groups / controller, path):
                for name, value in limits_in(folder):
                    found[name] = min(found[name], value) if isinstance(found.get(name), (int, float)) else value
    return found


def upwards(root: Path, path: str) -> Iterator[Path]:
    """Yield a control group's folder and those above it, up to the root; the outermost is seen inside a container."""
    inner = root / path.strip("/")
    yield from (folder for folder in (inner, *inner.parents) if folder == root or root in folder.parents)


def limits_in(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield the limits that are set in a folder of a control group."""
    allowed, _, period = (text(folder / "cpu.max") or "max").partition(" ")
    quota, every = text(folder / "cpu.cfs_quota_us"), text(folder / "cpu.cfs_period_us")
    if allowed != "max":
        yield "cpus", int(allowed) / int(period or 100_000)
    elif quota and every and int(quota) > 0:
        yield "cpus", int(quota) / int(every)
    for name, files in {"memory_bytes": ("memory.max", "memory.limit_in_bytes"), "pids": ("pids.max",)}.items():
        for file in files:
            value = text(folder / file)
            if value and value.isdigit() and int(value) < UNLIMITED:
                yield name, int(value)
    if cpuset := text(folder / "cpuset.cpus"):
        yield "cpuset", cpuset


def links(nvml: Any = None) -> list[dict[str, Any]]:
    """Return how each two GPUs are joined, as ``nvidia-smi topo -m`` shows it; empty without NVML or two GPUs."""
    with contextlib.suppress(Exception):  # no package, no driver, or one that does not know: then nobody tells
        nvml = nvml or library()
        nvml.nvmlInit()
        try:
            cards = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
            return [link(nvml, cards, pair) for pair in combinations(range(len(cards)), 2)]
        finally:
            nvml.nvmlShutdown()
    return []


def library() -> Any:
    """Return NVIDIA's own package of NVML, nvidia-ml-py. Raises ImportError."""
    import pynvml  # type: ignore[import-not-found,unused-ignore]

    return pynvml


def link(nvml: Any, cards: list[Any], pair: tuple[int, int]) -> dict[str, Any]:
    """Return the path between two GPUs: NV and how many NVLinks where these join them, else that over PCIe."""
    one, other = (cards[index] for index in pair)
    level = nvml.nvmlDeviceGetTopologyCommonAncestor(one, other)
    joined = 0
    with contextlib.suppress(nvml.NVMLError):
        if nvml.nvmlDeviceGetP2PStatus(one, other, nvml.NVML_P2P_CAPS_INDEX_NVLINK) == nvml.NVML_P2P_STATUS_OK:
            joined = sum(active(nvml, one, number) for number in range(MOST_LINKS))
    return {"gpus": list(pair), "path": f"NV{joined}" if joined else LEVELS.get(level, str(level)), "nvlinks": joined}


def active(nvml: Any, card: Any, number: int) -> bool:
    with contextlib.suppress(nvml.NVMLError):
        return bool(nvml.nvmlDeviceGetNvLinkState(card, number))
    return False


def listed(ranges: str) -> Iterator[int]:
    """Yield the numbers of a list such as 0-3,8."""
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def in_bytes(size: str) -> int:
    """Return a size such as 32768K in bytes."""
    return int(size[:-1]) * UNITS[size[-1]] if size[-1] in UNITS else int(size)


def text(file: Path) -> str | None:
    """Return what a file of the kernel's says; None if there is none or it says nothing."""
    with contextlib.suppress(OSError):
        return file.read_text().strip() or None
    return None
