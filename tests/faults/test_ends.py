"""What plug-ins leave behind: a job ends in bounded time all the same, and takes with it whatever it started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running import SLOW, Command

Start = Callable[..., Command]


PLUGINS = ",".join([*SLOW, "clinging"])


def check_pacing(command: Command, framework: str) -> None:
    assert command.wait(60) == 0
    record: dict[str, Any] = command.records()[framework]
    assert record["status"] == "ok" and len(record["windows"]) == 2
    assert "a plug-in's thread keeps this process (pacemaker)" in Path(record["log"]).read_text()
    assert command.nothing_left()


def test_a_thread_that_does_not_end_keeps_no_worker(start_slow: Start) -> None:
    check_pacing(start_slow("--framework", "several", "--workers", "2", "--model", "pacing",
                            DLCOMPARE_PLUGINS=PLUGINS), "several")


@pytest.mark.slow
def test_frameworks_part_well_though_a_thread_keeps_one_worker(train: Start, framework: str) -> None:
    check_pacing(train("--framework", framework, "--model", "pacing", "--windows", "2", DLCOMPARE_PLUGINS=PLUGINS),
                 framework)
