"""Jobs where names are not known, proxies are set, other launchers have left their variables, or loopback is down."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from running import Command

Start = Callable[..., Command]
NOWHERE = "http://192.0.2.1:9"  # an address of documentation: nobody answers
PROXIES = {name: NOWHERE for scheme in ("http", "https", "all", "grpc") for name in
           (f"{scheme}_proxy", f"{scheme.upper()}_PROXY")}
LAUNCHERS = {
    "RANK": "7", "WORLD_SIZE": "9", "LOCAL_RANK": "3", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "9",
    "TORCHELASTIC_USE_AGENT_STORE": "False", "HOROVOD_RANK": "7", "HOROVOD_SIZE": "9", "HOROVOD_GLOO_IFACE": "eth9",
    "HOROVOD_HOSTNAME": "elsewhere", "TF_CONFIG": '{"cluster": {"worker": ["192.0.2.1:9"]}}',
    "OMPI_COMM_WORLD_RANK": "7", "OMPI_COMM_WORLD_SIZE": "9", "PMI_RANK": "7", "PMI_SIZE": "9", "SLURM_PROCID": "7",
    "SLURM_NTASKS": "9", "DMLC_ROLE": "server", "DMLC_PS_ROOT_URI": "192.0.2.1", "DMLC_NUM_WORKER": "9",
    "JAX_COORDINATOR_ADDRESS": "192.0.2.1:9", "JAX_NUM_PROCESSES": "9", "JAX_PROCESS_ID": "7",
}
SWITCHES = {"PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error"}


def need(*unshare: str) -> tuple[str, ...]:
    """Return what starts a program in namespaces of its own; skips where that is not allowed."""
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("namespaces cannot be made here")
    return unshare


def without_localhost(folder: Path) -> tuple[str, ...]:
    """Return what starts a program that knows this host by its own name alone, and no name server."""
    (folder / "hosts").write_text(f"127.0.0.1 {socket.gethostname()}\n")
    (folder / "resolv.conf").write_text("nameserver 127.0.0.77\n")
    bound = " && ".join(f"mount --bind {folder / name} /etc/{name}" for name in ("hosts", "resolv.conf"))
    return *need("unshare", "-m"), "sh", "-c", f'{bound} && exec "$@"', "sh"


def listening(command: Command) -> set[str]:
    """Return the addresses that processes of a command have listened on until it ended."""
    found: set[str] = set()
    while command.process.poll() is None:
        for pid in command.left():
            try:
                sockets = psutil.Process(pid).net_connections()
            except psutil.Error:
                continue
            found |= {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
    return found


@pytest.mark.slow
def test_workers_meet_by_number_listen_on_loopback_alone_and_inherit_nothing_that_leads_astray(
        train: Start, framework: str, tmp_path: Path) -> None:
    command = train("--framework", framework, "--windows", "2", prefix=without_localhost(tmp_path), **PROXIES,
                    **LAUNCHERS, **SWITCHES)
    heard = listening(command)
    assert command.wait(120) == 0
    assert command.records()[framework]["status"] == "ok"
    assert heard and heard <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_without_loopback_nothing_starts_that_would_meet_there(start_slow: Start) -> None:
    command = start_slow("--framework", "several", "--workers", "2", prefix=need("unshare", "-n"))
    assert command.wait(30) == 1
    record = command.records()["several"]
    assert record["status"] == "refused"
    assert "127.0.0.1 cannot be reached" in record["reason"] and "ip link set lo up" in record["reason"]
