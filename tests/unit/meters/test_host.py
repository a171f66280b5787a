"""Meters of the host: from recordings, a real one of a virtual machine among them, and from this machine itself."""

from __future__ import annotations

import errno
import json
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dlcompare.core.errors import UsageError
from dlcompare.core.meters import foreign_load
from dlcompare.core.meters.host.events import Events
from dlcompare.core.meters.host.network import Network
from dlcompare.core.meters.host.perf import Event, Perf
from dlcompare.core.meters.host.processors import Processors, Usage
from dlcompare.core.meters.host.recording import Replay, record
from dlcompare.core.meters.host.state import Clock, Memory
from dlcompare.core.meters.host.storage import Storage
from dlcompare.core.meters.meter import Absent, Meter, Opened
from dlcompare.core.meters.offered import dlcompare_meters
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.variables import JOB_MARK, METERS
from dlcompare.core.worker.metering import Metering

from .recorded import count, replay, write

VIRTUAL = Path(__file__).parents[2] / "golden" / "host_recording"  # of a virtual machine of two cores, three moments
LEVEL = "proc/sys/kernel/perf_event_paranoid"
EVENTS = ("cycles", "instructions", "cache references", "cache misses")
TICKS = foreign_load.TICKS


@pytest.fixture(autouse=True)
def _of_a_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(JOB_MARK, "recorded")
    monkeypatch.setattr(foreign_load, "FRESH", 0.0)
    yield


HOST = "dlcompare.core.meters.host."


def values(meter: Opened) -> dict[str, float | None]:
    return {one.key: value for one, value in zip(meter.quantities, meter.read(), strict=True)}


def grown(meter: Opened, found: Replay) -> dict[str, float | None]:
    """Return by how much quantities grow until the next moment; None where one of two readings is none."""
    before = values(meter)
    found.pause(1)
    return {name: None if after is None or (first := before[name]) is None else after - first
            for name, after in values(meter).items()}


def counts(cycles: int, instructions: int, *, seconds: int = 1, cycles_for: float | None = None) -> dict[str, Any]:
    """Return what events counted in so many seconds, cycles maybe in fewer."""
    whole = {"enabled": seconds * 10**9, "running": seconds * 10**9}
    shared = whole if cycles_for is None else {**whole, "running": int(cycles_for * 10**9)}
    return {**{name: count(7, **whole) for name in EVENTS}, "cycles": count(cycles, **shared),
            "instructions": count(instructions, **whole)}


def test_events_are_counted_by_the_processor(tmp_path: Path) -> None:
    found = replay(tmp_path, [{}, {}], perf=[counts(100, 300), counts(500, 1500, seconds=2)])
    meter = Events(found.root, found).open("cpu")
    assert all(one.own for one in meter.quantities), "each rank counts its own"
    assert grown(meter, found) == {"workers cycles": 400, "workers instructions": 1200, "workers cache references": 0,
                                   "workers cache misses": 0, "workers uncounted": 0}
    meter.close()
    assert set(found.handles) == {""}


def test_an_event_that_shared_its_counter_is_scaled_and_the_gap_is_told(tmp_path: Path) -> None:
    later = counts(500, 1500, seconds=3, cycles_for=1.5)
    found = replay(tmp_path, [{}, {}], perf=[counts(100, 300), later])
    meter = Events(found.root, found).open("cpu")
    used = grown(meter, found)
    assert used["workers cycles"] == pytest.approx(400 * 2.0 / 0.5), "counted for half a second of two"
    assert used["workers uncounted"] == pytest.approx(1.5)


def test_an_event_that_was_never_counted_in_a_window_has_no_number(tmp_path: Path) -> None:
    later = counts(100, 1500, seconds=3, cycles_for=1.0)
    found = replay(tmp_path, [{}, {}], perf=[counts(100, 300), later])
    meter = Events(found.root, found).open("cpu")
    used = grown(meter, found)
    assert used["workers cycles"] is None and used["workers instructions"] == 1200


def test_a_counter_that_stands_still_is_absent(tmp_path: Path) -> None:
    found = replay(tmp_path, [{}], perf=[counts(0, 300)])
    meter = Events(found.root, found).open("cpu")
    assert "workers cycles" not in values(meter) and "stands still" in meter.absent["workers cycles"]


