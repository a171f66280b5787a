"""Which frameworks faults are injected into, with which job, and what a job that fails must leave."""

from __future__ import annotations

from running import Command

from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins

FRAMEWORKS = [name for name, backend in plugins().backends().items() if "cpu" in backend.devices
              and backend.environment("cpu") and backend.processes(Job(name, "speck", workers=2)) == 2]
LIGHT = ("--model", "speck", "--device", "cpu", "--batch", "2", "--workers", "2", "--threads", "1", "--steps", "1",
         "--verify", "off")
LONG = ("--windows", "1000")


def failure(command: Command, framework: str, *, within: float) -> str:
    """Return the reason of a job that fails in time: one line, no traceback, no process left, its record kept."""
    assert command.wait(within) == 1
    assert command.left() == []
    assert "Traceback" not in command.told
    record = command.records()[framework]
    assert record["status"] == "failed" and (command.runs[-1] / record["log"]).is_file()
    assert command.kept() == command.records()
    assert "\n" not in record["reason"] and len(record["reason"]) < 1000
    return record["reason"]
