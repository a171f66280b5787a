"""What the launcher must know of whatever runs jobs, a backend or an engine: its environment and its command."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from dlcompare.core.variables import RANK


@dataclass(frozen=True)
class Build:
    """A requirement that must be compiled from its source package: with which variables, which tools, how long."""

    requirement: str  # "horovod==0.28.1"
    variables: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[str, ...] = ()  # executables that must be on PATH
    minutes: float = 1.0  # about how long on two cores


@dataclass(frozen=True)
class EnvironmentSpec:
    """What a backend's own environment for one kind of accelerator holds."""

    lock: Path  # pip requirements file, every line pinned with ==
    python: tuple[tuple[int, int], tuple[int, int]]  # oldest and newest minor version, inclusive
    check: str  # Python statement that must run in it: "import torch; print(torch.__version__)"
    builds: tuple[Build, ...] = ()
    without: tuple[str, ...] = ()  # packages that others ask for, work without, and that must not be there
    owner: str = ""  # whose environment it is, where backends share one, under whose name it is kept; "": its own
    note: str = ""  # shown by `dlcompare env list`: "untested: no GPU was at hand"


class Runtime(ABC):
    """What runs jobs in an environment of its own: a backend or an engine, seen from outside."""

    name: ClassVar[str]
    title: ClassVar[str] = ""  # one line for `dlcompare list`
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    rank_variable: ClassVar[str] = RANK  # where the launcher tells a worker its rank

    def environment(self, device: str) -> EnvironmentSpec | None:
        """Return what its environment for a device holds; None: the parent's interpreter will do."""
        return None

    def processes(self, job: Any) -> int:
        """Return how many processes carry the job."""
        return 1

    def command(self, job: Any, python: str) -> list[str]:
        """Return the argv that starts all worker processes, before the worker's own arguments."""
        return [python]

    def meets(self, job: Any) -> bool:
        """Return whether the job's processes meet on loopback, as a launcher's do, be there one worker only."""
        return bool(job.port) or len(self.command(job, "python")) > 1

    def variables(self, job: Any) -> dict[str, str]:
        """Return the environment variables that every worker process of this job must see from its start."""
        return {}


class Loaded(ABC):
    """What a runtime has loaded in one worker process, a trainer or a session, as far as it tells of itself."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return every choice that could differ between runs: layout, execution, threads, TF32, fallbacks, XLA."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return the versions of the framework or engine and the libraries it computes with."""

    def peak_bytes(self) -> int | None:
        """Return the most device memory ever allocated, as it counts it itself; None if it cannot say."""
        return None

    def device_ids(self) -> tuple[str, ...] | None:
        """Return for each accelerator that it computes on a name by which the driver knows it: UUID, or PCI address.

        "GPU-8c..." or "MIG-...", with or without the prefix, or "0000:1b:00.0"; of this process's own devices alone, as
        the framework itself has numbered them. None where it cannot say; ``()`` on a CPU.
        """
        return None

    def close(self) -> None:
        """Release the model; a process group is left when the process ends."""