@pytest.mark.parametrize(("error", "files", "reason"), [
    (errno.ENOENT, {}, "no hardware counters, as most virtual machines"),
    (errno.EACCES, {LEVEL: 3}, r"paranoid is 3\); allow it with: sudo sysctl kernel.perf_event_paranoid=2"),
    (errno.EPERM, {}, r"paranoid is unknown\).*seccomp"), (errno.ENOSYS, {}, "no perf_event_open"),
    (errno.EMFILE, {}, "Too many open files"),
    (0, {"sys/bus/event_source/devices/cpu_core/cpus": "0-7", "sys/bus/event_source/devices/cpu_atom/cpus": "8-15"},
     r"2 kinds \(cpu_atom, cpu_core\)")])
def test_events_that_cannot_be_counted_are_absent_with_the_reason(
        tmp_path: Path, error: int, files: dict[str, object], reason: str) -> None:
    found = replay(tmp_path, [files], perf=[{name: {"errno": error} for name in EVENTS}])
    with pytest.raises(Absent, match=reason):
        Events(found.root, found).open("cpu")


def test_one_event_that_is_not_there_costs_that_one(tmp_path: Path) -> None:
    found = replay(tmp_path, [{}], perf=[{**counts(1, 2), "cache misses": {"errno": errno.ENOENT}}])
    meter = Events(found.root, found).open("cpu")
    assert list(meter.absent) == ["workers cache misses"] and "workers cycles" in values(meter)


def test_the_kernel_counts_for_a_process_and_all_it_starts() -> None:
    """By a software event, page faults, which needs no counter of the processor."""
    perf = Perf()
    try:
        handle = perf.open(Event("page faults", 1, 2))
    except OSError as error:
        pytest.skip(f"needs leave to call perf_event_open: {error}")
    perf.start(handle)
    first = perf.read(handle)
    pages = 2000
    code = f"import mmap\nm = mmap.mmap(-1, {pages * mmap.PAGESIZE})\nfor i in range({pages}): m[i * mmap.PAGESIZE] = 1"
    subprocess.run([sys.executable, "-c", code], check=True)
    last = perf.read(handle)
    perf.stop(handle)
    subprocess.run([sys.executable, "-c", code], check=True)
    assert perf.read(handle).value - last.value < pages / 10, "it was stopped"
    perf.close(handle)
    assert last.value - first.value >= pages
    assert last.enabled > first.enabled and last.running > first.running


def process(pid: int, *, read: int | None, parent: int = 1, mark: str = "recorded") -> dict[str, object]:
    """Return the files of a process that has read so many bytes; None: it does not tell."""
    io = {} if read is None else {f"proc/{pid}/io": f"rchar: 9\nread_bytes: {read}\nwrite_bytes: {read // 2}"}
    return {f"proc/{pid}/environ": f"A=1\0{JOB_MARK}={mark}\0", **io,
            f"proc/{pid}/stat": f"{pid} (a) b) S {parent} 1 1 0"}


def read_by(tmp_path: Path, *moments: dict[str, object]) -> float | None:
    found = replay(tmp_path, moments)
    return grown(Storage(found.root).open("cpu"), found)["job read from storage"]


def test_bytes_of_all_the_job_s_processes_are_summed(tmp_path: Path) -> None:
    first = process(7, read=100) | process(8, read=10) | process(9, read=5000, mark="another")
    later = process(7, read=400) | process(8, read=20) | process(10, read=1, parent=7) | process(9, read=9000, mark="x")
    found = replay(tmp_path, [first, later])
    assert grown(Storage(found.root).open("cpu"), found) == {
        "job read from storage": 311, "job written to storage": 155}


def test_bytes_of_a_process_that_ended_are_its_parent_s(tmp_path: Path) -> None:
    assert read_by(tmp_path, process(7, read=100) | process(8, read=50, parent=7), process(7, read=180)) == 30


def test_bytes_of_a_process_that_ended_in_strange_hands_are_lost_and_so_is_the_number(tmp_path: Path) -> None:
    first = process(7, read=100) | process(8, read=50, parent=1)
    assert read_by(tmp_path, first, process(7, read=900)) is None


def test_a_process_that_does_not_tell_costs_the_number(tmp_path: Path) -> None:
    assert read_by(tmp_path, process(7, read=100), process(7, read=900) | process(8, read=None)) is None


@pytest.mark.parametrize(("files", "reason"), [
    ({}, "shows no process of this job"), (process(7, read=None), "TASK_IO_ACCOUNTING"),
    (process(7, read=None) | {"proc/7/io": ""}, "CAP_SYS_PTRACE")])
def test_no_bytes_are_told_of_where_nobody_counts(tmp_path: Path, files: dict[str, object], reason: str) -> None:
    with pytest.raises(Absent, match=reason):
        Storage(replay(tmp_path, [files]).root).open("cpu")


def test_outside_a_job_nobody_knows_whose_bytes_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(JOB_MARK)
    with pytest.raises(Absent, match=JOB_MARK):
        Storage().open("cpu")


