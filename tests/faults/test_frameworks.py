"""Two worker processes of every framework when something goes wrong: a clear reason, no hang, nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty import FRAMEWORKS, LONG, failure
from PIL import Image
from running import Command

Start = Callable[..., Command]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_fails_its_job_and_no_other(train: Start, framework: str, victim: int) -> None:
    command = train("--framework", f"several,{framework}", *LONG, SLOW_STEP="0")
    command.until(framework, "window", within=120)
    pids = {event["rank"]: event["pid"] for event in command.events(framework, "data")}
    os.kill(pids[victim], signal.SIGKILL)
    reason = failure(command, framework, within=30)
    assert reason.startswith(f"worker process {pids[victim]} (rank {victim}) died without a word")
    assert command.records()["several"]["status"] == "ok"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_when_the_parent_is_stopped_everything_stops(train: Start, framework: str, number: signal.Signals,
                                                     code: int) -> None:
    command = train("--framework", framework, *LONG)
    command.until(framework, "window", within=120)
    assert len(command.left()) >= 4  # the parent, the launcher, two workers
    command.process.send_signal(number)
    assert command.wait(15) == code
    assert command.nothing_left(within=10)
    assert ("dlcompare: stopped" in command.told) == (code == 130)
    assert "Traceback" not in command.told


def test_an_interrupt_while_workers_are_still_starting_leaves_nothing(train: Start, framework: str) -> None:
    command = train("--framework", framework, *LONG)
    command.until(framework, "start", within=60)
    command.process.send_signal(signal.SIGINT)
    assert command.wait(15) == 130
    assert command.left() == []


def test_a_loss_that_is_not_finite(train: Start, framework: str) -> None:
    command = train("--framework", framework, *LONG, "--lr", "1e30")
    assert "training diverged; use a smaller --lr than 1e+30" in failure(command, framework, within=120)


def test_a_picture_that_one_worker_cannot_read(train: Start, framework: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    files = [tmp_path / "pictures" / "cat" / f"{number:02}.jpg" for number in range(24)]
    for file in files:
        Image.fromarray(noise.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(file)
    command = train("--framework", framework, *LONG, "--data", "imagefolder:pictures")
    command.until(framework, "start", within=60)  # damage from before would be found before
    files[7].write_bytes(files[7].read_bytes()[:300])
    assert failure(command, framework, within=120).startswith(f"cannot read the image {files[7]}: ")


def test_memory_that_runs_out(train: Start, framework: str) -> None:
    words = ("--model", "resnet18", "--image-size", "32", "--batch", "512", "--windows", "1")
    command = train("--framework", framework, *words, DLCOMPARE_MEMORY=str(700 << 20))
    reason = failure(command, framework, within=200)
    # Some native code goes on with an allocation that failed: such a crash looks like any other, but for the advice.
    assert "memory ran out" in reason or "when memory runs out" in reason
    assert "try a smaller --batch" in reason


def test_a_taken_port_refuses_the_job(train: Start) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        command = train("--framework", ",".join(FRAMEWORKS), "--port", str(port))
        assert command.wait() == 1
    records: dict[str, dict[str, Any]] = command.records()
    assert {record["status"] for record in records.values()} == {"refused"}
    assert all(f"port {port} on loopback is taken" in record["reason"] for record in records.values())


def test_no_temporary_file_is_left(train: Start, framework: str) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own is too deep for the names of sockets
        command = train("--framework", framework, "--windows", "2", TMPDIR=place)
        assert command.wait(120) == 0, command.told
        assert list(Path(place).iterdir()) == []
