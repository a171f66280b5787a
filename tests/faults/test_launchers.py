"""What starts and joins the workers is killed: it is named, with the signal, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

import psutil
import pytest
from faulty import LONG, failure
from running import Command

Start = Callable[..., Command]


def launcher_of(command: Command, framework: str) -> psutil.Process:
    """Return the process that the program has started for a job, once its workers are at work."""
    event = command.until(framework, "window", within=120)[0]
    program = {command.process.pid}
    return next(one for one in [psutil.Process(event["pid"]), *psutil.Process(event["pid"]).parents()]
                if one.ppid() in program)


def test_a_launcher_that_is_killed_is_named(start_slow: Start) -> None:
    command = start_slow("--framework", "several", "--workers", "2", *LONG)
    launcher_of(command, "several").kill()
    reason = failure(command, "several", within=20)
    assert reason.startswith("the launcher (slow) was killed by SIGKILL (the kernel does so when memory runs out")
    assert "--resume" in reason


@pytest.mark.slow
def test_the_launcher_of_every_framework_is_named_when_it_is_killed(train: Start, framework: str) -> None:
    command = train("--framework", framework, *LONG)
    launcher_of(command, framework).kill()
    assert " was killed by SIGKILL (" in failure(command, framework, within=30)


@pytest.mark.slow
@pytest.mark.parametrize("role", ["scheduler", "server"])
def test_a_helper_of_mxnet_is_named_when_it_is_killed(train: Start, role: str) -> None:
    command = train("--framework", "mxnet", *LONG)
    for process in launcher_of(command, "mxnet").children():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("DMLC_ROLE") == role:
                os.kill(process.pid, signal.SIGKILL)
    reason = failure(command, "mxnet", within=30)
    assert reason.startswith(f"the {role} was killed by SIGKILL (the kernel does so when memory runs out")