READER = """
import mmap, os, subprocess, sys
from dlcompare.core.meters.host.storage import Storage
path = sys.argv[1]
fd = os.open(path, os.O_RDONLY)
def drop(): os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
meter = Storage().open("cpu")
drop(); first = meter.read()[0]
subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)
child = meter.read()[0]
subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)
warm = meter.read()[0]
drop(); before = meter.read()[0]
with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as mapped: sum(mapped[::4096])
print(child - first, warm - child, meter.read()[0] - before)
"""


def test_this_machine_counts_what_really_comes_from_storage(tmp_path: Path) -> None:
    """A child that has ended, pages of a mapping, and nothing of what the page cache held."""
    size = 4 << 20
    with (tmp_path / "cold").open("wb") as file:
        file.write(os.urandom(size))
        file.flush()
        os.fsync(file.fileno())
    done = subprocess.run([sys.executable, "-c", READER, str(tmp_path / "cold")], capture_output=True, text=True,
                          check=True, env={**os.environ, JOB_MARK: f"reads-{os.getpid()}"})
    child, warm, mapped = map(float, done.stdout.split())
    if child == warm == mapped == 0:
        pytest.skip("needs a temporary folder on a disk, not in memory")
    assert child >= size and mapped >= size and warm < size / 8


def test_a_virtual_machine_is_read_as_it_was_recorded(tmp_path: Path) -> None:
    """What a real machine wrote: none of its values is made up."""
    found = Replay(VIRTUAL, tmp_path / "now")
    cores, network = Processors(found.root).open("cpu"), Network(found.root).open("cpu")
    before = values(network)
    busy = grown(cores, found)
    by_core = sum(value or 0 for name, value in busy.items() if name.startswith("core "))
    assert by_core > 0 and busy["cores busy"] == pytest.approx(by_core)
    assert (busy["job busy"] or 0) > 0.3
    after = values(network)
    assert (after["lo received"] or 0) - (before["lo received"] or 0) >= 1 << 20
    assert (values(Storage(found.root).open("cpu"))["job read from storage"] or 0) > 0
    memory = Memory(found.root).open("cpu")
    assert 0 < (values(memory)["memory available"] or 0) < memory.about["total_bytes"]
    with pytest.raises(Absent, match="no hardware counters"):
        Events(found.root, found).open("cpu")


def test_cores_of_this_process_are_told_one_by_one_but_not_hundreds(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lines(busy: int) -> dict[str, object]:
        return {"proc/stat": "\n".join(["cpu 1 1", *(f"cpu{i} {busy * TICKS} 0 0 9 9 0 0 {TICKS}" for i in range(80))])}

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(2, 70)))
    found = replay(tmp_path, [lines(3), lines(5)])
    meter = Processors(found.root).open("cpu")
    assert list(meter.absent) == ["core"] and meter.about == {"cores": 68}
    assert grown(meter, found) | {"cores watched": 0} == {
        "cores watched": 0, "cores busy": 136, "cores stolen": 0, "job busy": 0}
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3})
    assert values(Processors(found.root).open("cpu"))["core 3 busy"] == 5.0


def test_where_there_is_no_proc_there_is_no_meter_of_it(tmp_path: Path) -> None:
    for meter in (Processors(tmp_path), Storage(tmp_path), Network(tmp_path), Memory(tmp_path), Clock(tmp_path)):
        with pytest.raises(Absent):
            meter.open("cpu")


def test_usage_counts_page_faults_and_time_of_this_process() -> None:
    meter = Usage().open("cpu")
    before = values(meter)
    with mmap.mmap(-1, 1000 * mmap.PAGESIZE) as fresh:
        for page in range(1000):
            fresh[page * mmap.PAGESIZE] = 1
    after = values(meter)
    assert (after["workers page faults from memory"] or 0) - (before["workers page faults from memory"] or 0) >= 1000
    assert all((after[name] or 0) >= (value or 0) for name, value in before.items())


def interfaces(*names: str, received: int = 0) -> dict[str, object]:
    head = "Inter-| Receive | Transmit\n face |bytes packets |bytes packets\n"
    return {"proc/net/dev": head + "\n".join(f"{name}: {received} 1 0 0 0 0 0 0 {2 * received} 1 0 0 0 0 0 0"
                                             for name in names)}


