"""Bytes through each network interface of this machine, whoever sent them; RDMA ports too, which bypass the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlcompare.core.meters.meter import Absent, Meter, Opened, Quantity

MOST = 16  # interfaces that are told; a host of many containers has hundreds
PORTS = "sys/class/infiniband/*/ports/*/counters"
WORD = 4  # bytes: a port counts in lanes of 32 bits (Linux, Documentation/ABI/stable/sysfs-class-infiniband)
LOOPBACK = "lo"


class Network(Meter):
    """Bytes received and sent by interface, loopback included: there go the messages of workers on one machine."""

    name = "network"
    title = "bytes through each network interface (/proc/net/dev)"

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def open(self, device: str) -> Opened:
        found = interfaces(self.root)
        if not found:
            raise Absent(f"{self.root / 'proc/net/dev'} names no interface: it is Linux's")
        kept = [name for name in found if len(found) <= MOST or name == LOOPBACK or physical(self.root, name)][:MOST]
        left = len(found) - len(kept)
        return Through(self.root, kept, {"other interfaces": f"{left} that are virtual, such as containers'"}
                       if left else {})


class Through(Opened):
    """The interfaces that were there at the start; one that has gone has no value."""

    def __init__(self, root: Path, names: Sequence[str], absent: dict[str, str]) -> None:
        self.root, self.names, self.absent = root, names, absent
        self.quantities = [Quantity(name, way, "B") for name in names for way in ("received", "sent")]

    def read(self) -> Sequence[float | None]:
        now = interfaces(self.root)
        return [float(value) if value is not None else None
                for name in self.names for value in now.get(name, (None, None))]


def interfaces(root: Path) -> dict[str, tuple[int | None, int | None]]:
    """Return by interface or RDMA port the bytes received and sent so far."""
    found: dict[str, tuple[int | None, int | None]] = {}
    try:
        lines = (root / "proc/net/dev").read_text().splitlines()[2:]
    except OSError:
        lines = []
    for line in lines:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        found[name.strip()] = (int(fields[0]), int(fields[8]))
    for port in sorted(root.glob(PORTS)):
        found[f"{port.parents[2].name} port {port.parent.name}"] = (
            words(port / "port_rcv_data"), words(port / "port_xmit_data"))
    return found


def physical(root: Path, name: str) -> bool:
    """Return whether an interface is a device's, or an RDMA port, and no container's or bridge's."""
    return " port " in name or (root / "sys/class/net" / name / "device").exists()


def words(file: Path) -> int | None:
    try:
        return WORD * int(file.read_text())
    except (OSError, ValueError):
        return None