def test_bytes_by_interface_and_by_port_of_what_bypasses_the_kernel(tmp_path: Path) -> None:
    port = "sys/class/infiniband/mlx5_0/ports/1/counters"
    found = replay(tmp_path, [interfaces("lo", "eth0", received=size) | {
        f"{port}/port_rcv_data": size, f"{port}/port_xmit_data": 3 * size} for size in (0, 100)])
    assert grown(Network(found.root).open("cpu"), found) == {
        "lo received": 100, "lo sent": 200, "eth0 received": 100, "eth0 sent": 200,
        "mlx5_0 port 1 received": 400, "mlx5_0 port 1 sent": 1200}


def test_an_interface_that_goes_has_no_number(tmp_path: Path) -> None:
    found = replay(tmp_path, [interfaces("lo", "usb0"), interfaces("lo", received=5)])
    assert grown(Network(found.root).open("cpu"), found) == {
        "lo received": 5, "lo sent": 10, "usb0 received": None, "usb0 sent": None}


def test_of_many_interfaces_the_virtual_ones_are_only_counted(tmp_path: Path) -> None:
    names = ["lo", "eth0", *(f"veth{i}" for i in range(100))]
    found = replay(tmp_path, [interfaces(*names) | {"sys/class/net/eth0/device/vendor": "0x15b3"}])
    meter = Network(found.root).open("cpu")
    assert {one.scope for one in meter.quantities} == {"lo", "eth0"} and "100 that are virtual" in str(meter.absent)


def test_this_machine_counts_bytes_between_its_processes() -> None:
    meter, size = Network().open("cpu"), 1 << 20
    before = values(meter)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
        other, _ = server.accept()
        with other:
            for _ in range(size // 4096):
                one.sendall(bytes(4096))
                other.recv(4096, socket.MSG_WAITALL)
    assert (values(meter)["lo received"] or 0) - (before["lo received"] or 0) >= size


def test_the_clock_is_told_where_the_system_has_a_say_in_it(tmp_path: Path) -> None:
    cpus = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
    root = write(tmp_path, {cpus.format(0): 2_000_000, cpus.format(1): 2_500_000, cpus.format(12): "<unknown>"})
    assert values(Clock(root).open("cpu")) == {"core clock mean": 2.25e9, "core clock fastest": 2.5e9}


def test_memory_without_swap_has_no_number_of_it(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:       5 kB\nHugePages_Total: 0"})
    assert values(Memory(root).open("cpu")) == {"memory available": 5120.0, "memory swapped out": None}


def test_what_this_machine_records_is_what_its_meters_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "hush")
    child = subprocess.Popen([sys.executable, "-c", "print(1, flush=True)\nimport time\ntime.sleep(60)"],
                             stdout=subprocess.PIPE)
    try:
        assert child.stdout and child.stdout.read(1) == b"1", "it runs, so its environment is its own"
        record(tmp_path / "recording", moments=2, every=0.05, mark="recorded")
        here = opened([one for one in dlcompare_meters() if type(one).__module__.startswith(HOST)])
    finally:
        child.kill()
        child.communicate()
    text = "".join(file.read_text() for file in (tmp_path / "recording").rglob("*") if file.is_file())
    assert "hush" not in text and f"{JOB_MARK}=recorded" in text
    found = Replay(tmp_path / "recording", tmp_path / "now")
    assert json.loads((tmp_path / "now/moment.json").read_text())["perf"].keys() >= set(EVENTS)
    assert here == opened([Processors(found.root), Usage(), Events(found.root, found), Storage(found.root),
                           Network(found.root), Memory(found.root), Clock(found.root)])


def opened(meters: Sequence[Meter]) -> list[tuple[str, Any]]:
    """Return of each meter what it offers, or that it is absent."""
    found: list[tuple[str, Any]] = []
    for meter in meters:
        try:
            found.append((meter.name, [one.key for one in meter.open("cpu").quantities]))
        except Absent as error:
            found.append((meter.name, str(error)[-60:]))  # paths come first
    return found


def test_all_together_are_read_around_windows_and_each_tells_what_it_lacks() -> None:
    meters = Metering([one for one in dlcompare_meters() if one.sort == "window"], "cpu")
    used = meters.used(meters.read(), meters.read())
    meters.close()
    assert {"cores watched", "cores busy", "workers user time", "lo received"} <= used.counted.keys()
    assert not [one.lost for one in meters.metered() if one.lost]
    assert all(one.quantities or one.reason for one in meters.metered())


def test_a_variable_names_the_meters_that_may_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    for told, names in (("usage, perf", ["usage", "perf"]), ("none", []), ("", [])):
        monkeypatch.setenv(METERS, told)
        assert list(plugins().meters()) == names
    monkeypatch.setenv(METERS, "processor")
    with pytest.raises(UsageError, match=r"unknown meter 'processor'.*'processors'"):
        plugins().meters()
